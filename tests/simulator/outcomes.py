"""What operations may come to, and when a batch may stop: the rules both oracles share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.simulator.programs import (
    Combine,
    Completion,
    Condition,
    Fan,
    Path,
    Step,
    named,
)
from tests.simulator.values import Json, marked, shown


class _Any:
    def __repr__(self) -> str:
        return "ANY"


ANY: Any = _Any()
"""Agrees with everything: what no document says."""


def agrees(expected: Any, given: Any) -> bool:
    """Whether *given* is what was expected, down to types and order."""
    if expected is ANY or given is ANY:
        return True
    if isinstance(expected, list) and isinstance(given, list):
        return len(expected) == len(given) and all(map(agrees, expected, given))
    if isinstance(expected, dict) and isinstance(given, dict):
        return expected.keys() == given.keys() and all(
            agrees(one, given[key]) for key, one in expected.items()
        )
    return type(expected) is type(given) and bool(expected == given)


class ModelError(Exception):
    """What the handler would see raised: a class, of what error type, and the message."""

    def __init__(self, raised: str, of: Any, says: Any) -> None:
        super().__init__(raised, of, says)
        self.raised = raised
        self.of = of
        self.says = says

    def shown(self) -> dict[str, Any]:
        """Say it as a handler does."""
        return {"raised": self.raised, "of": self.of, "says": self.says}

    def in_child(self) -> ModelError:
        """Give what is raised where the body of a context raised this."""
        return ModelError("ChildContextError", self.raised, self.says)


class WaitingError(Exception):
    """The handler would not go on: for which operations, and what each is."""

    def __init__(self, waits: Mapping[str, str]) -> None:
        super().__init__(waits)
        self.waits = dict(waits)


@dataclass(slots=True)
class Outcome:
    """How an operation stands: it has a value, an error, or waits. *ended* is an event id."""

    value: Any = None
    error: ModelError | None = None
    waits: dict[str, str] | None = None
    ended: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether it waits no more."""
        return self.waits is None

    @property
    def has_returned(self) -> bool:
        """Whether it has a value."""
        return self.waits is None and self.error is None

    def shown(self) -> Any:
        """Say it as a handler does."""
        return self.value if self.error is None else self.error.shown()


# What is planned for each attempt


@dataclass(frozen=True, slots=True)
class Try:
    """What an attempt comes to. *delay* says that another one follows."""

    value: Any = None
    error: tuple[str, Any] | None = None
    delay: int | None = None


def planned_step(node: Step, path: Path, attempt: int) -> Try:
    """Say what an attempt of a step comes to."""
    says = f"{named(path)} attempt {attempt}"
    if attempt <= node.failures:
        return Try(error=("BoomError", says), delay=next_delay(node.attempts, attempt, node.delay))
    if node.fatal:
        return Try(error=("FatalError", says))
    if not node.gives.is_writable:
        return Try(error=("SerdesError", ANY))
    value = node.gives.make()
    return Try(value=shown(marked(value) if node.marked else value))


def planned_check(node: Condition, path: Path, attempt: int) -> Try:
    """Say what a check of a condition comes to: the state is how many there were."""
    if attempt == node.broken_at:
        return Try(error=("BoomError", f"{named(path)} attempt {attempt}"))
    if attempt >= node.checks:
        return Try(value=attempt)
    if attempt >= node.limit:
        return Try(error=("ExhaustedError", f"{attempt} checks"))
    return Try(value=attempt, delay=whole(node.delay))


def next_delay(attempts: int, made: int, delay: float) -> int | None:
    """Say after how many seconds another attempt follows, if one does."""
    return whole(delay) if made < attempts else None


