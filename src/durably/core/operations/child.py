"""A child context: a group of operations with one result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from durably.config import ChildConfig
from durably.core.effects import Err, Ok, Outcome, Persist, Program, call
from durably.core.journal import error_of, result_of
from durably.core.op import Op
from durably.core.operations.values import seal, unseal
from durably.core.scope import Scope
from durably.errors import ChildContextError, SerdesError, error_object
from durably.serdes import Serdes
from durably.wire.operation import Operation, OperationStatus
from durably.wire.update import OperationUpdate

T = TypeVar("T")

MAX_CONTEXT_RESULT_BYTES = 256 * 1024
"""A larger result is not recorded: a replay runs the body again, over its recorded children."""


def child(
    scope: Scope, op: Op, body: Callable[..., Any], config: ChildConfig[T], serdes: Serdes[T]
) -> Program[T]:
    """Run *body* in a context of its own until its result is recorded."""
    if config.is_virtual:
        return (yield from _virtual(scope, op, body))
    journal = scope.journal
    fresh: tuple[str, T] | None = None
    while True:
        record = journal.find(op.id)
        if record is None:
            journal.begin(op)
            yield Persist(op.start(), False)
            continue
        match record.status:
            case OperationStatus.SUCCEEDED:
                if fresh is not None:
                    return fresh[1]
                if has_children_to_replay(record):
                    return (yield from _again(scope, op, body, serdes))
                return unseal(serdes, result_of(record), op, journal)
            case OperationStatus.STARTED:
                inner = scope.child(op)
                outcome = yield from call(body, inner)
                inner.is_closed = True
                update, fresh = _verdict(scope, op, outcome, config, serdes)
                yield Persist(update, True)
            case _:
                raise failure(op, record, config)


def failure(op: Op, record: Operation, config: ChildConfig[Any]) -> Exception:
    """Give the error that a failed context raises: ours, or what the mapper makes of it."""
    error = ChildContextError.from_wire(str(op), error_of(record))
    return error if config.error_mapper is None else config.error_mapper(error)


def has_children_to_replay(record: Operation) -> bool:
    """Whether the result was too large to record, so that the children stand for it."""
    details = record.context_details
    return details is not None and details.replay_children


def _virtual(scope: Scope, op: Op, body: Callable[..., T]) -> Program[T]:
    inner = scope.child(op, is_virtual=True)
    outcome = yield from call(body, inner)
    inner.is_closed = True
    match outcome:
        case Ok(value):
            return value
        case Err(error):
            raise ChildContextError.from_wire(str(op), error_object(error))


def _again(scope: Scope, op: Op, body: Callable[..., T], serdes: Serdes[T]) -> Program[T]:
    outcome = yield from call(body, scope.child(op, is_settled=True))
    match outcome:
        case Ok(value):
            return seal(serdes, value, op, scope.journal)[1]
        case Err(error):
            raise error


def _verdict(
    scope: Scope, op: Op, outcome: Outcome[T], config: ChildConfig[T], serdes: Serdes[T]
) -> tuple[OperationUpdate, tuple[str, T] | None]:
    match outcome:
        case Err(error):
            return op.fail(error_object(error)), None
        case Ok(value):
            try:
                fresh = seal(serdes, value, op, scope.journal)
            except SerdesError as error:
                return op.fail(error_object(error)), None
            if len(fresh[0].encode()) <= MAX_CONTEXT_RESULT_BYTES:
                return op.succeed(fresh[0]), fresh
            summary = config.summary_generator
            return op.succeed_with_children("" if summary is None else summary(value)), fresh
