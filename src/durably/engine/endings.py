"""How invocations and executions end, as facts. What several commands lead to stands here once."""

from __future__ import annotations

from msgspec.structs import replace

from durably.engine.execution import Execution
from durably.engine.facts import (
    MICROSECONDS,
    Closing,
    ExecutionFailed,
    ExecutionPaused,
    Fact,
    InvocationCompleted,
    InvocationOwed,
    InvocationRetryScheduled,
    Parked,
    PauseRequested,
)
from durably.engine.limits import check_error, check_payload, max_execution_bytes
from durably.engine.policy import FailurePolicy
from durably.engine.rules import RESULT_TOO_LARGE_TYPE
from durably.errors import InvalidParameterValueException
from durably.wire.operation import ErrorObject

_MAX_REASON_CHARACTERS = 500


def closed(execution: Execution, at: int, closing: Closing) -> list[Fact]:
    """End *execution*, and the invocation in flight before it: nobody hears what it says then."""
    if execution.invocation is None:
        return [closing]
    return [completed(execution, at), closing]


def completed(execution: Execution, at: int, seen: int | None = None) -> InvocationCompleted:
    """End the invocation in flight well."""
    invocation = execution.invocation
    assert invocation is not None, "asked only where one is in flight"
    return InvocationCompleted(
        at,
        invocation.started_at,
        invocation.request_id,
        None,
        is_counted=False,
        seen=invocation.seen if seen is None else seen,
    )


def suspended(execution: Execution, at: int, seen: int | None) -> list[Fact]:
    """End the invocation in flight; it goes on in a later one.

    What happened without its hearing of it owes an invocation, whatever was owed before.
    """
    end = completed(execution, at, seen)
    facts: list[Fact] = [end]
    if has_unseen(execution, end.seen):
        facts.append(InvocationOwed(at))
    return facts + paused_at_last(execution, at)


def has_unseen(execution: Execution, seen: int) -> bool:
    """Whether an operation changed from outside since *changes* was *seen* long."""
    return any(place > seen for place in reversed(execution.unannounced.values()))


def paused_at_last(execution: Execution, at: int) -> list[Fact]:
    """Begin the pause that was asked for while an invocation ran."""
    pause = execution.pause
    if not isinstance(pause, PauseRequested):
        return []
    begun = ExecutionPaused(at, pause.at, pause.reason, pause.is_timeout_paused, pause.client_token)
    return [begun]


def failed(execution: Execution, at: int, error: ErrorObject, policy: FailurePolicy) -> list[Fact]:
    """End the invocation in flight badly: it is made again, later each time, or parked."""
    lost = broken_off(execution, at, error, is_counted=True)
    verdict = after_failure(execution.failures_so_far + 1, at, error, policy)
    return [lost, verdict, *paused_at_last(execution, at)]


def broken_off(
    execution: Execution, at: int, error: ErrorObject, *, is_counted: bool
) -> InvocationCompleted:
    """End the invocation in flight with *error*."""
    end = completed(execution, at)
    return replace(end, error=error, is_counted=is_counted)


def error_of(said: tuple[str, str]) -> ErrorObject:
    """Give an error of ours, type and message, as it is recorded."""
    error_type, message = said
    return ErrorObject(error_type=error_type, error_message=message)


def after_failure(failures: int, at: int, error: ErrorObject, policy: FailurePolicy) -> Fact:
    """Say what follows after so many failed invocations in a row."""
    if failures >= policy.park_after:
        last = ": ".join(text for text in (error.error_type, error.error_message) if text)
        reason = f"{failures} invocations failed in a row; the last with {last}"
        return Parked(at, reason[:_MAX_REASON_CHARACTERS])
    delay = round(policy.delay_seconds(failures) * MICROSECONDS)
    return InvocationRetryScheduled(at, at + delay)


def over_limit(execution: Execution, result: str | None, error: ErrorObject | None) -> str | None:
    """Say which limit the outcome of *execution* breaks, if one."""
    max_bytes = max_execution_bytes(is_synchronous=execution.start.is_synchronous)
    try:
        if result is not None:
            check_payload(result, "Result", max_bytes)
        if error is not None:
            check_error(error)
    except InvalidParameterValueException as refusal:
        return refusal.message
    return None


def too_large(at: int, limit: str) -> ExecutionFailed:
    """Fail an execution for good whose outcome breaks *limit*: trying again would not help."""
    error = ErrorObject(error_type=RESULT_TOO_LARGE_TYPE, error_message=limit)
    return ExecutionFailed(at, error)
