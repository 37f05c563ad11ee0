"""Simulated worlds: they hold what is promised, and the same case is the same run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulator import main as simulator
from tests.simulator.case import Case, case_of
from tests.simulator.main import main
from tests.simulator.run import Verdict, run
from tests.simulator.shrink import Shrinking
from tests.simulator.trace import SOMETIMES

# They are long, and would take more than twice as long if lines were counted.
pytestmark = [pytest.mark.timeout(240), pytest.mark.no_cover]

ROOT = Path(__file__).parents[2]
STORES = ("memory", "shared", "sqlite")
REGRESSIONS = (
    # Changed code that waits for what never ends failed with another error than changed code does.
    "195",
    # A process refused a checkpoint that rested on what another process had written.
    '{"seed": 9, "store": "shared"}',
    # A callback that another process had made could not be answered.
    '{"seed": 13, "store": "shared"}',
    # An invocation came with its token before its begin was written.
    '{"seed": 60, "store": "shared"}',
    # An invocation was told what was refused, and not told what was written.
    '{"seed": 8, "store": "shared"}',
    # What was called refused was written later.
    '{"seed": 128, "store": "shared"}',
    # A child ended in a process that did not know of the invoke that waited for it.
    '{"seed": 178, "store": "shared"}',
    # An invocation was told an answer that another process's answer kept from being written.
    "1001279",
    # An invocation that had begun under a claim was taken for one that was lost before it.
    "1002116",
    # PENDING was refused because a reply that never came had told what it waited for.
    "1002265",
    # An invocation began with what its process knew before another had recorded more.
    '{"seed": 500, "store": "shared"}',
    '{"seed": 532, "store": "shared"}',
    # An invocation said that it waits, for nothing, when a pause was asked for under it.
    "2022461",
    # An attempt was recorded twice: nobody knew whether it was written, and it was said again.
    "2023429",
)
"""Runs that have failed by a defect of the product."""


@pytest.mark.parametrize("first", range(0, 60, 3))
def test_no_invariant_is_violated(first: int) -> None:
    verdicts = [run(case_of(seed)) for seed in range(first, first + 3)]

    assert {one.case.text: one.violations for one in verdicts if one.violations} == {}
    assert all(one.executions for one in verdicts)


@pytest.mark.parametrize("text", REGRESSIONS)
def test_what_has_failed_once_does_not_fail_again(text: str) -> None:
    assert run(Case.read(text)).violations == {}


# The same again


@pytest.mark.parametrize("store", STORES)
def test_the_same_case_is_the_same_run(store: str) -> None:
    case = Case(seed=3, store=store)

    one, again = run(case, is_traced=True), run(case, is_traced=True)

    assert one.events == again.events
    assert (one.digest, one.steps, one.faults) == (again.digest, again.steps, again.faults)
    assert one.events


def test_looking_on_changes_nothing() -> None:
    assert run(case_of(5)).digest == run(case_of(5), is_traced=True).digest


def test_another_seed_is_another_run() -> None:
    assert len({run(Case(seed=seed)).digest for seed in range(4)}) == 4


@pytest.mark.process
@pytest.mark.parametrize("store", STORES)
def test_a_run_does_not_depend_on_the_process_that_it_is_made_in(store: str) -> None:
    case = Case(seed=8, store=store)
    program = [sys.executable, "-m", "tests.simulator.main", "--repeat", case.text]

    said = [
        subprocess.run(  # noqa: S603 - Python, on a program of ours
            program,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert said[0] == said[1]
    assert f"{run(case).digest:x}" in said[0]


# Cases


@pytest.mark.parametrize(
    "case",
    [
        case_of(7),
        Case(seed=7, store="sqlite"),
        Case(seed=7, store="shared", without=("crash",), skipped=(1, 4), scenarios=(2,)),
        Case(seed=9, store="memory", is_plain=True, is_calm=True),
    ],
)
def test_a_case_can_be_read_from_what_it_says(case: Case) -> None:
    assert Case.read(case.text) == case


def test_a_seed_alone_says_all() -> None:
    assert case_of(1234).text == "1234"
    assert {case_of(seed).store for seed in range(8)} == {"memory", "shared", "sqlite"}


@pytest.mark.parametrize("changes", [{"is_calm": True}, {"is_plain": True}, {"scenarios": (0, 1)}])
def test_what_is_left_out_leaves_a_run_that_holds(changes: dict[str, object]) -> None:
    assert run(case_of(11).with_(**changes)).violations == {}


def test_a_kind_of_fault_that_is_left_out_does_not_happen() -> None:
    case = case_of(10)
    whole = run(case)
    kinds = tuple(sorted(whole.faults))

    less = run(case.with_(without=kinds))

    assert kinds
    assert not set(less.faults) & set(kinds)


# Making smaller


def test_a_case_is_made_as_small_as_it_can_be() -> None:
    case = Case(seed=1)

    def fails(smaller: Case) -> bool:
        played = smaller.scenarios if smaller.scenarios is not None else range(20)
        return (
            {3, 14} <= set(played)
            and "crash" not in smaller.without
            and not {5, 77} & set(smaller.skipped)
        )

    smallest = Shrinking(case, fails, lambda: True).shrink(20, lambda _: 100)

    assert smallest.scenarios == (3, 14)
    assert set(range(1, 101)) - set(smallest.skipped) == {5, 77}
    assert "crash" not in smallest.without
    assert len(smallest.without) > 20
    assert smallest.is_plain
    assert smallest.is_calm


def test_nothing_is_tried_when_there_is_no_time() -> None:
    case = Case(seed=1)

    shrinking = Shrinking(case, lambda _: True, lambda: False)

    assert shrinking.shrink(20, lambda _: 100) == case
    assert shrinking.tried == 0


# The command


def test_the_command_tells_what_was_run_and_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3", "--processes", "1"]) == 0

    said = capsys.readouterr().out
    assert "3   3 on memory" in said
    assert all(state in said for state in SOMETIMES)


def test_it_can_end_with_the_first_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(case: Case) -> Verdict:
        found = {"I1": ["entered again"]} if case.seed == 1 else {}
        return replace(run(case), violations=found)

    monkeypatch.setattr(simulator, "run", failing)

    assert main(["--seeds", "3", "--processes", "1", "--until-failure"]) == 1
    assert re.search(r"^seeds +2 ", capsys.readouterr().out, re.MULTILINE)


def test_a_case_is_run_again_by_its_seed_and_commit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--repeat", "4@0000000", "--trace"]) == 0

    said = capsys.readouterr()
    assert "4 violates nothing" in said.out
    assert "begins" in said.out
    assert "that was seen at 0000000" in said.err
