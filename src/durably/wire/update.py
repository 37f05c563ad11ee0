"""A change to one operation, as a function sends it in a checkpoint."""

from __future__ import annotations

from enum import StrEnum

from durably.wire.base import WireStruct
from durably.wire.operation import ErrorObject, OperationType


class OperationAction(StrEnum):
    """What an update asks the backend to do with its operation."""

    START = "START"
    SUCCEED = "SUCCEED"
    FAIL = "FAIL"
    RETRY = "RETRY"
    CANCEL = "CANCEL"


class ContextOptions(WireStruct, frozen=True):
    """With `replay_children` the children stay readable, and a replay runs the body again."""

    replay_children: bool = False


class StepOptions(WireStruct, frozen=True):
    """How long until the next attempt, in whole seconds. Only with RETRY."""

    next_attempt_delay_seconds: int


class WaitOptions(WireStruct, frozen=True):
    """How long the wait lasts, in whole seconds."""

    wait_seconds: int


class CallbackOptions(WireStruct, frozen=True):
    """Deadlines of a callback in whole seconds; 0 means none."""

    timeout_seconds: int = 0
    heartbeat_timeout_seconds: int = 0


class ChainedInvokeOptions(WireStruct, frozen=True):
    """Which function to call, and for which tenant."""

    function_name: str
    tenant_id: str | None = None
    x_amzn_trace_id: str | None = None


class OperationUpdate(WireStruct, frozen=True):
    """One change to one operation."""

    id: str
    type: OperationType
    action: OperationAction
    parent_id: str | None = None
    name: str | None = None
    sub_type: str | None = None
    payload: str | None = None
    error: ErrorObject | None = None
    context_options: ContextOptions | None = None
    step_options: StepOptions | None = None
    wait_options: WaitOptions | None = None
    callback_options: CallbackOptions | None = None
    chained_invoke_options: ChainedInvokeOptions | None = None
