"""What a durable function's handler is called with, and what it answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from durably.wire.base import WireStruct, convert_wire, decode_wire
from durably.wire.operation import ErrorObject, Operation


class ExecutionState(WireStruct, frozen=True):
    """A page of an execution's operations; `next_marker` asks for the page after it."""

    operations: tuple[Operation, ...] = ()
    next_marker: str | None = None


class InvocationInput(WireStruct, frozen=True):
    """The payload of one invocation. `updated_operation_ids` changed since the last one."""

    durable_execution_arn: str
    checkpoint_token: str
    initial_execution_state: ExecutionState = ExecutionState()
    updated_operation_ids: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, raw: bytes | str | dict[str, Any]) -> Self:
        """Read an invocation payload, tolerant of every form of timestamp seen in the field.

        Raises:
            msgspec.ValidationError: a member has the wrong type; the text names its path.
        """
        if isinstance(raw, dict):
            return convert_wire(raw, cls)
        return decode_wire(raw, cls)


class InvocationStatus(StrEnum):
    """How an invocation ended. PENDING: call again when something has changed."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    PENDING = "PENDING"


class InvocationOutput(WireStruct, frozen=True):
    """What the handler answers. `result` only with SUCCEEDED, `error` only with FAILED."""

    status: InvocationStatus
    result: str | None = None
    error: ErrorObject | None = None
