"""What a scenario may come to: interpreters of programs that share nothing with the product.

`foresee` runs a program in a world without faults, where it has only one way to go, and `follow`
runs it over a recorded history, where chance has decided. Both read the protocol, not the code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from durably.wire.history import Event
from tests.simulator.foresight import Foresight, FreeError
from tests.simulator.ledger import Entry
from tests.simulator.model import DivergedError, Evidence, Model, Scope
from tests.simulator.model_several import RUNS
from tests.simulator.model_single import LOOKS
from tests.simulator.outcomes import ModelError, WaitingError
from tests.simulator.programs import Path, Program, Scenario, Start
from tests.simulator.records import fold, times
from tests.simulator.walks import durations, has_endless


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What an execution may come to without faults.

    Attributes:
        statuses: in which it may end, or stay for ever.
        result: what the handler returns, as a report shows it, if there is only one.
        error: type and message of what it raises, if there is only one.
        is_free: early completion, answers or operators leave a choice, so nothing else is said.
    """

    statuses: frozenset[str]
    result: Any = None
    error: tuple[Any, Any] | None = None
    is_free: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What the model makes of a history.

    Attributes:
        status: SUCCEEDED or FAILED when the handler comes to an end over it, RUNNING when it does
            not, DIVERGED when the history is not this program's.
        result: what it returns.
        error: type and message of what it raises.
        waits: what it waits for, where it does: `step`, `wait`, `callback`, `invoke`, `context`,
            `start` (not recorded yet), by operation id.
        bounds: lowest and highest number of entries without faults, by path and attempt. A body
            that is not named is not entered at all.
        ids: the path of each operation that the program asks for.
        interrupted: how many attempts of at-most-once steps are recorded as cut off.
        problems: what the history has that the program cannot have made.
    """

    status: str
    result: Any
    error: tuple[Any, Any] | None
    waits: dict[str, str]
    bounds: dict[tuple[Path, int], tuple[int, int]]
    ids: dict[str, Path]
    interrupted: int
    problems: list[str]


def foresee(scenario: Scenario, start: Start, *, with_faults: bool = False) -> Foreseen:
    """Say what *start* comes to, when nothing fails or when anything may."""
    program = scenario.programs[start.program]
    acts = {one.kind for one in scenario.actions if one.start == start.name}
    extra = {"stop": "STOPPED", "pause": "PAUSED"}
    statuses = {extra[kind] for kind in acts if kind in extra}
    statuses |= {"TIMED_OUT"} if start.timeout is not None else set()
    foresight = Foresight(scenario.programs, with_faults=with_faults)
    result, error, is_free = None, None, bool(statuses or acts or scenario.deploys)
    try:
        result = foresight.block(program, program.body, ())
    except ModelError as raised:
        error = (raised.raised, raised.says)
        statuses |= {"FAILED"}
    except WaitingError:
        statuses |= {"RUNNING"}
    except FreeError:
        is_free = True
    else:
        statuses |= {"SUCCEEDED"}
    if not is_free:
        return Foreseen(statuses=frozenset(statuses), result=result, error=error)
    statuses |= {"SUCCEEDED", "FAILED"}
    if has_endless(scenario.programs):
        statuses |= {"RUNNING"}
    return Foreseen(statuses=frozenset(statuses), is_free=True)


def follow(
    programs: Sequence[Program],
    program: Program,
    events: Sequence[Event],
    entries: Iterable[Entry],
    *,
    trusts: bool = False,
) -> Followed:
    """Replay *program* over the history of an execution.

    *entries* are those of the execution. With *trusts*, whatever is recorded is believed.
    """
    entries = list(entries)
    evidence = Evidence(
        fold(events),
        {one.path: one.value for one in reversed(entries) if one.phase == "saw"},
        {one.path: one.operation_id or "" for one in reversed(entries) if one.phase == "told"},
        frozenset(one.path for one in entries if one.phase == "enter"),
        times(events),
        trusts,
    )
    model = Model(programs, program, evidence, (LOOKS, RUNS))
    result, error, waits, status = None, None, {}, "SUCCEEDED"
    try:
        result = model.block(Scope(), program.body, ())
    except ModelError as raised:
        status, error = "FAILED", (raised.raised, raised.says)
    except WaitingError as waiting:
        status, waits = "RUNNING", waiting.waits
    except DivergedError as diverged:
        status = "DIVERGED"
        model.problems.append(str(diverged))
    if status != "DIVERGED":
        model.problems += [
            f"operation {one.id} ({one.kind} {one.name!r}) is nothing the program had asked for"
            for one in evidence.records.values()
            if one.id not in model.visited
        ]
    return Followed(
        status=status,
        result=result,
        error=error,
        waits=waits,
        bounds=model.bounds,
        ids=model.visited,
        interrupted=model.interrupted,
        problems=model.problems,
    )


def patience(scenario: Scenario) -> float:
    """Give virtual seconds in which every execution of *scenario* ends or waits for ever."""
    longest = max(durations(scenario.programs, one.body) for one in scenario.programs)
    begun = [one.at for one in scenario.starts] + [one.at for one in scenario.actions]
    return longest + max(begun, default=0)
