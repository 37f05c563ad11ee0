"""Which branches of a fan-out start, when it stops, and what it reports."""

from __future__ import annotations

from collections.abc import Sequence

from durably.batch_result import BatchCompletionReason, BatchItemStatus
from durably.checks import check_kind
from durably.config import (
    CompletionConfig,
    CompletionDecision,
    CompletionItemStatus,
    CompletionStatus,
)

_DECISIONS = "a function that returns continue_batch() or complete_batch(…)"


class PredicateError(Exception):
    """The user's completion predicate raised *error*."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class FanOut:
    """The state of one map or parallel while it runs."""

    __slots__ = (
        "_completion",
        "_custom",
        "_max_active",
        "_names",
        "active",
        "failures",
        "started",
        "statuses",
        "successes",
    )

    def __init__(
        self,
        names: Sequence[str | None],
        completion: CompletionConfig,
        max_concurrency: int | None,
    ) -> None:
        self._names = names
        self._completion = completion
        self._max_active = len(names) if max_concurrency is None else max_concurrency
        self._custom: BatchCompletionReason | None = None
        self.statuses: dict[int, BatchItemStatus] = {}
        self.started = 0
        self.active = 0
        self.successes = 0
        self.failures = 0
        self._ask_predicate()

    @property
    def total(self) -> int:
        """How many branches there are."""
        return len(self._names)

    def start_next(self) -> int | None:
        """Give the number of the branch to start now, `None` when none may start."""
        if self.active >= self._max_active or self.started >= self.total:
            return None
        index = self.started
        self.started += 1
        self.active += 1
        self.statuses[index] = BatchItemStatus.STARTED
        return index

    def end(self, index: int, *, has_failed: bool) -> None:
        """Note that a branch has ended."""
        self.active -= 1
        if has_failed:
            self.failures += 1
            self.statuses[index] = BatchItemStatus.FAILED
        else:
            self.successes += 1
            self.statuses[index] = BatchItemStatus.SUCCEEDED
        self._ask_predicate()

    def reason(self) -> BatchCompletionReason | None:
        """Say why the fan-out is over, `None` while it is not."""
        if self._custom is not None:
            return self._custom
        if self._breaks_tolerance():
            return BatchCompletionReason.FAILURE_TOLERANCE_EXCEEDED
        if self.successes + self.failures == self.total:
            return BatchCompletionReason.ALL_COMPLETED
        wanted = self._completion.min_successful
        if wanted is not None and self.successes >= wanted:
            return BatchCompletionReason.MIN_SUCCESSFUL_REACHED
        return None

    def _breaks_tolerance(self) -> bool:
        limits = self._completion
        if limits.should_complete is not None:
            return False
        count, percentage = limits.tolerated_failure_count, limits.tolerated_failure_percentage
        if count is None and percentage is None:
            return limits.min_successful is None and self.failures > 0
        if count is not None and self.failures > count:
            return True
        return percentage is not None and self.failures * 100 > percentage * self.total

    def _ask_predicate(self) -> None:
        predicate = self._completion.should_complete
        if predicate is None or self._custom is not None:
            return
        try:
            decision = predicate(self._status())
            check_kind(decision, "should_complete", CompletionDecision, _DECISIONS)
        except Exception as error:
            raise PredicateError(error) from error
        if decision.is_complete:
            self._custom = (
                BatchCompletionReason.CUSTOM_COMPLETION_SUCCEEDED
                if decision.has_succeeded
                else BatchCompletionReason.CUSTOM_COMPLETION_FAILED
            )

    def _status(self) -> CompletionStatus:
        return CompletionStatus(
            success_count=self.successes,
            failure_count=self.failures,
            completed_count=self.successes + self.failures,
            total_count=self.total,
            items=tuple(
                CompletionItemStatus(index=index, name=name, status=self.statuses.get(index))
                for index, name in enumerate(self._names)
            ),
        )
