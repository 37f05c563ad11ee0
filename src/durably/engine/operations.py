"""What each fact of an operation makes of the execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from msgspec.structs import replace

from durably.engine.execution import Execution, is_outstanding
from durably.engine.facts import (
    MICROSECONDS,
    CallbackFailed,
    CallbackHeartbeat,
    CallbackStarted,
    CallbackSucceeded,
    CallbackTimedOut,
    ChainedInvokeCancelled,
    ChainedInvokeFailed,
    ChainedInvokeStarted,
    ChainedInvokeStopped,
    ChainedInvokeSucceeded,
    ChainedInvokeTimedOut,
    ContextFailed,
    ContextStarted,
    ContextSucceeded,
    Fact,
    StepFailed,
    StepReady,
    StepRetried,
    StepStarted,
    StepSucceeded,
    WaitCancelled,
    WaitStarted,
    WaitSucceeded,
    timestamp_of,
)
from durably.engine.timers import TimerKind
from durably.wire.operation import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    ErrorObject,
    Operation,
    OperationStatus,
    OperationType,
    StepDetails,
    WaitDetails,
)

_STARTED = OperationStatus.STARTED


def _begin(execution: Execution, operation: Operation) -> int:
    place = len(execution.operations)
    execution.places[operation.id] = place
    execution.operations.append(operation)
    execution.changes.append(place)
    if is_outstanding(operation):
        execution.outstanding += 1
    return place


def _change(execution: Execution, place: int, changed: Operation) -> None:
    before = execution.operations[place]
    execution.operations[place] = changed
    execution.changes.append(place)
    execution.outstanding += is_outstanding(changed) - is_outstanding(before)


def _context_started(execution: Execution, fact: ContextStarted) -> None:
    opened = Operation(
        id=fact.id,
        type=OperationType.CONTEXT,
        status=_STARTED,
        start_timestamp=timestamp_of(fact.at),
        parent_id=fact.parent_id,
        name=fact.name,
        sub_type=fact.sub_type,
        context_details=ContextDetails(),
    )
    _begin(execution, opened)


def _context_succeeded(execution: Execution, fact: ContextSucceeded) -> None:
    details = ContextDetails(replay_children=fact.replay_children, result=fact.result)
    _end(execution, fact, OperationStatus.SUCCEEDED, context_details=details)


def _context_failed(execution: Execution, fact: ContextFailed) -> None:
    _end(
        execution,
        fact,
        OperationStatus.FAILED,
        context_details=ContextDetails(error=fact.error),
    )


_Ending: TypeAlias = (
    ContextSucceeded
    | ContextFailed
    | StepSucceeded
    | StepFailed
    | WaitSucceeded
    | WaitCancelled
    | CallbackSucceeded
    | CallbackFailed
    | CallbackTimedOut
    | ChainedInvokeSucceeded
    | ChainedInvokeFailed
    | ChainedInvokeTimedOut
    | ChainedInvokeStopped
    | ChainedInvokeCancelled
)


def _end(execution: Execution, fact: _Ending, status: OperationStatus, **details: object) -> int:
    place = execution.places[fact.id]
    ended = replace(
        execution.operations[place],
        status=status,
        end_timestamp=timestamp_of(fact.at),
        **details,
    )
    _change(execution, place, ended)
    return place


def _step_started(execution: Execution, fact: StepStarted) -> None:
    place = execution.places.get(fact.id)
    if place is None:
        place = execution.places[fact.id] = len(execution.operations)
        started = Operation(
            id=fact.id,
            type=OperationType.STEP,
            status=_STARTED,
            start_timestamp=timestamp_of(fact.at),
            parent_id=fact.parent_id,
            name=fact.name,
            sub_type=fact.sub_type,
            step_details=_FRESH_STEP,
        )
        execution.operations.append(started)
        execution.changes.append(place)
        return
    before = execution.operations[place]
    details = replace(_step_details(before), next_attempt_timestamp=None)
    _change(execution, place, replace(before, status=_STARTED, step_details=details))


_FRESH_STEP = StepDetails()


def _step_details(step: Operation) -> StepDetails:
    assert step.step_details is not None, "a step has them from its first fact on"
    return step.step_details


def _step_ended(
    execution: Execution,
    fact: StepSucceeded | StepFailed,
    status: OperationStatus,
    result: str | None,
    error: ErrorObject | None,
) -> None:
    place = execution.places[fact.id]
    before = execution.operations[place]
    attempt = _step_details(before).attempt + 1
    execution.operations[place] = replace(
        before,
        status=status,
        end_timestamp=timestamp_of(fact.at),
        step_details=StepDetails(attempt=attempt, result=result, error=error),
    )
    execution.changes.append(place)


def _step_succeeded(execution: Execution, fact: StepSucceeded) -> None:
    _step_ended(execution, fact, OperationStatus.SUCCEEDED, fact.result, None)


def _step_failed(execution: Execution, fact: StepFailed) -> None:
    _step_ended(execution, fact, OperationStatus.FAILED, None, fact.error)


def _step_retried(execution: Execution, fact: StepRetried) -> None:
    place = execution.places[fact.id]
    before = execution.operations[place]
    due = fact.at + fact.delay_seconds * MICROSECONDS
    details = StepDetails(
        attempt=_step_details(before).attempt + 1,
        next_attempt_timestamp=timestamp_of(due),
        result=fact.result,
        error=fact.error,
    )
    changed = replace(before, status=OperationStatus.PENDING, step_details=details)
    _change(execution, place, changed)
    execution.timers.arm(place, TimerKind.STEP_READY, due)


def _step_ready(execution: Execution, fact: StepReady) -> None:
    place = execution.places[fact.id]
    execution.timers.call_off(place, TimerKind.STEP_READY)
    ready = replace(execution.operations[place], status=OperationStatus.READY)
    _change(execution, place, ready)
    _changed_from_outside(execution, fact.id)


def _changed_from_outside(execution: Execution, operation_id: str) -> None:
    execution.unannounced[operation_id] = len(execution.changes)


def _wait_started(execution: Execution, fact: WaitStarted) -> None:
    due = fact.at + fact.wait_seconds * MICROSECONDS
    begun = Operation(
        id=fact.id,
        type=OperationType.WAIT,
        status=_STARTED,
        start_timestamp=timestamp_of(fact.at),
        parent_id=fact.parent_id,
        name=fact.name,
        sub_type=fact.sub_type,
        wait_details=WaitDetails(scheduled_end_timestamp=timestamp_of(due)),
    )
    execution.timers.arm(_begin(execution, begun), TimerKind.WAIT_OVER, due)


def _wait_succeeded(execution: Execution, fact: WaitSucceeded) -> None:
    place = _end(execution, fact, OperationStatus.SUCCEEDED)
    execution.timers.call_off(place, TimerKind.WAIT_OVER)
    _changed_from_outside(execution, fact.id)


def _wait_cancelled(execution: Execution, fact: WaitCancelled) -> None:
    place = _end(execution, fact, OperationStatus.CANCELLED)
    execution.timers.call_off(place, TimerKind.WAIT_OVER)


def _callback_started(execution: Execution, fact: CallbackStarted) -> None:
    due = fact.at + fact.timeout_seconds * MICROSECONDS
    details = CallbackDetails(
        callback_id=fact.callback_id,
        scheduled_timeout_timestamp=timestamp_of(due) if fact.timeout_seconds else None,
    )
    begun = Operation(
        id=fact.id,
        type=OperationType.CALLBACK,
        status=_STARTED,
        start_timestamp=timestamp_of(fact.at),
        parent_id=fact.parent_id,
        name=fact.name,
        sub_type=fact.sub_type,
        callback_details=details,
    )
    place = _begin(execution, begun)
    execution.callbacks[fact.callback_id] = fact.id
    if fact.timeout_seconds:
        execution.timers.arm(place, TimerKind.CALLBACK_TIMEOUT, due)
    if fact.heartbeat_timeout_seconds:
        execution.heartbeats[place] = fact.heartbeat_timeout_seconds
        _arm_heartbeat(execution, place, fact.at)


def _arm_heartbeat(execution: Execution, place: int, at: int) -> None:
    due = at + execution.heartbeats[place] * MICROSECONDS
    execution.timers.arm(place, TimerKind.HEARTBEAT_TIMEOUT, due)


def _callback_heartbeat(execution: Execution, fact: CallbackHeartbeat) -> None:
    _arm_heartbeat(execution, execution.places[fact.id], fact.at)


def _callback_ended(
    execution: Execution,
    fact: CallbackSucceeded | CallbackFailed | CallbackTimedOut,
    status: OperationStatus,
    result: str | None,
    error: ErrorObject | None,
) -> None:
    before = execution.operations[execution.places[fact.id]]
    assert before.callback_details is not None, "a callback has them from its first fact on"
    details = replace(before.callback_details, result=result, error=error)
    place = _end(execution, fact, status, callback_details=details)
    execution.timers.call_off(place, TimerKind.CALLBACK_TIMEOUT)
    execution.timers.call_off(place, TimerKind.HEARTBEAT_TIMEOUT)
    _changed_from_outside(execution, fact.id)


def _callback_succeeded(execution: Execution, fact: CallbackSucceeded) -> None:
    _callback_ended(execution, fact, OperationStatus.SUCCEEDED, fact.result, None)


def _callback_failed(execution: Execution, fact: CallbackFailed) -> None:
    _callback_ended(execution, fact, OperationStatus.FAILED, None, fact.error)


def _callback_timed_out(execution: Execution, fact: CallbackTimedOut) -> None:
    _callback_ended(execution, fact, OperationStatus.TIMED_OUT, None, fact.error)


def _chained_invoke_started(execution: Execution, fact: ChainedInvokeStarted) -> None:
    begun = Operation(
        id=fact.id,
        type=OperationType.CHAINED_INVOKE,
        status=_STARTED,
        start_timestamp=timestamp_of(fact.at),
        parent_id=fact.parent_id,
        name=fact.name,
        sub_type=fact.sub_type,
        chained_invoke_details=ChainedInvokeDetails(),
    )
    _begin(execution, begun)
    if fact.child_arn:
        execution.children[fact.id] = fact.child_arn


def _chained_invoke_succeeded(execution: Execution, fact: ChainedInvokeSucceeded) -> None:
    details = ChainedInvokeDetails(result=fact.result)
    _end(execution, fact, OperationStatus.SUCCEEDED, chained_invoke_details=details)
    _changed_from_outside(execution, fact.id)


def _chained_invoke_failed(execution: Execution, fact: ChainedInvokeFailed) -> None:
    _chained_invoke_lost(execution, fact, OperationStatus.FAILED)


def _chained_invoke_timed_out(execution: Execution, fact: ChainedInvokeTimedOut) -> None:
    _chained_invoke_lost(execution, fact, OperationStatus.TIMED_OUT)


def _chained_invoke_stopped(execution: Execution, fact: ChainedInvokeStopped) -> None:
    _chained_invoke_lost(execution, fact, OperationStatus.STOPPED)


def _chained_invoke_lost(
    execution: Execution,
    fact: ChainedInvokeFailed | ChainedInvokeTimedOut | ChainedInvokeStopped,
    status: OperationStatus,
) -> None:
    details = ChainedInvokeDetails(error=fact.error)
    _end(execution, fact, status, chained_invoke_details=details)
    _changed_from_outside(execution, fact.id)


def _chained_invoke_cancelled(execution: Execution, fact: ChainedInvokeCancelled) -> None:
    _end(execution, fact, OperationStatus.CANCELLED)


OPERATION_FACTS: Mapping[type[Fact], Callable[[Execution, Any], None]] = MappingProxyType(
    {
        ContextStarted: _context_started,
        ContextSucceeded: _context_succeeded,
        ContextFailed: _context_failed,
        StepStarted: _step_started,
        StepSucceeded: _step_succeeded,
        StepFailed: _step_failed,
        StepRetried: _step_retried,
        StepReady: _step_ready,
        WaitStarted: _wait_started,
        WaitSucceeded: _wait_succeeded,
        WaitCancelled: _wait_cancelled,
        CallbackStarted: _callback_started,
        CallbackSucceeded: _callback_succeeded,
        CallbackFailed: _callback_failed,
        CallbackTimedOut: _callback_timed_out,
        CallbackHeartbeat: _callback_heartbeat,
        ChainedInvokeStarted: _chained_invoke_started,
        ChainedInvokeSucceeded: _chained_invoke_succeeded,
        ChainedInvokeFailed: _chained_invoke_failed,
        ChainedInvokeTimedOut: _chained_invoke_timed_out,
        ChainedInvokeStopped: _chained_invoke_stopped,
        ChainedInvokeCancelled: _chained_invoke_cancelled,
    }
)
"""How each fact of an operation is taken."""

OWN_FACTS = frozenset(
    {
        ContextStarted,
        ContextSucceeded,
        ContextFailed,
        StepStarted,
        StepSucceeded,
        StepFailed,
        StepRetried,
        WaitStarted,
        CallbackStarted,
        ChainedInvokeStarted,
    }
)
"""What only an invocation records: it got further."""
