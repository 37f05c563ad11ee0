"""What a user is shown of an execution: a description, and why it is where it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from durably.engine.arns import parse_execution_arn
from durably.engine.execution import Execution, is_outstanding, wake_at
from durably.engine.facts import PauseRequested, timestamp_of
from durably.engine.timers import TimerKind
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject, Operation, OperationType


@dataclass(frozen=True, slots=True, kw_only=True)
class Pausing:
    """A pause: since when, why, and whether the time-out stands still."""

    requested_at: datetime
    reason: str | None
    is_timeout_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """An execution as a whole.

    Attributes:
        times_out_at: when it ends by itself; `None` once it is closed.
        failures: how many of its invocations failed in a row.
        event_count: how many facts it has, silent ones included.
        damage: why its record cannot be read. Then its name, its status and when it started and
            ended are known, and everything else is not.
    """

    arn: str
    execution_name: str
    function_name: str
    function_arn: str
    version: str
    status: ExecutionStatus
    input_payload: str | None
    result: str | None
    error: ErrorObject | None
    started_at: datetime
    ended_at: datetime | None
    times_out_at: datetime | None
    timeout_seconds: int
    retention_days: int
    parent_arn: str | None
    tenant_id: str | None
    trace_id: str | None
    parked_reason: str | None
    failures: int
    pause: Pausing | None
    operation_count: int
    event_count: int
    damage: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self.ended_at is not None


def describe(execution: Execution) -> Description:
    """Give the description of an execution."""
    start = execution.start
    pause = execution.pause
    pausing = None
    if pause is not None:
        requested = pause.at if isinstance(pause, PauseRequested) else pause.requested_at
        pausing = Pausing(
            requested_at=timestamp_of(requested),
            reason=pause.reason,
            is_timeout_paused=pause.is_timeout_paused,
        )
    will_time_out = not execution.is_closed and execution.damage is None
    return Description(
        arn=start.arn,
        execution_name=start.execution_name,
        function_name=start.function_name,
        function_arn=parse_execution_arn(start.arn).function_arn,
        version=start.version,
        status=execution.status,
        input_payload=start.input_payload,
        result=execution.result,
        error=execution.error,
        started_at=timestamp_of(start.at),
        ended_at=None if execution.ended_at is None else timestamp_of(execution.ended_at),
        times_out_at=timestamp_of(execution.deadline) if will_time_out else None,
        timeout_seconds=start.timeout_seconds,
        retention_days=start.retention_days,
        parent_arn=start.parent_arn,
        tenant_id=start.tenant_id,
        trace_id=start.trace_id,
        parked_reason=execution.parked_reason,
        failures=execution.failures,
        pause=pausing,
        operation_count=len(execution.operations) - 1,
        event_count=execution.version,
        damage=execution.damage,
    )


class Standing(StrEnum):
    """Why an execution does not go on at this moment, or that it does."""

    CLOSED = "closed"
    RUNNING = "running"
    QUEUED = "queued"
    WAITING = "waiting"
    RETRYING = "retrying"
    PAUSED = "paused"
    PARKED = "parked"


class Next(StrEnum):
    """What is the next thing to happen to an execution by itself."""

    INVOCATION = "goes on"
    WAIT_OVER = "wakes"
    ATTEMPT = "tries again"
    CALLBACK_TIMEOUT = "callback times out"
    HEARTBEAT_TIMEOUT = "callback's heartbeat times out"
    EXECUTION_TIMEOUT = "times out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """An operation that can wake an execution.

    Attributes:
        due_at: when it does so by itself; `None` when only something from outside does.
        waker: what does, in words.
        child_arn: the execution that it waits for.
    """

    operation: Operation
    since: datetime | None
    due_at: datetime | None
    waker: str
    child_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why an execution is where it is.

    Attributes:
        since: since when.
        wakes_at: when somebody looks at it again by itself; `None`: never.
        next: what is going to happen then.
        waits_for: whatever could wake it, earliest start first.
        failures: how many invocations failed in a row, and the last one's error.
        parked_reason: why it is parked.
        damage: why its record cannot be read; then nothing is known but its status.
    """

    arn: str
    status: ExecutionStatus
    standing: Standing
    since: datetime
    wakes_at: datetime | None
    waits_for: tuple[Awaited, ...]
    failures: int
    last_error: ErrorObject | None
    parked_reason: str | None
    owed_invocations: int
    next: Next | None = None
    damage: str | None = None


def why(execution: Execution) -> Why:
    """Say why *execution* is where it is."""
    standing, since = _standing(execution)
    is_open = not execution.is_closed
    waits_for = tuple(
        _awaited(execution, operation)
        for operation in execution.operations
        if is_open and is_outstanding(operation)
    )
    return Why(
        arn=execution.arn,
        status=execution.status,
        standing=standing,
        since=timestamp_of(since),
        wakes_at=wake_at(execution),
        waits_for=waits_for,
        failures=execution.failures,
        last_error=execution.last_error,
        parked_reason=execution.parked_reason,
        owed_invocations=execution.owed,
        next=_next(execution),
        damage=execution.damage,
    )


def _standing(execution: Execution) -> tuple[Standing, int]:
    invocation, pause = execution.invocation, execution.pause
    possible = (
        (Standing.CLOSED, execution.ended_at),
        (Standing.PARKED, execution.parked_at),
        (Standing.RUNNING, None if invocation is None else invocation.started_at),
        (Standing.PAUSED, None if pause is None else pause.at),
        (Standing.RETRYING, None if execution.retry_at is None else execution.last_at),
        (Standing.QUEUED, execution.last_at if execution.owed else None),
    )
    for standing, since in possible:
        if since is not None:
            return standing, since
    return Standing.WAITING, execution.last_at


def _next(execution: Execution) -> Next | None:
    at = wake_at(execution)
    if at is None:
        return None
    timer = execution.timers.first()
    if timer is not None and timestamp_of(timer.due) == at:
        return _BY_TIMER[timer.kind]
    return Next.EXECUTION_TIMEOUT if timestamp_of(execution.deadline) == at else Next.INVOCATION


_BY_TIMER = {
    TimerKind.WAIT_OVER: Next.WAIT_OVER,
    TimerKind.STEP_READY: Next.ATTEMPT,
    TimerKind.CALLBACK_TIMEOUT: Next.CALLBACK_TIMEOUT,
    TimerKind.HEARTBEAT_TIMEOUT: Next.HEARTBEAT_TIMEOUT,
}

_WAKERS = {
    OperationType.WAIT: "the end of the wait",
    OperationType.STEP: "the time of the next attempt",
    OperationType.CALLBACK: "an answer to the callback",
    OperationType.CHAINED_INVOKE: "the end of the invoked execution",
}


def _awaited(execution: Execution, operation: Operation) -> Awaited:
    due_at: datetime | None = None
    if operation.wait_details is not None:
        due_at = operation.wait_details.scheduled_end_timestamp
    elif operation.step_details is not None:
        due_at = operation.step_details.next_attempt_timestamp
    elif operation.callback_details is not None:
        due_at = operation.callback_details.scheduled_timeout_timestamp
    return Awaited(
        operation=operation,
        since=operation.start_timestamp,
        due_at=due_at,
        waker=_WAKERS[operation.type],
        child_arn=execution.children.get(operation.id),
    )
