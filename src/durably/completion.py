"""When a batch is over: limits, or a predicate of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from msgspec.structs import force_setattr

from durably.batch_result import BatchItemStatus
from durably.checks import check_optional_function, member_of
from durably.errors import ValidationError
from durably.limits import as_count, check_percentage


class CompletionOutcome(StrEnum):
    """How a completion predicate ends a batch."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class CompletionItemStatus(msgspec.Struct, frozen=True):
    """How far one item is; `status` is `None` before it starts."""

    index: int
    name: str | None = None
    status: BatchItemStatus | None = None


class CompletionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a batch is: what a completion predicate is asked about."""

    success_count: int
    failure_count: int
    completed_count: int
    total_count: int
    items: tuple[CompletionItemStatus, ...] = ()


class CompletionDecision(msgspec.Struct, frozen=True):
    """What a completion predicate answers: no outcome lets the batch go on."""

    outcome: CompletionOutcome | None = None

    def __post_init__(self) -> None:
        if self.outcome is not None:
            force_setattr(self, "outcome", member_of(CompletionOutcome, self.outcome, "outcome"))

    @property
    def is_complete(self) -> bool:
        """Whether the batch ends now."""
        return self.outcome is not None

    @property
    def has_succeeded(self) -> bool:
        """Whether it ends well."""
        return self.outcome is CompletionOutcome.SUCCEEDED


def continue_batch() -> CompletionDecision:
    """Let the batch go on."""
    return CompletionDecision()


def complete_batch(outcome: CompletionOutcome = CompletionOutcome.SUCCEEDED) -> CompletionDecision:
    """End the batch now. Items under way are not waited for."""
    return CompletionDecision(member_of(CompletionOutcome, outcome, "outcome"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionConfig:
    """When a batch stops before all of its items are done.

    With nothing set, the first failure stops it. With `min_successful` alone, failures do not.

    Attributes:
        min_successful: stop when so many items have succeeded.
        tolerated_failure_count: stop when more have failed.
        tolerated_failure_percentage: stop when more of all items have failed.
        should_complete: decides instead of the three; called before anything starts and after
            every change of an item. Once it completes the batch it must not change its mind.
    """

    min_successful: int | None = None
    tolerated_failure_count: int | None = None
    tolerated_failure_percentage: float | None = None
    should_complete: Callable[[CompletionStatus], CompletionDecision] | None = None

    def __post_init__(self) -> None:
        if self.min_successful is not None:
            as_count(self.min_successful, "min_successful", minimum=1)
        if self.tolerated_failure_count is not None:
            as_count(self.tolerated_failure_count, "tolerated_failure_count", minimum=0)
        if self.tolerated_failure_percentage is not None:
            check_percentage(self.tolerated_failure_percentage, "tolerated_failure_percentage")
        check_optional_function(self.should_complete, "should_complete")
        if self.should_complete is not None and self.has_thresholds:
            raise ValidationError("should_complete", "cannot be combined with thresholds")

    @property
    def has_thresholds(self) -> bool:
        """Whether any of the three limits is set."""
        limits = (
            self.min_successful,
            self.tolerated_failure_count,
            self.tolerated_failure_percentage,
        )
        return any(limit is not None for limit in limits)

    def check_total(self, total: int) -> None:
        """Refuse to start a batch of *total* items that cannot have enough successes."""
        if self.min_successful is not None and 0 < total < self.min_successful:
            message = f"is {self.min_successful}, and there are only {total} items"
            raise ValidationError("min_successful", message)

    @classmethod
    def all_successful(cls) -> CompletionConfig:
        """Stop at the first failure."""
        return cls(tolerated_failure_count=0, tolerated_failure_percentage=0)

    @classmethod
    def all_completed(cls) -> CompletionConfig:
        """Run all items, whatever fails."""
        return cls(tolerated_failure_percentage=100)

    @classmethod
    def first_successful(cls) -> CompletionConfig:
        """Stop at the first success."""
        return cls(min_successful=1)
