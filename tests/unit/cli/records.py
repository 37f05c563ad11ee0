"""Records of operations, made short."""

from datetime import UTC, datetime, timedelta
from typing import Any

from durably.engine.views import Awaited, Standing, Why
from durably.wire.base import Timestamp
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import (
    CallbackDetails,
    Operation,
    OperationStatus,
    OperationType,
    StepDetails,
    WaitDetails,
)

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
ARN = "arn:aws:lambda:local:000000000000:function:f:$LATEST/durable-execution/run/1"


def at(seconds: float) -> Timestamp:
    return Timestamp.of(NOW + timedelta(seconds=seconds))


def operation(
    operation_id: str,
    kind: OperationType = OperationType.STEP,
    status: OperationStatus = OperationStatus.STARTED,
    **members: Any,
) -> Operation:
    members.setdefault("start_timestamp", at(-2))
    members.setdefault("name", operation_id)
    return Operation(id=operation_id, type=kind, status=status, **members)


ROOT = operation("root", OperationType.EXECUTION)
STEP = operation("charge", sub_type="Step", step_details=StepDetails())
RETRY = operation(
    "label",
    status=OperationStatus.PENDING,
    sub_type="Step",
    step_details=StepDetails(attempt=1, next_attempt_timestamp=at(3)),
)
DONE = operation(
    "price",
    status=OperationStatus.SUCCEEDED,
    sub_type="Step",
    end_timestamp=at(-1),
    step_details=StepDetails(attempt=2),
)
FAILED = operation("mail", status=OperationStatus.FAILED, sub_type="Step", end_timestamp=at(-1))
WAIT = operation(
    "cooling",
    OperationType.WAIT,
    sub_type="Wait",
    wait_details=WaitDetails(scheduled_end_timestamp=at(5)),
)
CONTEXT = operation("approval", OperationType.CONTEXT, sub_type="WaitForCallback")
CALLBACK = operation(
    "approval create callback id",
    OperationType.CALLBACK,
    parent_id="approval",
    sub_type="Callback",
    callback_details=CallbackDetails(callback_id="cb-1"),
)
INVOKE = operation("score", OperationType.CHAINED_INVOKE, sub_type="ChainedInvoke")


def why(standing: Standing = Standing.WAITING, **members: Any) -> Why:
    given: dict[str, Any] = {
        "arn": ARN,
        "status": ExecutionStatus.RUNNING,
        "standing": standing,
        "since": at(-1),
        "wakes_at": at(5),
        "waits_for": (),
        "failures": 0,
        "last_error": None,
        "parked_reason": None,
        "owed_invocations": 0,
    }
    return Why(**given | members)


def awaited(one: Operation, child_arn: str | None = None) -> Awaited:
    return Awaited(
        operation=one,
        since=one.start_timestamp,
        due_at=None,
        waker="something",
        child_arn=child_arn,
    )
