"""The identity of one operation, and the updates that can be sent for it."""

from __future__ import annotations

from typing import Any

import msgspec

from durably.wire.operation import ErrorObject, OperationType
from durably.wire.update import (
    ContextOptions,
    OperationAction,
    OperationUpdate,
    StepOptions,
)


class Op(msgspec.Struct, frozen=True):
    """One operation: where it stands in the program, and what it is.

    Attributes:
        outlives_call: the call that it is of gives its result before the operation has ended.
    """

    id: str
    step_id: str
    parent_id: str | None
    name: str | None
    type: OperationType
    sub_type: str
    outlives_call: bool = False

    def __str__(self) -> str:
        return self.name if self.name is not None else self.id

    def update(self, action: OperationAction, **members: Any) -> OperationUpdate:
        """Build an update of this operation."""
        return OperationUpdate(
            id=self.id,
            type=self.type,
            action=action,
            parent_id=self.parent_id,
            name=self.name,
            sub_type=self.sub_type,
            **members,
        )

    def start(self, **members: Any) -> OperationUpdate:
        """Build the update that begins it."""
        return self.update(OperationAction.START, **members)

    def succeed(self, payload: str) -> OperationUpdate:
        """Build the update that ends it well."""
        return self.update(OperationAction.SUCCEED, payload=payload)

    def succeed_with_children(self, summary: str) -> OperationUpdate:
        """Build the update that ends a context whose result is rebuilt from its children."""
        return self.update(
            OperationAction.SUCCEED,
            payload=summary,
            context_options=ContextOptions(replay_children=True),
        )

    def fail(self, error: ErrorObject) -> OperationUpdate:
        """Build the update that ends it badly."""
        return self.update(OperationAction.FAIL, error=error)

    def retry(self, delay_seconds: int, error: ErrorObject) -> OperationUpdate:
        """Build the update that has it tried again after a failure."""
        return self.update(
            OperationAction.RETRY,
            error=error,
            step_options=StepOptions(next_attempt_delay_seconds=delay_seconds),
        )

    def poll_again(self, delay_seconds: int, state: str) -> OperationUpdate:
        """Build the update that has a condition checked again, with *state* kept."""
        return self.update(
            OperationAction.RETRY,
            payload=state,
            step_options=StepOptions(next_attempt_delay_seconds=delay_seconds),
        )
