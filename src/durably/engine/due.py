"""What is due in an execution, as facts."""

from __future__ import annotations

from durably.engine.endings import closed
from durably.engine.execution import Execution
from durably.engine.facts import (
    CallbackTimedOut,
    ExecutionTimedOut,
    Fact,
    StepReady,
    WaitSucceeded,
)
from durably.engine.rules import CALLBACK_HEARTBEAT, CALLBACK_TIMEOUT
from durably.engine.timers import Timer, TimerKind
from durably.wire.operation import ErrorObject


def execution_timed_out(execution: Execution, at: int) -> list[Fact]:
    """End *execution* if its time is over."""
    if execution.deadline > at:
        return []
    seconds = execution.start.timeout_seconds
    error = ErrorObject(error_message=f"Execution timed out after {seconds} seconds.")
    return closed(execution, at, ExecutionTimedOut(at, error))


def timers_due(execution: Execution, at: int) -> list[Fact]:
    """Move every operation whose time has come, in the order of those times, each once."""
    due = execution.timers.due_by(at)
    if not due:
        return []
    moved: set[int] = set()
    facts: list[Fact] = []
    for timer in due:
        if timer.operation not in moved:
            moved.add(timer.operation)
            facts.append(_moved(execution, timer, at))
    return facts


def _moved(execution: Execution, timer: Timer, at: int) -> Fact:
    operation_id = execution.operations[timer.operation].id
    if timer.kind is TimerKind.WAIT_OVER:
        return WaitSucceeded(at, operation_id)
    if timer.kind is TimerKind.STEP_READY:
        return StepReady(at, operation_id)
    is_timeout = timer.kind is TimerKind.CALLBACK_TIMEOUT
    error_type, message = CALLBACK_TIMEOUT if is_timeout else CALLBACK_HEARTBEAT
    return CallbackTimedOut(
        at, operation_id, ErrorObject(error_type=error_type, error_message=message)
    )
