"""A callback: an answer from outside, under an id that the backend makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from durably.config import CallbackConfig, StepConfig, WaitForCallbackConfig
from durably.core.effects import Park, Persist, Program
from durably.core.journal import Journal, due_at, error_of, result_of
from durably.core.op import Op
from durably.core.operations.step import step
from durably.core.operations.values import unseal
from durably.core.scope import Scope
from durably.errors import (
    CallbackError,
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    DurableOperationError,
    StepError,
    error_object,
    exception_of,
)
from durably.serdes import Serdes, SerdesContext
from durably.wire.operation import ErrorObject, OperationStatus, OperationSubType, OperationType
from durably.wire.update import CallbackOptions, OperationAction

T = TypeVar("T")


def create_callback(journal: Journal, op: Op, config: CallbackConfig[Any]) -> Program[str]:
    """Have the callback made, and give its id. How it ended shows only in `callback_result`."""
    while True:
        record = journal.find(op.id)
        details = None if record is None else record.callback_details
        if details is not None and details.callback_id is not None:
            return details.callback_id
        if journal.began_here(op):
            raise CallbackError(f"the backend gave no callback id for {op}", operation=str(op))
        journal.begin(op)
        yield Persist(op.start(callback_options=_options(config)), wait=True)


def _options(config: CallbackConfig[Any]) -> CallbackOptions:
    return CallbackOptions(
        timeout_seconds=config.timeout_seconds,
        heartbeat_timeout_seconds=config.heartbeat_timeout_seconds,
    )


CALLBACK_SUFFIX = " create callback id"
"""What is added to the name of a `wait_for_callback` for what it does."""


def answer(journal: Journal, op: Op) -> Program[str | None]:
    """Sleep until somebody has answered, or the time for it has run out; give the answer's text."""
    while True:
        record = journal.find(op.id)
        assert record is not None, "its id came out of its record"
        match record.status:
            case OperationStatus.SUCCEEDED:
                return result_of(record)
            case OperationStatus.STARTED:
                yield Park(op, due_at(record))
            case OperationStatus.TIMED_OUT:
                raise CallbackTimeoutError.from_wire(str(op), error_of(record))
            case _:
                raise CallbackExternalError.from_wire(str(op), error_of(record))


def callback_result(journal: Journal, op: Op, serdes: Serdes[T]) -> Program[T]:
    """Give the answer as a value."""
    return unseal(serdes, (yield from answer(journal, op)), op, journal)


def wait_for_callback(
    scope: Scope,
    op: Op,
    submitter: Callable[[str], Callable[[], Any]],
    config: WaitForCallbackConfig[T],
    serdes: Serdes[T],
) -> Program[T]:
    """Make a callback, tell the outside of it in a step, and sleep until it is answered.

    All three are recorded in a context of their own, whose result is the text of the answer.
    """
    journal = scope.journal
    while True:
        record = journal.find(op.id)
        if record is None:
            journal.begin(op)
            yield Persist(op.start(), wait=False)
            continue
        match record.status:
            case OperationStatus.SUCCEEDED:
                return unseal(serdes, result_of(record), op, journal)
            case OperationStatus.STARTED:
                inner = scope.child(op)
                try:
                    text = yield from _ask(inner, submitter, config)
                    update = op.update(OperationAction.SUCCEED, payload=text)
                except DurableOperationError as error:
                    update = op.fail(error_object(_seen_from_outside(error)))
                inner.is_closed = True
                yield Persist(update, wait=True)
            case _:
                raise exception_of(error_of(record) or ErrorObject(), operation=str(op))


def _ask(
    inner: Scope, submitter: Callable[[str], Callable[[], Any]], config: WaitForCallbackConfig[Any]
) -> Program[str | None]:
    assert inner.op is not None, "it is a child"
    name = inner.op.name
    called = inner.allot(
        None if name is None else name + CALLBACK_SUFFIX,
        OperationType.CALLBACK,
        OperationSubType.CALLBACK,
    )
    callback_id = yield from create_callback(inner.journal, called, config.callback)
    told = inner.allot(
        None if name is None else f"{name} submitter", OperationType.STEP, OperationSubType.STEP
    )
    how = StepConfig(retry_strategy=config.retry_strategy)
    yield from step(inner.journal, told, submitter(callback_id), how, _NOTHING)
    return (yield from answer(inner.journal, called))


def _seen_from_outside(error: DurableOperationError) -> DurableOperationError:
    """Callback errors pass unchanged; a failed submitter is an error of its own."""
    if isinstance(error, StepError):
        return CallbackSubmitterError.from_wire(error.operation, error.to_error_object())
    return error


class _Nothing:
    """What a submitter returns is not kept."""

    def serialize(self, _value: object, _context: SerdesContext, /) -> str:
        return "null"

    def deserialize(self, _text: str, _context: SerdesContext, /) -> None:
        return None


_NOTHING: Serdes[Any] = _Nothing()
