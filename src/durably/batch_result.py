"""What a map, a parallel or any other fan-out hands back."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec

from durably.errors import BatchCompletionError, ChildContextError

T = TypeVar("T")


class BatchItemStatus(StrEnum):
    """How far an item came. STARTED: the batch was over before the item was."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STARTED = "STARTED"


class BatchCompletionReason(StrEnum):
    """Why a batch stopped."""

    ALL_COMPLETED = "ALL_COMPLETED"
    MIN_SUCCESSFUL_REACHED = "MIN_SUCCESSFUL_REACHED"
    FAILURE_TOLERANCE_EXCEEDED = "FAILURE_TOLERANCE_EXCEEDED"
    CUSTOM_COMPLETION_SUCCEEDED = "CUSTOM_COMPLETION_SUCCEEDED"
    CUSTOM_COMPLETION_FAILED = "CUSTOM_COMPLETION_FAILED"


class BatchItem(msgspec.Struct, Generic[T], frozen=True):
    """One item of a batch that was started.

    Attributes:
        index: its place among the items of the batch, from 0.
        result: what it returned, if it succeeded.
        error: what it raised, if it failed.
    """

    index: int
    status: BatchItemStatus
    result: T | None = None
    error: ChildContextError | None = None


class BatchResult(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """The items of a batch that were started, by index, and why the batch stopped.

    A batch never raises by itself: ask `throw_if_error`.
    """

    all: tuple[BatchItem[T], ...] = ()
    completion_reason: BatchCompletionReason = BatchCompletionReason.ALL_COMPLETED

    def succeeded(self) -> list[BatchItem[T]]:
        """Give the items that returned."""
        return self._with(BatchItemStatus.SUCCEEDED)

    def failed(self) -> list[BatchItem[T]]:
        """Give the items that raised."""
        return self._with(BatchItemStatus.FAILED)

    def started(self) -> list[BatchItem[T]]:
        """Give the items that were under way when the batch stopped."""
        return self._with(BatchItemStatus.STARTED)

    def results(self) -> list[T]:
        """Give what the items returned that have succeeded, in the order of the items.

        Ask `throw_if_error` first where none may be missing.
        """
        values: list[Any] = [item.result for item in self.succeeded()]
        return values

    def errors(self) -> list[ChildContextError]:
        """Give what the items raised, in the order of the items."""
        return [item.error for item in self.all if item.error is not None]

    @property
    def status(self) -> BatchItemStatus:
        """SUCCEEDED, or FAILED when an item failed or the completion predicate said so."""
        custom_failure = self.completion_reason is BatchCompletionReason.CUSTOM_COMPLETION_FAILED
        if self.has_failure or custom_failure:
            return BatchItemStatus.FAILED
        return BatchItemStatus.SUCCEEDED

    @property
    def has_failure(self) -> bool:
        """Whether any item failed."""
        return any(item.status is BatchItemStatus.FAILED for item in self.all)

    @property
    def success_count(self) -> int:
        """How many items returned."""
        return len(self.succeeded())

    @property
    def failure_count(self) -> int:
        """How many items raised."""
        return len(self.failed())

    @property
    def started_count(self) -> int:
        """How many items were under way when the batch stopped."""
        return len(self.started())

    @property
    def total_count(self) -> int:
        """How many items were started at all."""
        return len(self.all)

    def throw_if_error(self) -> None:
        """Raise if the batch failed.

        Raises:
            ChildContextError: an item failed; the first of them by index.
            BatchCompletionError: none did, but the completion predicate failed the batch.
        """
        for error in self.errors():
            raise error
        if self.status is BatchItemStatus.FAILED:
            raise BatchCompletionError

    def _with(self, status: BatchItemStatus) -> list[BatchItem[T]]:
        return [item for item in self.all if item.status is status]
