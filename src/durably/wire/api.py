"""Requests and replies of the two calls a running function makes."""

from __future__ import annotations

from durably.wire.base import WireStruct
from durably.wire.invocation import ExecutionState
from durably.wire.operation import Operation
from durably.wire.update import OperationUpdate


class CheckpointRequest(WireStruct, frozen=True):
    """Updates to be accepted together. Without any it asks what has changed."""

    durable_execution_arn: str
    checkpoint_token: str
    updates: tuple[OperationUpdate, ...] = ()
    client_token: str | None = None


class CheckpointResponse(WireStruct, frozen=True):
    """The token for the next checkpoint, and what has changed. No token: the execution is over."""

    checkpoint_token: str | None = None
    new_execution_state: ExecutionState = ExecutionState()


class GetExecutionStateRequest(WireStruct, frozen=True):
    """Asks for one page of the operations of an execution."""

    durable_execution_arn: str
    checkpoint_token: str
    marker: str | None = None
    max_items: int = 1000


class GetExecutionStateResponse(WireStruct, frozen=True):
    """One page of operations."""

    operations: tuple[Operation, ...]
    next_marker: str | None = None
