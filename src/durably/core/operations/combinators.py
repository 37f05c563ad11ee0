"""Combinators: several futures, one result. What is recorded is who won, not what.

The values stay where they are recorded already, in the operations of the futures, so they keep
their types and are never recorded twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from durably.batch_result import BatchItem, BatchItemStatus, BatchResult
from durably.config import (
    ChildConfig,
    CompletionConfig,
    CompletionDecision,
    CompletionStatus,
    complete_batch,
    continue_batch,
)
from durably.core.effects import Err, Ok, Outcome, Program, call
from durably.core.op import Op
from durably.core.operations.child import child
from durably.core.scope import Scope
from durably.errors import (
    ChildContextError,
    PromiseCombinatorError,
    ValidationError,
    error_object,
)
from durably.serdes import JsonSerdes

_JSON = JsonSerdes()


class Settled(msgspec.Struct, frozen=True):
    """How one of the futures of `all_settled` ended.

    Attributes:
        status: `fulfilled` or `rejected`.
        value: what it returned.
        reason: what it raised.
    """

    status: str
    value: Any = None
    reason: Exception | None = None


@runtime_checkable
class Observable(Protocol):
    """A future that tells how it ended without being awaited."""

    def outcome(self) -> Outcome[Any] | None:
        """Give how it ended, `None` while it has not."""
        ...


class Combinator(Protocol):
    """The rule of one combinator.

    Attributes:
        completion: the same rule, for branches that a batch runs.
    """

    completion: CompletionConfig

    def check_count(self, count: int, field: str, /) -> None:
        """Refuse to combine so many, which were given as *field*.

        Raises:
            ValidationError: the rule could never be content.
        """
        ...

    def verdict(self, outcomes: Sequence[Outcome[Any] | None]) -> Outcome[Any] | None:
        """Say what to record, `None` while that is open."""
        ...

    def value(self, recorded: Any, outcomes: Sequence[Outcome[Any] | None], /) -> Any:
        """Give what the user gets."""
        ...

    def needed(self, recorded: Any, count: int, /) -> Sequence[int]:
        """Say which futures *value* looks at."""
        ...


def _at_the_first(status: CompletionStatus) -> CompletionDecision:
    return complete_batch() if status.completed_count else continue_batch()


class _AnyNumber:
    def check_count(self, _count: int, _field: str, /) -> None:
        """Take any number."""


class All(_AnyNumber):
    """Every value; the first failure fails."""

    completion = CompletionConfig()

    def verdict(self, outcomes: Sequence[Outcome[Any] | None]) -> Outcome[Any] | None:
        """Fail with the first error, or be content when all are there."""
        for outcome in outcomes:
            if isinstance(outcome, Err):
                return outcome
        return None if None in outcomes else Ok(None)

    def value(self, _recorded: Any, outcomes: Sequence[Outcome[Any] | None], /) -> Any:
        """Give the values in order."""
        return [outcome.value for outcome in outcomes if isinstance(outcome, Ok)]

    def needed(self, _recorded: Any, count: int, /) -> Sequence[int]:
        """Look at all."""
        return range(count)


class AnyOf(_AnyNumber):
    """The first success; a failure only when all have failed."""

    completion = CompletionConfig(min_successful=1)

    def verdict(self, outcomes: Sequence[Outcome[Any] | None]) -> Outcome[Any] | None:
        """Name the first that succeeded."""
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Ok):
                return Ok(index)
        if None in outcomes:
            return None
        said = "; ".join(str(outcome.error) for outcome in outcomes if isinstance(outcome, Err))
        return Err(PromiseCombinatorError(f"none of {len(outcomes)} succeeded: {said}"))

    def value(self, recorded: int, outcomes: Sequence[Outcome[Any] | None], /) -> Any:
        """Give the value of the one that was named."""
        return _value_of(outcomes[recorded])

    def needed(self, recorded: Any, _count: int, /) -> Sequence[int]:
        """Look at the one that was named."""
        return (recorded,)


class Race(AnyOf):
    """The first to end, well or badly."""

    completion = CompletionConfig(should_complete=_at_the_first)

    def check_count(self, count: int, field: str, /) -> None:
        """Refuse a race that nobody can win."""
        if count == 0:
            raise ValidationError(field, "a race needs at least one")

    def verdict(self, outcomes: Sequence[Outcome[Any] | None]) -> Outcome[Any] | None:
        """Name the first that ended."""
        for index, outcome in enumerate(outcomes):
            if outcome is not None:
                return outcome if isinstance(outcome, Err) else Ok(index)
        return None


class AllSettled(_AnyNumber):
    """How each ended; it fails in no case."""

    completion = CompletionConfig.all_completed()

    def verdict(self, outcomes: Sequence[Outcome[Any] | None]) -> Outcome[Any] | None:
        """Be content when all have ended."""
        return None if None in outcomes else Ok(None)

    def value(self, _recorded: Any, outcomes: Sequence[Outcome[Any] | None], /) -> Any:
        """Give how each ended."""
        return [
            Settled("fulfilled", value=outcome.value)
            if isinstance(outcome, Ok)
            else Settled("rejected", reason=outcome.error)
            for outcome in outcomes
            if outcome is not None
        ]

    def needed(self, _recorded: Any, count: int, /) -> Sequence[int]:
        """Look at all."""
        return range(count)


def _value_of(outcome: Outcome[Any] | None) -> Any:
    assert outcome is not None, "it was waited for"
    if isinstance(outcome, Err):
        raise outcome.error
    return outcome.value


def combine(
    scope: Scope,
    op: Op,
    rule: Combinator,
    futures: Sequence[Observable],
    ends_of: Callable[[Sequence[Observable]], Callable[[], Awaitable[None]]],
) -> Program[Any]:
    """Wait for *futures* until *rule* is content, record its verdict, and give its value.

    *ends_of* gives what can be awaited again and again: until one more future has ended.
    """

    async def settle(_: object) -> Any:
        one_more = ends_of(futures)
        while (verdict := rule.verdict([future.outcome() for future in futures])) is None:
            await one_more()
        return _value_of(verdict)

    recorded = yield from child(scope, op, settle, _CONFIG, _JSON)
    needed = [futures[index] for index in rule.needed(recorded, len(futures))]

    async def take(_: object) -> Any:
        one_more = ends_of(needed)
        while any(future.outcome() is None for future in needed):
            await one_more()
        return rule.value(recorded, [future.outcome() for future in futures])

    return _value_of((yield from call(take, scope.child(op, is_virtual=True))))


def _combined(error: ChildContextError) -> PromiseCombinatorError:
    return PromiseCombinatorError.from_wire(error.operation, error.recorded)


_CONFIG: ChildConfig[Any] = ChildConfig(error_mapper=_combined)


def combined(rule: Combinator, result: BatchResult[Any], count: int, name: str | None) -> Any:
    """Give what *rule* makes of branches that have run.

    Raises:
        PromiseCombinatorError: the rule is that it fails.
    """
    outcomes: list[Outcome[Any] | None] = [None] * count
    for item in result.all:
        outcomes[item.index] = _outcome_of(item)
    verdict = rule.verdict(outcomes)
    assert verdict is not None, "a batch that has stopped has a verdict"
    if isinstance(verdict, Ok):
        return rule.value(verdict.value, outcomes)
    error = verdict.error
    recorded = error.recorded if isinstance(error, ChildContextError) else error_object(error)
    raise PromiseCombinatorError.from_wire(name, recorded)


def _outcome_of(item: BatchItem[Any]) -> Outcome[Any] | None:
    if item.status is BatchItemStatus.SUCCEEDED:
        return Ok(item.result)
    return None if item.error is None else Err(item.error)
