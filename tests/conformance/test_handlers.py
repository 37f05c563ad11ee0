"""That every requirement has a function, and that the harness can tell when one is not met."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from durably import Engine
from tests.conformance.logs import ExecutionLogs, capture
from tests.conformance.runs import HANDLERS, PLAIN_SUITES, RUNS, STORES, Run
from tests.conformance.suite import Suite

COUNTS = {
    "step": 20,
    "wait": 5,
    "child": 18,
    "callback": 19,
    "invoke": 16,
    "wait_for_condition": 13,
    "wait_for_callback": 15,
    "parallel": 22,
    "map": 20,
    "plugin": 23,
}

ASYNC, DEF = Run("async", "memory").handlers(), Run("def", "memory").handlers()


def test_every_requirement_is_served_in_the_flavours_that_it_must_be() -> None:
    numbers = {suite: place for place, suite in enumerate(COUNTS, 1)}
    expected = {
        suite: {f"{numbers[suite]}-{place}" for place in range(1, count + 1)}
        for suite, count in COUNTS.items()
    }

    assert {suite: set(each.functions) for suite, each in ASYNC.items()} == expected
    assert {suite: set(each.functions) for suite, each in DEF.items()} == {
        suite: expected[suite] for suite in PLAIN_SUITES
    }


def test_a_function_is_of_the_flavour_of_its_run_and_has_a_name_of_its_own() -> None:
    for suites, is_async in ((ASYNC, True), (DEF, False)):
        functions = [function for suite in suites.values() for function in suite.all()]

        assert {function.is_async for function in functions} == {is_async}
        assert len({function.name for function in functions}) == len(functions)


def test_both_flavours_are_run_on_every_store_and_over_http() -> None:
    here = {(run.flavour, run.store) for run in RUNS if not run.is_remote}

    assert here == {(flavour, store) for flavour in ("async", "def") for store in STORES}
    assert {run.flavour for run in RUNS if run.is_remote} == {"async", "def"}


@pytest.fixture
def logs() -> Iterator[ExecutionLogs]:
    log = logging.getLogger(HANDLERS)
    level, propagate = log.level, log.propagate
    logs = capture(HANDLERS)
    yield logs
    log.removeHandler(logs)
    log.setLevel(level)
    log.propagate = propagate


def lines_of(logs: ExecutionLogs, arn: str) -> str:
    return "\n".join(line["message"] for line in logs.of(arn))


@pytest.mark.parametrize("suites", [ASYNC, DEF])
async def test_what_a_function_logs_is_found_by_its_execution(
    suites: dict[str, Suite], logs: ExecutionLogs
) -> None:
    function = suites["step"].functions["1-7"]
    async with Engine("memory:", [function], grace=0) as engine:
        first, other = await engine.start(function, "Ada"), await engine.start(function, "Bo")
        await first.result()
        await other.result()

    assert lines_of(logs, first.arn).count("Greeting step started for: Ada") == 1
    assert "Bo" not in lines_of(logs, first.arn)
    assert logs.of("arn:unknown") == []


async def test_what_a_plugin_says_is_found_by_the_execution_that_it_watches(
    logs: ExecutionLogs,
) -> None:
    function = ASYNC["plugin"].functions["10-1"]
    async with Engine("memory:", [function], grace=0) as engine:
        run = await engine.start(function, "Ada")
        await run.result()

    said = lines_of(logs, run.arn)
    assert '"hook": "invocation-start"' in said
    assert '"hook": "invocation-end"' in said
