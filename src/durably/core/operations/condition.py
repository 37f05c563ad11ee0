"""A condition: a check that is repeated, with its state kept, until a strategy is content."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from durably.config import WaitForConditionConfig
from durably.core.effects import Attempt, Ok, Park, Persist, Program, call
from durably.core.journal import Journal, attempts_of, due_at, error_of, result_of
from durably.core.op import Op
from durably.core.operations.values import seal, unseal, within_limit
from durably.core.strategies import ask_wait
from durably.errors import UnrecoverableError, WaitForConditionError, error_object
from durably.limits import duration_seconds
from durably.serdes import Serdes
from durably.wire.operation import Operation, OperationStatus
from durably.wire.update import OperationUpdate

T = TypeVar("T")


def wait_for_condition(
    journal: Journal,
    op: Op,
    check: Callable[[T], Any],
    config: WaitForConditionConfig[T],
    serdes: Serdes[T],
) -> Program[T]:
    """Check, keep the state that the check gave, and sleep until it is time to check again."""
    while True:
        record = journal.find(op.id)
        if record is None or record.status is OperationStatus.READY:
            journal.begin(op)
            yield Persist(op.start(), wait=False)
            continue
        match record.status:
            case OperationStatus.SUCCEEDED:
                return unseal(serdes, result_of(record), op, journal)
            case OperationStatus.STARTED:
                state = _state(journal, op, record, config, serdes)
                number = attempts_of(record) + 1
                outcome = yield from call(
                    partial(check, state), Attempt(op, number, may_be_cut_off=False)
                )
                if isinstance(outcome, Ok):
                    update = _verdict(journal, op, number, outcome.value, config, serdes)
                else:
                    update = op.fail(error_object(outcome.error))
                yield Persist(update, wait=True)
            case OperationStatus.PENDING:
                yield Park(op, due_at(record))
            case _:
                raise WaitForConditionError.from_wire(str(op), error_of(record))


def _state(
    journal: Journal,
    op: Op,
    record: Operation,
    config: WaitForConditionConfig[T],
    serdes: Serdes[T],
) -> T:
    text = result_of(record)
    return config.initial_state if text is None else unseal(serdes, text, op, journal)


def _verdict(
    journal: Journal,
    op: Op,
    number: int,
    value: T,
    config: WaitForConditionConfig[T],
    serdes: Serdes[T],
) -> OperationUpdate:
    try:
        text, state = seal(serdes, value, op, journal)
        within_limit(text, op)
        decision = ask_wait(config.wait_strategy, state, number)
        if not decision.should_continue:
            return op.succeed(text)
        return op.poll_again(max(1, duration_seconds(decision.delay, "delay")), text)
    except UnrecoverableError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's strategy and serdes may raise anything
        return op.fail(error_object(error))
