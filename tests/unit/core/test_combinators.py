import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from durably.batch_result import BatchItem, BatchItemStatus, BatchResult
from durably.core.effects import Call, Err, Ok, Outcome
from durably.core.fanout import FanOut
from durably.core.operations.combinators import (
    All,
    AllSettled,
    AnyOf,
    Combinator,
    Race,
    Settled,
    combine,
    combined,
)
from durably.core.scope import Scope
from durably.errors import ChildContextError, PromiseCombinatorError, StepError, ValidationError
from durably.wire.operation import OperationStatus
from tests.unit.core.support import CONTEXT, ByHand, record, scope_of

NO = StepError("no", operation="s", error_type="ValueError")
YES, BAD = Ok("yes"), Err(NO)
RULES: list[Combinator] = [All(), AnyOf(), Race(), AllSettled()]


@pytest.mark.parametrize(
    ("rule", "outcomes", "verdict"),
    [
        (All(), [YES, None], None),
        (All(), [YES, YES], Ok(None)),
        (All(), [None, BAD], BAD),
        (All(), [], Ok(None)),
        (AnyOf(), [BAD, None], None),
        (AnyOf(), [None, YES], Ok(1)),
        (Race(), [None, None], None),
        (Race(), [None, YES], Ok(1)),
        (Race(), [None, BAD], BAD),
        (AllSettled(), [BAD, None], None),
        (AllSettled(), [BAD, YES], Ok(None)),
    ],
)
def test_what_is_recorded_is_who_won(
    rule: Combinator, outcomes: list[Outcome[Any] | None], verdict: object
) -> None:
    assert rule.verdict(outcomes) == verdict


def test_any_fails_with_all_failures_named() -> None:
    verdict = AnyOf().verdict([BAD, BAD])

    assert isinstance(verdict, Err)
    assert str(verdict.error) == "none of 2 succeeded: no; no"


def test_a_race_that_nobody_can_win_is_refused() -> None:
    with pytest.raises(ValidationError, match="futures: a race needs at least one"):
        Race().check_count(0, "futures")
    for rule in RULES:
        rule.check_count(1, "futures")
    for rule in (All(), AnyOf(), AllSettled()):
        rule.check_count(0, "futures")


class Hand:
    """A future that ends when the test says so."""

    def __init__(self, outcome: Outcome[Any] | None = None) -> None:
        self.ended = outcome

    def outcome(self) -> Outcome[Any] | None:
        return self.ended


def combining(
    rule: Combinator, futures: Sequence[Hand], scope: Scope | None = None, ends: Any = ()
) -> Any:
    """Run a combinator to its end; each time it waits, the next of *ends* comes."""
    scope = scope or scope_of()
    coming = iter(ends)

    def ends_of(_: Sequence[Any]) -> Callable[[], Awaitable[None]]:
        async def one_more() -> None:
            index, outcome = next(coming)
            futures[index].ended = outcome

        return one_more

    program = ByHand(scope.journal, combine(scope, CONTEXT, rule, futures, ends_of))
    answer: Outcome[Any] | None = None
    while True:
        try:
            effect = program.until_asked(answer)
        except StopIteration as end:
            return end.value
        assert isinstance(effect, Call)
        try:
            answer = Ok(asyncio.run(effect.body(None)))
        except Exception as error:  # noqa: BLE001 - as a driver does
            answer = Err(error)


@pytest.mark.parametrize(
    ("rule", "ends", "value"),
    [
        (All(), [(1, Ok("b")), (0, Ok("a"))], ["a", "b"]),
        (AnyOf(), [(0, BAD), (1, Ok("b"))], "b"),
        (Race(), [(1, Ok("b"))], "b"),
        (
            AllSettled(),
            [(0, BAD), (1, Ok("b"))],
            [Settled("rejected", reason=NO), Settled("fulfilled", value="b")],
        ),
    ],
)
def test_a_combinator_waits_until_its_rule_is_content_and_gives_the_same_on_replay(
    rule: Combinator, ends: list[tuple[int, Outcome[Any]]], value: object
) -> None:
    scope = scope_of()
    futures = [Hand(), Hand()]

    first = combining(rule, futures, scope, ends)
    again = combining(rule, futures, Scope(scope.journal, scope.now))

    assert first == again == value


