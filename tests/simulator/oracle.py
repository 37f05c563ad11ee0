"""What a scenario may come to: an interpreter of programs that shares nothing with the product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from durably.wire.history import Event
from tests.simulator.ledger import Entry
from tests.simulator.programs import Path, Program, Scenario, Start
from tests.simulator.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What an execution may come to without faults.

    Attributes:
        statuses: in which it may end.
        result: what the handler returns, if there is only one; with `error` none.
        is_free: early completion, answers or operators leave a choice, so nothing else is said.
    """

    statuses: frozenset[str]
    result: Json = None
    error: tuple[str, str] | None = None
    is_free: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What the model makes of a history.

    Attributes:
        status: SUCCEEDED or FAILED when the handler comes to an end over it, else RUNNING.
        waits: what it waits for, by operation id, where it does not.
        bounds: lowest and highest number of entries without faults, by path and attempt. A body
            that is not named is not entered at all.
        problems: what the history has that the program cannot have made.
    """

    status: str
    result: Json = None
    error: tuple[str, str] | None = None
    waits: dict[str, str]
    bounds: dict[tuple[Path, int], tuple[int, int]]
    problems: list[str]


def foresee(scenario: Scenario, start: Start) -> Foreseen:
    """Say what *start* comes to when nothing fails."""
    raise NotImplementedError


def follow(
    programs: Sequence[Program],
    program: Program,
    events: Sequence[Event],
    entries: Sequence[Entry],
    *,
    trusts: bool = False,
) -> Followed:
    """Replay *program* over a history; with *trusts* whatever is recorded is believed."""
    raise NotImplementedError


def patience(scenario: Scenario) -> float:
    """Give virtual seconds in which every execution of *scenario* ends or waits for ever."""
    raise NotImplementedError
