"""What a command makes of an execution: the facts, or a typed refusal. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from durably.engine.commands import (
    BeginInvocation,
    Checkpoint,
    Command,
    CompleteCallback,
    CompleteInvoke,
    EndInvocation,
    FailCallback,
    FailInvocation,
    HeartbeatCallback,
    Pause,
    Resume,
    Start,
    Stop,
    TimersDue,
)
from durably.engine.damage import decide_damaged
from durably.engine.due import execution_timed_out, timers_due
from durably.engine.endings import (
    closed,
)
from durably.engine.execution import Execution
from durably.engine.facts import (
    CallbackFailed,
    CallbackHeartbeat,
    CallbackSucceeded,
    ChainedInvokeFailed,
    ChainedInvokeStopped,
    ChainedInvokeSucceeded,
    ChainedInvokeTimedOut,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionStopped,
    Fact,
    InvocationOwed,
    PauseRequested,
    Unparked,
    microseconds_of,
)
from durably.engine.invocations import begin_invocation, end_invocation, fail_invocation
from durably.engine.limits import (
    MAX_PAYLOAD_BYTES,
    MAX_REASON,
    check_client_token,
    check_error,
    check_payload,
    check_start,
    check_text,
)
from durably.engine.policy import FailurePolicy
from durably.engine.repeats import is_repeated
from durably.engine.rules import (
    ALREADY_PAUSED,
    ALREADY_STARTED,
    CALLBACK_CLOSED,
    CALLBACK_NOT_FOUND,
    CANNOT_PAUSE_CLOSED,
    CANNOT_RESUME_CLOSED,
    INVOKE_TIMEOUT_TYPE,
    NOT_PAUSED,
    STOPPED_BY_USER,
)
from durably.engine.timers import TimerKind
from durably.engine.updates import checkpoint
from durably.errors import (
    CallbackTimeoutException,
    DurableExecutionAlreadyStartedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from durably.wire.operation import ErrorObject, Operation, OperationStatus

DEFAULT_POLICY = FailurePolicy()


def decide(
    execution: Execution, command: Command, now: datetime, policy: FailurePolicy = DEFAULT_POLICY
) -> list[Fact]:
    """Say what *command* makes of *execution*, which is left as it is.

    The facts are to be taken by `evolve` all or not at all. None means that nothing changes: the
    command was heard before, or came too late to matter.

    Raises:
        ApiError: the command is refused; the class says how.
    """
    at = max(microseconds_of(now), execution.last_at)
    if execution.damage is not None and not isinstance(command, Stop):
        return decide_damaged(execution, command, at)
    return _DECIDE[type(command)](execution, command, at, policy)


def _start(execution: Execution, command: Start, at: int, _policy: FailurePolicy) -> list[Fact]:
    if execution.started is not None:
        if execution.start.input_payload != command.input_payload:
            raise DurableExecutionAlreadyStartedException(ALREADY_STARTED)
        return []
    check_start(command)
    begun = ExecutionStarted(
        at,
        command.arn,
        command.function_name,
        command.version,
        command.execution_name,
        command.input_payload,
        command.timeout_seconds,
        command.retention_days,
        command.is_synchronous,
        command.parent_arn,
        command.parent_operation_id,
        command.ancestors,
        command.tenant_id,
        command.trace_id,
    )
    return [begun]


def _complete_callback(
    execution: Execution, command: CompleteCallback, at: int, _policy: FailurePolicy
) -> list[Fact]:
    operation = _open_callback(execution, command.callback_id, at)
    if command.result is not None:
        check_payload(command.result, "Result", MAX_PAYLOAD_BYTES)
    return _from_outside(execution, CallbackSucceeded(at, operation.id, command.result))


def _fail_callback(
    execution: Execution, command: FailCallback, at: int, _policy: FailurePolicy
) -> list[Fact]:
    operation = _open_callback(execution, command.callback_id, at)
    check_error(command.error)
    return _from_outside(execution, CallbackFailed(at, operation.id, command.error))


def _heartbeat_callback(
    execution: Execution, command: HeartbeatCallback, at: int, _policy: FailurePolicy
) -> list[Fact]:
    operation = _open_callback(execution, command.callback_id, at)
    place = execution.places[operation.id]
    if execution.timers.due_of(place, TimerKind.HEARTBEAT_TIMEOUT) is None:
        return []
    return [CallbackHeartbeat(at, operation.id)]


def _open_callback(execution: Execution, callback_id: str, at: int) -> Operation:
    operation_id = execution.callbacks.get(callback_id)
    if operation_id is None:
        raise ResourceNotFoundException(CALLBACK_NOT_FOUND)
    place = execution.places[operation_id]
    operation = execution.operations[place]
    if execution.is_closed or operation.is_terminal or _is_overdue(execution, place, at):
        raise CallbackTimeoutException(CALLBACK_CLOSED)
    return operation


def _is_overdue(execution: Execution, place: int, at: int) -> bool:
    """Whether a callback's time is over, though nobody has recorded it yet."""
    kinds = (TimerKind.CALLBACK_TIMEOUT, TimerKind.HEARTBEAT_TIMEOUT)
    dues = [execution.timers.due_of(place, kind) for kind in kinds]
    return any(due is not None and due <= at for due in dues)


