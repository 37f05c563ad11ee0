"""How invocations of an execution begin and end, are lost and are made again."""

from __future__ import annotations

from msgspec.structs import replace

from durably.engine.commands import BeginInvocation, EndInvocation, FailInvocation
from durably.engine.due import execution_timed_out, timers_due
from durably.engine.endings import (
    after_failure,
    broken_off,
    closed,
    error_of,
    failed,
    over_limit,
    paused_at_last,
    suspended,
    too_large,
)
from durably.engine.execution import Execution
from durably.engine.facts import (
    ExecutionFailed,
    ExecutionPaused,
    ExecutionSucceeded,
    Fact,
    InvocationBegun,
    InvocationCompleted,
    InvocationOwed,
    Parked,
)
from durably.engine.policy import FailurePolicy
from durably.engine.rules import (
    ERROR_WITH_SUCCEEDED,
    EXIT_ERROR,
    LOST_TYPE,
    NOTHING_OUTSTANDING,
    RESULT_WITH_FAILED,
)
from durably.wire.invocation import InvocationOutput, InvocationStatus
from durably.wire.operation import ErrorObject


def begin_invocation(
    execution: Execution, command: BeginInvocation, at: int, policy: FailurePolicy
) -> list[Fact]:
    """Do what is due, settle what is lost, and make an invocation if one is owed and may be.

    One that has begun under this very claim is not lost: that was said before, and is written.
    """
    if execution.invocation is not None and execution.invocation.epoch == command.epoch:
        return []
    ended = [] if execution.is_closed else execution_timed_out(execution, at)
    if execution.is_closed or ended:
        return ended
    facts = timers_due(execution, at)
    owed = execution.owed
    if facts and not execution.is_listening:
        facts.append(InvocationOwed(at))
        owed += 1
    if execution.parked_reason is not None or isinstance(execution.pause, ExecutionPaused):
        return facts + _lost_while_paused(execution, at)
    if execution.invocation is not None or (command.is_takeover and owed):
        facts += _lost(execution, command.lost_request_id, at, error_of(EXIT_ERROR), policy)
        # After one lost invocation the next one is made at once: its lease has been time enough.
        if isinstance(facts[-1], Parked | ExecutionPaused) or execution.failures_so_far:
            return facts
        facts.pop()
        owed += 1
    if owed and (execution.retry_at is None or execution.retry_at <= at):
        facts.append(InvocationBegun(at, command.epoch, command.request_id))
    return facts


def _lost_while_paused(execution: Execution, at: int) -> list[Fact]:
    if execution.invocation is None:
        return []
    return [broken_off(execution, at, error_of(EXIT_ERROR), is_counted=False)]


def _lost(
    execution: Execution, request_id: str, at: int, error: ErrorObject, policy: FailurePolicy
) -> list[Fact]:
    """Record that an invocation is lost, which *request_id* names if nothing of it is written."""
    if execution.invocation is not None:
        return failed(execution, at, error, policy)
    unseen = len(execution.changes)
    lost = InvocationCompleted(at, at, request_id, error, is_counted=True, seen=unseen)
    return [lost, after_failure(execution.failures + 1, at, error, policy)]


def end_invocation(
    execution: Execution, command: EndInvocation, at: int, policy: FailurePolicy
) -> list[Fact]:
    """Take the handler's answer. That of an invocation without authority is ignored."""
    invocation = execution.invocation
    if invocation is None or invocation.epoch != command.epoch:
        return []
    if not invocation.has_authority:
        return suspended(execution, at, command.seen)
    output = command.output
    if output.status is InvocationStatus.PENDING:
        return _pending(execution, command, at, policy)
    if output.status is InvocationStatus.SUCCEEDED:
        return _succeeded(execution, output, at, policy)
    return _failed_for_good(execution, output, at, policy)


def _pending(
    execution: Execution, command: EndInvocation, at: int, policy: FailurePolicy
) -> list[Fact]:
    for seen in (command.seen, _heard_for_certain(execution, command)):
        facts = suspended(execution, at, seen)
        is_owed = any(isinstance(fact, InvocationOwed) for fact in facts)
        if execution.outstanding or execution.owed or is_owed:
            return facts
    return failed(execution, at, error_of(NOTHING_OUTSTANDING), policy)


def _heard_for_certain(execution: Execution, command: EndInvocation) -> int | None:
    """Say what an invocation elsewhere must have heard of: its last reply may have been lost."""
    last = execution.last_checkpoint
    if command.seen is not None or last is None or last.epoch != command.epoch:
        return command.seen
    return last.told_before


def _succeeded(
    execution: Execution, output: InvocationOutput, at: int, policy: FailurePolicy
) -> list[Fact]:
    if output.error is not None:
        return failed(execution, at, error_of(ERROR_WITH_SUCCEEDED), policy)
    limit = over_limit(execution, output.result, None)
    if limit is not None:
        return closed(execution, at, too_large(at, limit))
    return closed(execution, at, ExecutionSucceeded(at, output.result))


def _failed_for_good(
    execution: Execution, output: InvocationOutput, at: int, policy: FailurePolicy
) -> list[Fact]:
    if output.result is not None:
        return failed(execution, at, error_of(RESULT_WITH_FAILED), policy)
    limit = over_limit(execution, None, output.error)
    if limit is not None:
        return closed(execution, at, too_large(at, limit))
    return closed(execution, at, ExecutionFailed(at, output.error))


def fail_invocation(
    execution: Execution, command: FailInvocation, at: int, policy: FailurePolicy
) -> list[Fact]:
    """Take that there was no answer."""
    invocation = execution.invocation
    error = _fitting(execution, command.error)
    is_counted = command.is_counted or _is_lost_again(execution, error)
    if invocation is None and command.request_id is not None and not execution.is_closed:
        is_held_up = execution.parked_reason is not None or execution.pause is not None
        lost, verdict = _lost(execution, command.request_id, at, error, policy)
        is_lost_only = is_held_up or not is_counted
        return [replace(lost, is_counted=False)] if is_lost_only else [lost, verdict]
    if invocation is None or invocation.epoch != command.epoch:
        return []
    if not invocation.has_authority:
        return suspended(execution, at, None)
    if is_counted:
        return failed(execution, at, error, policy)
    end = broken_off(execution, at, error, is_counted=False)
    return [end, *paused_at_last(execution, at)]


def _is_lost_again(execution: Execution, error: ErrorObject) -> bool:
    """Whether what an invocation said was lost, as with the one before: once is nobody's fault."""
    last = execution.last_error
    return error.error_type == LOST_TYPE and last is not None and last.error_type == LOST_TYPE


def _fitting(execution: Execution, error: ErrorObject) -> ErrorObject:
    limit = over_limit(execution, None, error)
    return error if limit is None else ErrorObject(error_type="Error", error_message=limit)