def test_the_recorded_winner_wins_again_whoever_ends_first_in_the_replay() -> None:
    scope = scope_of()
    combining(Race(), [Hand(), Hand(Ok("b"))], scope)

    replay = Scope(scope.journal, scope.now)
    again = combining(Race(), [Hand(Ok("a")), Hand()], replay, [(1, Ok("b"))])

    assert again == "b"


@pytest.mark.parametrize(
    ("rule", "message"),
    [(All(), "no"), (Race(), "no"), (AnyOf(), "none of 1 succeeded: no")],
)
def test_a_combinator_fails_in_its_own_name_and_equally_on_replay(
    rule: Combinator, message: str
) -> None:
    scope = scope_of()
    raised = []
    for journal in (scope.journal, scope.journal):
        with pytest.raises(PromiseCombinatorError) as error:
            combining(rule, [Hand(BAD)], Scope(journal, scope.now))
        raised.append(error.value)

    assert raised[0] == raised[1]
    assert raised[0].message == message
    known = scope.journal.find(CONTEXT.id)
    assert known is not None
    assert known.status is OperationStatus.FAILED


def test_a_combinator_that_failed_without_saying_why_still_fails() -> None:
    with pytest.raises(PromiseCombinatorError):
        combining(All(), [], scope_of(record(CONTEXT, OperationStatus.FAILED)))


# The same over branches that a batch has run


CHILD = ChildContextError("no", operation="c", error_type="ValueError")


def batch_of(outcomes: list[Outcome[Any] | None]) -> BatchResult[Any]:
    items: list[BatchItem[Any]] = []
    for index, outcome in enumerate(outcomes):
        match outcome:
            case None:
                items.append(BatchItem(index, BatchItemStatus.STARTED))
            case Ok(value):
                items.append(BatchItem(index, BatchItemStatus.SUCCEEDED, value))
            case Err():
                items.append(BatchItem(index, BatchItemStatus.FAILED, error=CHILD))
    return BatchResult(tuple(items))


@pytest.mark.parametrize(
    ("rule", "outcomes", "value"),
    [
        (All(), [Ok(1), Ok(2)], [1, 2]),
        (AnyOf(), [None, BAD, Ok(2)], 2),
        (Race(), [None, Ok(2)], 2),
        (AllSettled(), [BAD, Ok(2)], [Settled("rejected", reason=CHILD), Settled("fulfilled", 2)]),
    ],
)
def test_the_rules_hold_for_branches(
    rule: Combinator, outcomes: list[Outcome[Any] | None], value: object
) -> None:
    assert combined(rule, batch_of(outcomes), len(outcomes), "name") == value


@pytest.mark.parametrize("rule", [All(), Race()])
def test_a_branch_that_fails_fails_the_combinator_with_its_record(rule: Combinator) -> None:
    with pytest.raises(PromiseCombinatorError) as error:
        combined(rule, batch_of([None, BAD]), 2, "name")

    assert (error.value.operation, error.value.error_type) == ("name", "ValueError")


def test_any_of_branches_that_all_fail_says_so() -> None:
    with pytest.raises(PromiseCombinatorError, match="none of 2 succeeded"):
        combined(AnyOf(), batch_of([BAD, BAD]), 2, "name")


@pytest.mark.parametrize(
    ("rule", "ends"),
    [(All(), "sf"), (AnyOf(), "fs"), (Race(), "s"), (Race(), "f"), (AllSettled(), "fsf")],
)
def test_a_batch_stops_when_the_rule_is_content(rule: Combinator, ends: str) -> None:
    fan_out = FanOut([None] * 3, rule.completion, None)
    while fan_out.start_next() is not None:
        pass

    for index, end in enumerate(ends):
        assert fan_out.reason() is None
        fan_out.end(index, has_failed=end == "f")

    assert fan_out.reason() is not None
