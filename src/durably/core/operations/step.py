"""A step: user code that runs until its outcome is recorded, and never after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from durably.config import StepConfig, StepSemantics, duration_seconds
from durably.core.effects import Attempt, Err, Ok, Outcome, Park, Persist, Program, call
from durably.core.journal import Journal, attempts_of, error_of, result_of
from durably.core.op import Op
from durably.core.operations.values import seal, unseal
from durably.errors import SerdesError, StepError, StepInterruptedError, error_object
from durably.serdes import Serdes
from durably.wire.operation import OperationStatus
from durably.wire.update import OperationUpdate

T = TypeVar("T")


def step(
    journal: Journal, op: Op, body: Callable[[], Any], config: StepConfig[T], serdes: Serdes[T]
) -> Program[T]:
    """Look at the record, do the one thing it calls for, look again.

    The value returned is always the recorded one, never straight from *body*, so a first run and a
    replay cannot differ.
    """
    at_most_once = config.semantics is StepSemantics.AT_MOST_ONCE_PER_RETRY
    fresh: tuple[str, T] | None = None
    while True:
        record = journal.find(op.id)
        if record is None or record.status is OperationStatus.READY:
            journal.begin(op)
            yield Persist(op.start(), at_most_once)
            continue
        match record.status:
            case OperationStatus.SUCCEEDED:
                text = result_of(record)
                if fresh is not None and fresh[0] == text:
                    return fresh[1]
                return unseal(serdes, text, op, journal)
            case OperationStatus.STARTED:
                number = attempts_of(record) + 1
                if at_most_once and not journal.began_here(op):
                    outcome: Outcome[Any] = Err(StepInterruptedError(_INTERRUPTED.format(op)))
                else:
                    place = Attempt(op, number, config.timeout_seconds)
                    outcome = yield from call(body, place)
                update, fresh = _verdict(journal, op, number, outcome, config, serdes)
                yield Persist(update, True)
            case OperationStatus.PENDING:
                yield Park(op, record.step_details and record.step_details.next_attempt_timestamp)
            case _:
                raise StepError.from_wire(str(op), error_of(record))


_INTERRUPTED = "attempt of {} was cut off, and at-most-once forbids to run it again"


def _verdict(
    journal: Journal,
    op: Op,
    number: int,
    outcome: Outcome[Any],
    config: StepConfig[T],
    serdes: Serdes[T],
) -> tuple[OperationUpdate, tuple[str, T] | None]:
    match outcome:
        case Ok(value):
            try:
                fresh = seal(serdes, value, op, journal)
            except SerdesError as error:
                return op.fail(error_object(error)), None
            return op.succeed(fresh[0]), fresh
        case Err(error):
            try:
                decision = config.retry_strategy(error, number)
            except Exception as failure:
                return op.fail(error_object(failure)), None
            if not decision.should_retry:
                return op.fail(error_object(error)), None
            delay = max(1, duration_seconds(decision.delay, "delay"))
            return op.retry(delay, error_object(error)), None