def _complete_invoke(
    execution: Execution, command: CompleteInvoke, at: int, _policy: FailurePolicy
) -> list[Fact]:
    operation = execution.find_operation(command.operation_id)
    if execution.is_closed or operation is None or operation.is_terminal:
        return []
    return _from_outside(execution, _mirrored(command, at))


def _mirrored(command: CompleteInvoke, at: int) -> Fact:
    operation_id, error = command.operation_id, command.error
    if command.status is OperationStatus.SUCCEEDED:
        return ChainedInvokeSucceeded(at, operation_id, command.result)
    if command.status is OperationStatus.TIMED_OUT:
        message = None if error is None else error.error_message
        timed_out = ErrorObject(error_type=INVOKE_TIMEOUT_TYPE, error_message=message)
        return ChainedInvokeTimedOut(at, operation_id, timed_out)
    if command.status is OperationStatus.STOPPED:
        return ChainedInvokeStopped(at, operation_id, error)
    return ChainedInvokeFailed(at, operation_id, error)


def _from_outside(execution: Execution, fact: Fact) -> list[Fact]:
    return [fact] if execution.is_listening else [fact, InvocationOwed(fact.at)]


def _timers_due(
    execution: Execution, _command: TimersDue, at: int, _policy: FailurePolicy
) -> list[Fact]:
    if execution.is_closed:
        return []
    timed_out = execution_timed_out(execution, at)
    if timed_out:
        return timed_out
    facts = timers_due(execution, at)
    if facts and not execution.is_listening:
        facts.append(InvocationOwed(at))
    return facts


def _stop(execution: Execution, command: Stop, at: int, _policy: FailurePolicy) -> list[Fact]:
    if execution.is_closed:
        return []
    error = command.error
    if error is None:
        error = ErrorObject(error_message=STOPPED_BY_USER)
    check_error(error)
    return closed(execution, at, ExecutionStopped(at, error))


def _pause(execution: Execution, command: Pause, at: int, _policy: FailurePolicy) -> list[Fact]:
    check_client_token(command.client_token)
    check_text(command.reason, "Reason", MAX_REASON)
    if is_repeated(execution, command, at):
        return []
    if execution.is_closed:
        raise ResourceConflictException(CANNOT_PAUSE_CLOSED)
    if execution.pause is not None:
        raise ResourceConflictException(ALREADY_PAUSED)
    said = (command.reason, command.is_timeout_paused, command.client_token)
    if execution.invocation is None:
        return [ExecutionPaused(at, at, *said)]
    return [PauseRequested(at, *said)]


def _resume(execution: Execution, command: Resume, at: int, _policy: FailurePolicy) -> list[Fact]:
    check_client_token(command.client_token)
    check_text(command.reason, "Reason", MAX_REASON)
    if is_repeated(execution, command, at):
        return []
    if execution.is_closed:
        raise ResourceConflictException(CANNOT_RESUME_CLOSED)
    facts: list[Fact] = []
    if execution.parked_reason is not None or execution.retry_at is not None:
        facts.append(Unparked(at, command.client_token, command.reason))
    if execution.pause is not None:
        facts.append(ExecutionResumed(at, command.reason, command.client_token))
    if not facts:
        raise ResourceConflictException(NOT_PAUSED)
    return facts


_DECIDE: Mapping[type[Command], Callable[[Execution, Any, int, FailurePolicy], list[Fact]]] = (
    MappingProxyType(
        {
            Start: _start,
            BeginInvocation: begin_invocation,
            Checkpoint: checkpoint,
            EndInvocation: end_invocation,
            FailInvocation: fail_invocation,
            CompleteCallback: _complete_callback,
            FailCallback: _fail_callback,
            HeartbeatCallback: _heartbeat_callback,
            CompleteInvoke: _complete_invoke,
            TimersDue: _timers_due,
            Stop: _stop,
            Pause: _pause,
            Resume: _resume,
        }
    )
)
