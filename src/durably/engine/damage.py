"""An execution whose record cannot be read: what is still known of it, and what may be done to it.

Its facts are lost to us, but the store's summary is not. From that a stand-in is made, parked or
closed, which takes the place of the execution wherever one is asked for: it is described, parked
when it is claimed, stopped, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from durably.engine.arns import parse_execution_arn
from durably.engine.commands import (
    DEFAULT_EXECUTION_TIMEOUT_SECONDS,
    BeginInvocation,
    Command,
    CompleteInvoke,
    EndInvocation,
    FailInvocation,
    TimersDue,
)
from durably.engine.evolution import evolve, fold
from durably.engine.execution import Execution
from durably.engine.facts import (
    AnyFact,
    Closing,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    Fact,
    Parked,
    decode_fact,
    microseconds_of,
)
from durably.engine.store import Stored
from durably.errors import ResourceConflictException
from durably.limits import MAX_RETENTION_DAYS
from durably.wire.execution import ExecutionStatus

_MAX_DETAIL_CHARACTERS = 200
_IGNORED = (BeginInvocation, CompleteInvoke, TimersDue, EndInvocation, FailInvocation)


def execution_of(stored: Stored) -> Execution:
    """Give the execution that the stored facts make, or what stands in for it."""
    if stored.damage is not None:
        return _stand_in(stored, stored.damage)
    try:
        execution = fold(map(decode_fact, stored.facts))
        assert execution.arn == stored.arn, "its first fact says who it is"
    except (MemoryError, RecursionError):
        raise  # this process is in trouble, not the record
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not break whoever looks
        return _stand_in(stored, f"{type(error).__name__}: {error}"[:_MAX_DETAIL_CHARACTERS])
    return execution


def facts_of(stored: Stored) -> list[AnyFact]:
    """Give all facts of an execution.

    Raises:
        ResourceConflictException: they cannot be read.
    """
    execution = execution_of(stored)
    if execution.damage is not None:
        raise _refusal(execution)
    return [decode_fact(fact) for fact in stored.facts]


def decide_damaged(execution: Execution, command: Command, at: int) -> list[Fact]:
    """Say what a command other than Stop makes of a stand-in.

    Raises:
        ResourceConflictException: only the lost facts could tell.
    """
    if isinstance(command, BeginInvocation) and execution.parked_reason is not None:
        return [Parked(at, execution.parked_reason)]
    if isinstance(command, _IGNORED):
        return []
    raise _refusal(execution)


def _refusal(execution: Execution) -> ResourceConflictException:
    return ResourceConflictException(f"{execution.start.execution_name}: {execution.damage}.")


def _stand_in(stored: Stored, detail: str) -> Execution:
    summary = stored.summary
    started_at = microseconds_of(summary.started_at)
    started = ExecutionStarted(
        started_at,
        stored.arn,
        summary.function_name,
        parse_execution_arn(stored.arn).version,
        summary.execution_name,
        None,
        DEFAULT_EXECUTION_TIMEOUT_SECONDS,
        MAX_RETENTION_DAYS,  # how long it was to be kept is lost: rather too long than too short
        parent_arn=summary.parent_arn,
    )
    execution = evolve(Execution(), started)
    remedy = "stop it" if summary.ended_at is None else "delete it"
    damage = f"its record cannot be read; {remedy} or restore a backup: {detail}"
    if summary.ended_at is None:
        evolve(execution, Parked(started_at, damage))
    else:
        close = _CLOSINGS[ExecutionStatus(summary.status)]
        evolve(execution, close(microseconds_of(summary.ended_at), None))
    execution.damage = damage
    execution.version = stored.version
    return execution


_CLOSINGS: Mapping[ExecutionStatus, type[Closing]] = MappingProxyType(
    {
        ExecutionStatus.SUCCEEDED: ExecutionSucceeded,
        ExecutionStatus.FAILED: ExecutionFailed,
        ExecutionStatus.STOPPED: ExecutionStopped,
        ExecutionStatus.TIMED_OUT: ExecutionTimedOut,
    }
)