def whole(seconds: float) -> int:
    """Round as records do: up, and to a second at least."""
    return max(1, int(-(-seconds // 1)))


# When batches stop


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a batch is."""

    successes: int
    failures: int
    total: int

    @property
    def is_whole(self) -> bool:
        """Whether every item is done."""
        return self.successes + self.failures == self.total


def reason_to_stop(rule: Completion, tally: Tally) -> str | None:
    """Say why a batch of which so many are done stops, `None` when it does not."""
    if rule.quorum is not None:
        return _custom_reason(rule.quorum, tally)
    if is_intolerable(rule, tally):
        return "FAILURE_TOLERANCE_EXCEEDED"
    if tally.is_whole:
        return "ALL_COMPLETED"
    if rule.min_successful is not None and tally.successes >= rule.min_successful:
        return "MIN_SUCCESSFUL_REACHED"
    return None


def _custom_reason(quorum: tuple[int, int], tally: Tally) -> str | None:
    if tally.successes >= quorum[0]:
        return "CUSTOM_COMPLETION_SUCCEEDED"
    if tally.failures >= quorum[1]:
        return "CUSTOM_COMPLETION_FAILED"
    return "ALL_COMPLETED" if tally.is_whole else None


def is_intolerable(rule: Completion, tally: Tally) -> bool:
    """Whether more items have failed than the rule allows."""
    count, percentage = rule.tolerated_count, rule.tolerated_percentage
    if count is None and percentage is None:
        return rule.min_successful is None and tally.failures > 0
    return (count is not None and tally.failures > count) or (
        percentage is not None and tally.failures * 100 > percentage * tally.total
    )


def batch_problems(node: Fan, batch: Any, items: Sequence[Outcome | None]) -> list[str]:
    """Say what is wrong with a batch as it was seen, given how its items stand in the records."""
    seen = batch["items"]
    problems = []
    if [one[0] for one in seen] != list(range(len(seen))):
        problems.append(f"its items are {[one[0] for one in seen]}, not the first that started")
    for index, status, given in seen:
        item = items[index]
        # An item without a record may be chosen to start, and the batch be over before it has.
        is_chosen = item is None and node.flat and status == "STARTED"
        if not is_chosen and not _is_possible(status, given, item):
            problems.append(f"item {index} is {status} with {given}, its record {item}")
    tally = Tally(
        sum(one[1] == "SUCCEEDED" for one in seen),
        sum(one[1] == "FAILED" for one in seen),
        len(node.branches),
    )
    reason = reason_to_stop(node.completion, tally)
    if reason != batch["reason"]:
        problems.append(f"it stopped because of {batch['reason']}, the rule says {reason}: {tally}")
    return problems


def _is_possible(status: str, given: Json, item: Outcome | None) -> bool:
    if item is None:
        return False
    match status:
        case "STARTED":
            return given is None
        case "SUCCEEDED":
            return item.has_returned and agrees(item.value, given)
        case _:
            return item.error is not None and agrees(item.error.shown(), given)


# Combinators


def is_decided(kind: str, parts: Sequence[Outcome]) -> bool:
    """Whether a combinator must come to an end with its parts as they are."""
    if all(part.has_ended for part in parts):
        return True
    match kind:
        case "all":
            return any(part.error is not None for part in parts)
        case "any":
            return any(part.has_returned for part in parts)
        case "race":
            return any(part.has_ended for part in parts)
        case _:
            return False


def is_combination(node: Combine, given: Any, parts: Sequence[Outcome]) -> bool:
    """Whether a combinator may have come to *given*, with parts that stand like this."""
    errors = [part.error for part in parts if part.error is not None]
    if isinstance(given, dict) and given.get("raised") == "PromiseCombinatorError":
        if node.kind == "any":
            return len(errors) == len(parts)
        return node.kind != "all_settled" and any(
            agrees(one.says, given["says"])
            and (one.raised == given["of"] or agrees(one.of, given["of"]))
            for one in errors
        )
    match node.kind:
        case "all":
            return not errors and agrees([part.value for part in parts], given)
        case "all_settled":
            return agrees([_settled(part) for part in parts], given)
        case _:
            return any(part.has_returned and agrees(part.value, given) for part in parts)


def _settled(part: Outcome) -> list[Any]:
    return ["fulfilled" if part.error is None else "rejected", part.shown()]
