"""What each fact makes of an execution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from durably.engine.arns import root_operation_id
from durably.engine.commands import Pause, Resume
from durably.engine.execution import Execution, Invocation, LastCheckpoint
from durably.engine.facts import (
    MICROSECONDS,
    CheckpointAccepted,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    Fact,
    InvocationBegun,
    InvocationCompleted,
    InvocationOwed,
    InvocationRetryScheduled,
    Parked,
    PauseRequested,
    Unparked,
    timestamp_of,
)
from durably.engine.operations import OPERATION_FACTS, OWN_FACTS
from durably.engine.repeats import note
from durably.engine.timers import Timers
from durably.limits import MAX_DELAY_SECONDS
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import (
    ExecutionDetails,
    Operation,
    OperationStatus,
    OperationType,
)


def evolve(execution: Execution, fact: Fact) -> Execution:
    """Take what happened. Total: what `decide` gives, and every prefix of it, is valid."""
    _EVOLVE[type(fact)](execution, fact)
    if execution.invocation is not None and type(fact) in OWN_FACTS:
        execution.invocation.has_recorded = True
    execution.version += 1
    execution.last_at = fact.at
    return execution


def fold(facts: Iterable[Fact]) -> Execution:
    """Give the execution that *facts*, from its first on, make."""
    execution = Execution()
    for fact in facts:
        evolve(execution, fact)
    return execution


def _execution_started(execution: Execution, fact: ExecutionStarted) -> None:
    execution.started = fact
    execution.owed = 1
    execution.deadline = fact.at + fact.timeout_seconds * MICROSECONDS
    root = Operation(
        id=root_operation_id(fact.arn),
        type=OperationType.EXECUTION,
        status=OperationStatus.STARTED,
        start_timestamp=timestamp_of(fact.at),
        name=fact.execution_name,
        execution_details=ExecutionDetails(input_payload=fact.input_payload),
    )
    execution.places[root.id] = 0
    execution.operations.append(root)
    execution.changes.append(0)


def _execution_succeeded(execution: Execution, fact: ExecutionSucceeded) -> None:
    execution.result = fact.result
    _close(execution, fact, ExecutionStatus.SUCCEEDED)


def _execution_failed(execution: Execution, fact: ExecutionFailed) -> None:
    execution.error = fact.error
    _close(execution, fact, ExecutionStatus.FAILED)


def _execution_stopped(execution: Execution, fact: ExecutionStopped) -> None:
    execution.error = fact.error
    _close(execution, fact, ExecutionStatus.STOPPED)


def _execution_timed_out(execution: Execution, fact: ExecutionTimedOut) -> None:
    execution.error = fact.error
    _close(execution, fact, ExecutionStatus.TIMED_OUT)


def _close(execution: Execution, fact: Fact, status: ExecutionStatus) -> None:
    execution.status = status
    execution.ended_at = fact.at
    execution.parked_reason = execution.parked_at = execution.retry_at = execution.pause = None
    execution.owed = execution.outstanding = 0
    execution.timers = Timers()
    execution.operations[0] = replace(
        execution.operations[0],
        status=OperationStatus(status.value),
        end_timestamp=timestamp_of(fact.at),
    )
    execution.changes.append(0)


def _execution_paused(execution: Execution, fact: ExecutionPaused) -> None:
    execution.status = ExecutionStatus.PAUSED
    execution.pause = fact
    asked = Pause(fact.reason, fact.is_timeout_paused, fact.client_token)
    note(execution, asked, fact.requested_at)
    if fact.is_timeout_paused:
        execution.unpaused_deadline = execution.deadline
        execution.deadline = _last_deadline(execution)
    if execution.invocation is not None:
        execution.invocation.has_authority = False


def _execution_resumed(execution: Execution, fact: ExecutionResumed) -> None:
    pause = execution.pause
    execution.status = ExecutionStatus.RUNNING
    execution.pause = None
    note(execution, Resume(fact.reason, fact.client_token), fact.at)
    if not isinstance(pause, ExecutionPaused):
        return
    execution.owed = min(execution.owed, 1)
    if pause.is_timeout_paused:
        longer = execution.unpaused_deadline + fact.at - pause.at
        execution.deadline = min(longer, _last_deadline(execution))


def _last_deadline(execution: Execution) -> int:
    return execution.start.at + MAX_DELAY_SECONDS * MICROSECONDS


def _pause_requested(execution: Execution, fact: PauseRequested) -> None:
    execution.status = ExecutionStatus.PAUSING
    execution.pause = fact
    note(execution, Pause(fact.reason, fact.is_timeout_paused, fact.client_token), fact.at)


def _invocation_begun(execution: Execution, fact: InvocationBegun) -> None:
    execution.invocation = Invocation(
        epoch=fact.epoch,
        request_id=fact.request_id,
        started_at=fact.at,
        seen=len(execution.changes),
    )
    execution.owed -= 1
    execution.retry_at = None


def _invocation_completed(execution: Execution, fact: InvocationCompleted) -> None:
    invocation = execution.invocation
    failures = execution.failures_so_far
    execution.invocation = None
    if fact.error is None:
        execution.failures = 0
        execution.last_error = None
        execution.unannounced = {
            operation_id: place
            for operation_id, place in execution.unannounced.items()
            if place > fact.seen
        }
    else:
        execution.failures = failures + fact.is_counted
        execution.last_error = fact.error
    if invocation is not None and (fact.error is not None or not invocation.has_authority):
        execution.owed += 1


def _invocation_owed(execution: Execution, _fact: InvocationOwed) -> None:
    execution.owed += 1


def _invocation_retry_scheduled(execution: Execution, fact: InvocationRetryScheduled) -> None:
    execution.retry_at = fact.retry_at


def _parked(execution: Execution, fact: Parked) -> None:
    execution.parked_reason = fact.reason
    execution.parked_at = fact.at


def _unparked(execution: Execution, fact: Unparked) -> None:
    execution.parked_reason = execution.parked_at = execution.retry_at = None
    execution.failures = 0
    note(execution, Resume(fact.reason, fact.client_token), fact.at)


def _checkpoint_accepted(execution: Execution, fact: CheckpointAccepted) -> None:
    invocation = execution.invocation
    assert invocation is not None, "only an invocation in flight has its checkpoints accepted"
    execution.last_checkpoint = LastCheckpoint(
        epoch=invocation.epoch,
        sequence=fact.sequence,
        client_token=fact.client_token,
        told_before=invocation.seen,
    )
    invocation.sequence = fact.sequence
    invocation.seen = len(execution.changes)


_EVOLVE: Mapping[type[Fact], Callable[[Execution, Any], None]] = MappingProxyType(
    {
        **OPERATION_FACTS,
        ExecutionStarted: _execution_started,
        ExecutionSucceeded: _execution_succeeded,
        ExecutionFailed: _execution_failed,
        ExecutionStopped: _execution_stopped,
        ExecutionTimedOut: _execution_timed_out,
        ExecutionPaused: _execution_paused,
        ExecutionResumed: _execution_resumed,
        PauseRequested: _pause_requested,
        InvocationBegun: _invocation_begun,
        InvocationCompleted: _invocation_completed,
        InvocationOwed: _invocation_owed,
        InvocationRetryScheduled: _invocation_retry_scheduled,
        Parked: _parked,
        Unparked: _unparked,
        CheckpointAccepted: _checkpoint_accepted,
    }
)
