from typing import Any

import pytest

from durably.batch_result import BatchCompletionReason, BatchItemStatus
from durably.config import (
    CompletionConfig,
    CompletionDecision,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
    complete_batch,
    continue_batch,
)
from durably.core.fanout import FanOut, PredicateError

R = BatchCompletionReason


def fan_out(total: int, max_concurrency: int | None = None, **limits: Any) -> FanOut:
    config = CompletionConfig(**limits)
    return FanOut([None] * total, config, max_concurrency)


def run(state: FanOut, ends: str) -> BatchCompletionReason | None:
    """Start what may start, and end branches in order: `s` well, `f` badly, until it is over."""
    for index, end in enumerate(ends):
        while state.reason() is None and state.start_next() is not None:
            pass
        if state.reason() is not None:
            break
        state.end(index, has_failed=end == "f")
    return state.reason()


@pytest.mark.parametrize(
    ("limits", "ends", "reason"),
    [
        ({}, "ss", None),
        ({}, "ssss", R.ALL_COMPLETED),
        ({}, "f", R.FAILURE_TOLERANCE_EXCEEDED),
        ({"min_successful": 2}, "ffss", R.ALL_COMPLETED),
        ({"min_successful": 2}, "fss", R.MIN_SUCCESSFUL_REACHED),
        ({"min_successful": 1}, "fff", None),
        ({"tolerated_failure_count": 1}, "f", None),
        ({"tolerated_failure_count": 1}, "ff", R.FAILURE_TOLERANCE_EXCEEDED),
        ({"tolerated_failure_count": 4}, "ffff", R.ALL_COMPLETED),
        ({"tolerated_failure_percentage": 25}, "f", None),
        ({"tolerated_failure_percentage": 25}, "ff", R.FAILURE_TOLERANCE_EXCEEDED),
        (
            {"tolerated_failure_count": 3, "tolerated_failure_percentage": 25},
            "ff",
            R.FAILURE_TOLERANCE_EXCEEDED,
        ),
        ({"min_successful": 1, "tolerated_failure_count": 0}, "f", R.FAILURE_TOLERANCE_EXCEEDED),
    ],
)
def test_a_batch_of_four_is_over(
    limits: dict[str, Any], ends: str, reason: BatchCompletionReason | None
) -> None:
    assert run(fan_out(4, **limits), ends) == reason


def test_a_batch_of_nothing_is_over_before_it_begins() -> None:
    state = fan_out(0)

    assert state.reason() is R.ALL_COMPLETED
    assert state.start_next() is None


def test_broken_tolerance_is_a_better_reason_than_all_done() -> None:
    assert run(fan_out(1), "f") is R.FAILURE_TOLERANCE_EXCEEDED


def test_branches_start_in_order_and_no_more_than_may_be_active() -> None:
    state = fan_out(4, max_concurrency=2)

    first = [state.start_next() for _ in range(3)]
    state.end(1, has_failed=False)
    then = [state.start_next() for _ in range(2)]

    assert (first, then) == ([0, 1, None], [2, None])


def test_without_a_bound_all_start_at_once() -> None:
    state = fan_out(3)

    assert [state.start_next() for _ in range(4)] == [0, 1, 2, None]


def test_a_predicate_is_asked_before_the_start_and_after_each_end() -> None:
    asked: list[CompletionStatus] = []

    def never(status: CompletionStatus) -> CompletionDecision:
        asked.append(status)
        return continue_batch()

    state = FanOut(["a", None], CompletionConfig(should_complete=never), None)
    assert run(state, "sf") is R.ALL_COMPLETED

    succeeded, failed, started = (
        BatchItemStatus.SUCCEEDED,
        BatchItemStatus.FAILED,
        BatchItemStatus.STARTED,
    )
    assert [[item.status for item in status.items] for status in asked] == [
        [None, None],
        [succeeded, started],
        [succeeded, failed],
    ]
    assert asked[-1] == CompletionStatus(
        success_count=1,
        failure_count=1,
        completed_count=2,
        total_count=2,
        items=(
            CompletionItemStatus(0, "a", succeeded),
            CompletionItemStatus(1, None, failed),
        ),
    )


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (CompletionOutcome.SUCCEEDED, R.CUSTOM_COMPLETION_SUCCEEDED),
        (CompletionOutcome.FAILED, R.CUSTOM_COMPLETION_FAILED),
    ],
)
def test_a_predicate_ends_the_batch_with_an_outcome_of_its_own_and_is_not_asked_again(
    outcome: CompletionOutcome, reason: BatchCompletionReason
) -> None:
    asked = []

    def at_first_end(status: CompletionStatus) -> CompletionDecision:
        asked.append(status)
        return complete_batch(outcome) if status.completed_count else continue_batch()

    state = FanOut([None] * 3, CompletionConfig(should_complete=at_first_end), None)
    assert run(state, "f") is reason
    state.end(1, has_failed=False)

    assert len(asked) == 2
    assert state.reason() is reason


def test_with_a_predicate_failures_alone_do_not_stop_the_batch() -> None:
    state = FanOut(
        [None] * 2, CompletionConfig(should_complete=lambda status: continue_batch()), None
    )

    assert run(state, "f") is None


def test_a_predicate_that_raises_is_told_apart_from_a_branch_that_does() -> None:
    def broken(status: CompletionStatus) -> CompletionDecision:
        raise KeyError("predicate")

    with pytest.raises(PredicateError) as error:
        FanOut([], CompletionConfig(should_complete=broken), None)

    assert isinstance(error.value.error, KeyError)
