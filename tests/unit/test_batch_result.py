from __future__ import annotations

import pytest

from durably.batch_result import (
    BatchCompletionReason,
    BatchItem,
    BatchItemStatus,
    BatchResult,
)
from durably.errors import BatchCompletionError, ChildContextError

FIRST = ChildContextError("first", operation="map-item-1", error_type="ValueError")
SECOND = ChildContextError("second", operation="map-item-3", error_type="KeyError")
MIXED = BatchResult(
    (
        BatchItem(0, BatchItemStatus.SUCCEEDED, "a"),
        BatchItem(1, BatchItemStatus.FAILED, error=FIRST),
        BatchItem(2, BatchItemStatus.STARTED),
        BatchItem(3, BatchItemStatus.FAILED, error=SECOND),
        BatchItem(4, BatchItemStatus.SUCCEEDED, None),
    ),
    BatchCompletionReason.FAILURE_TOLERANCE_EXCEEDED,
)


def test_items_are_told_apart_by_how_far_they_came() -> None:
    assert [item.index for item in MIXED.succeeded()] == [0, 4]
    assert [item.index for item in MIXED.failed()] == [1, 3]
    assert [item.index for item in MIXED.started()] == [2]


def test_counts_are_of_the_items_that_were_started() -> None:
    assert MIXED.success_count == 2
    assert MIXED.failure_count == 2
    assert MIXED.started_count == 1
    assert MIXED.total_count == 5


def test_results_are_those_of_the_items_that_returned_none_included() -> None:
    assert MIXED.results() == ["a", None]


def test_errors_are_in_the_order_of_the_items() -> None:
    assert MIXED.errors() == [FIRST, SECOND]


def test_a_batch_failed_as_soon_as_one_item_did() -> None:
    assert MIXED.has_failure
    assert MIXED.status is BatchItemStatus.FAILED


def test_the_first_error_by_index_is_raised_on_request() -> None:
    with pytest.raises(ChildContextError) as caught:
        MIXED.throw_if_error()

    assert caught.value is FIRST


def test_the_type_of_a_result_may_be_written_out() -> None:
    assert BatchResult[int]((BatchItem[int](0, BatchItemStatus.SUCCEEDED, 1),)).results() == [1]


def test_an_empty_batch_is_complete_and_has_succeeded() -> None:
    empty: BatchResult[int] = BatchResult()

    empty.throw_if_error()
    assert empty.completion_reason is BatchCompletionReason.ALL_COMPLETED
    assert empty.status is BatchItemStatus.SUCCEEDED
    assert (empty.total_count, empty.results(), empty.has_failure) == (0, [], False)


def test_a_predicate_can_fail_a_batch_in_which_no_item_did() -> None:
    failed = BatchResult(
        (BatchItem(0, BatchItemStatus.SUCCEEDED, 1),),
        BatchCompletionReason.CUSTOM_COMPLETION_FAILED,
    )

    assert not failed.has_failure
    assert failed.status is BatchItemStatus.FAILED
    with pytest.raises(BatchCompletionError):
        failed.throw_if_error()


def test_a_predicate_can_end_a_batch_well() -> None:
    ended: BatchResult[int] = BatchResult((), BatchCompletionReason.CUSTOM_COMPLETION_SUCCEEDED)

    assert ended.status is BatchItemStatus.SUCCEEDED
