"""A step: user code that runs until its outcome is recorded, and never after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from durably.config import StepConfig, StepSemantics
from durably.core.effects import (
    Attempt,
    Err,
    Ok,
    Outcome,
    Park,
    Persist,
    Program,
    call,
    record_outcome,
)
from durably.core.journal import Journal, attempts_of, due_at, error_of, result_of
from durably.core.op import Op
from durably.core.operations.values import seal, unseal, within_limit
from durably.core.strategies import ask_retry
from durably.errors import (
    StepError,
    StepInterruptedError,
    TerminationReason,
    TransactionConflictError,
    UnrecoverableError,
    UnrecoverableInvocationError,
    error_beside,
    error_object,
)
from durably.limits import duration_seconds
from durably.serdes import Serdes
from durably.wire.operation import Operation, OperationStatus
from durably.wire.update import OperationUpdate

T = TypeVar("T")


def step(
    journal: Journal, op: Op, body: Callable[[], Any], config: StepConfig[T], serdes: Serdes[T]
) -> Program[T]:
    """Look at the record, do the one thing it calls for, look again.

    The value returned is always the recorded one, never straight from *body*, so a first run and a
    replay cannot differ. A record that has not changed when an outcome was sent means that the
    transaction of the attempt met another one: nothing of it was stored, and it is run again.
    """
    fresh: tuple[str, T] | None = None
    runs = 0
    while True:
        record = journal.find(op.id)
        if record is None or record.status is OperationStatus.READY:
            journal.begin(op)
            yield Persist(op.start(), wait=_is_at_most_once(config))
            runs = 0
            continue
        match record.status:
            case OperationStatus.SUCCEEDED:
                if fresh is not None and fresh[0] == result_of(record):
                    return fresh[1]
                return unseal(serdes, result_of(record), op, journal)
            case OperationStatus.STARTED:
                outcome = yield from _attempt(journal, op, record, body, config, runs)
                runs += 1
                if isinstance(outcome, Err) and outcome.is_conflict and _may_rerun(config, runs):
                    continue
                number = attempts_of(record) + 1
                fresh = yield from _record(journal, op, number, outcome, config, serdes)
            case OperationStatus.PENDING:
                yield Park(op, due_at(record))
            case _:
                raise StepError.from_wire(str(op), error_of(record))


def _is_at_most_once(config: StepConfig[Any]) -> bool:
    return config.semantics is StepSemantics.AT_MOST_ONCE_PER_RETRY


def _may_rerun(config: StepConfig[Any], runs: int) -> bool:
    """Whether an attempt that ran so often without being stored may do so once more."""
    return runs < (1 if _is_at_most_once(config) else MAX_TRANSACTIONS)


def _attempt(
    journal: Journal,
    op: Op,
    record: Operation,
    body: Callable[[], Any],
    config: StepConfig[Any],
    runs: int,
) -> Program[Outcome[Any]]:
    if _is_at_most_once(config) and not journal.began_here(op):
        return Err(StepInterruptedError(_INTERRUPTED.format(op)))
    if runs and not _may_rerun(config, runs):
        return Err(TransactionConflictError(_CONFLICTS.format(op, runs)))
    place = Attempt(op, attempts_of(record) + 1, config.timeout_seconds)
    return (yield from call(body, place))


MAX_TRANSACTIONS = 10
"""So often the body of one attempt runs when others are in the way of its transaction."""

_CONFLICTS = "others were in the way of the transaction of {} (runs: {})"
_INTERRUPTED = "attempt of {} was cut off, and at-most-once forbids to run it again"


def _record(
    journal: Journal,
    op: Op,
    number: int,
    outcome: Outcome[Any],
    config: StepConfig[T],
    serdes: Serdes[T],
) -> Program[tuple[str, T] | None]:
    """Have the *outcome* of an attempt recorded, or that it failed with its transaction."""
    update, fresh = _verdict(journal, op, number, outcome, config, serdes)
    refusal = yield from record_outcome(update)
    if refusal is None:
        return fresh
    update, _ = _verdict(journal, op, number, refusal, config, serdes)
    yield Persist(update, wait=True)
    return None


def _verdict(
    journal: Journal,
    op: Op,
    number: int,
    outcome: Outcome[Any],
    config: StepConfig[T],
    serdes: Serdes[T],
) -> tuple[OperationUpdate, tuple[str, T] | None]:
    try:
        if isinstance(outcome, Ok):
            fresh = seal(serdes, outcome.value, op, journal)
            return op.succeed(within_limit(fresh[0], op)), fresh
        decision = ask_retry(config.retry_strategy, outcome.error, number)
        if not decision.should_retry:
            return _failed(op, outcome, config), None
        delay = max(1, duration_seconds(decision.delay, "delay"))
        return op.retry(delay, error_object(outcome.error)), None
    except UnrecoverableError:
        raise
    except Exception as failure:  # noqa: BLE001 - the user's strategy and serdes may raise anything
        if isinstance(outcome, Err):  # nobody may lose what the step failed with
            return op.fail(error_beside(outcome.error, failure)), None
        return op.fail(error_object(failure)), None


def _failed(op: Op, outcome: Err, config: StepConfig[Any]) -> OperationUpdate:
    """Record that the step failed for good; unless the attempt was cut off and may run again.

    Raises:
        UnrecoverableInvocationError: so it was, and the next invocation is to run it.
    """
    if outcome.is_cut_off and not _is_at_most_once(config):
        raise UnrecoverableInvocationError(TerminationReason.CUSTOM, str(outcome.error))
    return op.fail(error_object(outcome.error))
