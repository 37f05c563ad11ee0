"""A child context: a group of operations with one result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from durably.checks import check_kind
from durably.config import ChildConfig
from durably.core.effects import Err, Ok, Outcome, Persist, Program, call
from durably.core.journal import error_of, result_of
from durably.core.op import Op
from durably.core.operations.values import SUMMARY_MAKER, seal, unseal, within_limit
from durably.core.scope import Scope
from durably.errors import (
    ChildContextError,
    NonDeterministicExecutionError,
    UnrecoverableError,
    error_object,
)
from durably.serdes import Serdes, storable
from durably.wire.operation import ErrorObject, Operation, OperationStatus
from durably.wire.update import OperationUpdate

T = TypeVar("T")

MAX_CONTEXT_RESULT_BYTES = 256 * 1024
"""A larger result is not recorded: a replay runs the body again, over its recorded children."""


def child(
    scope: Scope, op: Op, body: Callable[..., Any], config: ChildConfig[T], serdes: Serdes[T]
) -> Program[T]:
    """Run *body* in a context of its own until its result is recorded."""
    if config.is_virtual:
        return (yield from _virtual(scope, op, body, config))
    journal = scope.journal
    fresh: tuple[str, T] | None = None
    while True:
        record = journal.find(op.id)
        if record is None:
            journal.begin(op)
            yield Persist(op.start(), wait=False)
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
                yield Persist(update, wait=True)
            case _:
                raise _failure(op, error_of(record), config)


def _failure(op: Op, recorded: ErrorObject | None, config: ChildConfig[Any]) -> Exception:
    error = ChildContextError.from_wire(str(op), recorded)
    if config.error_mapper is None:
        return error
    mapped = config.error_mapper(error)
    check_kind(mapped, "error_mapper", Exception, "a function that returns an exception")
    return mapped


def has_children_to_replay(record: Operation) -> bool:
    """Whether the result was too large to record, so that the children stand for it."""
    details = record.context_details
    return details is not None and details.replay_children


def _virtual(scope: Scope, op: Op, body: Callable[..., T], config: ChildConfig[T]) -> Program[T]:
    if op.id in scope.journal:
        said = f"context {op} has a record, and the code now asks for one without: is_virtual"
        raise NonDeterministicExecutionError(said, operation_id=op.id)
    inner = scope.child(op, is_virtual=True)
    outcome = yield from call(body, inner)
    inner.is_closed = True
    if isinstance(outcome, Ok):
        return outcome.value
    raise _failure(op, error_object(outcome.error), config)


def _again(scope: Scope, op: Op, body: Callable[..., T], serdes: Serdes[T]) -> Program[T]:
    outcome = yield from call(body, scope.child(op, is_settled=True))
    if isinstance(outcome, Ok):
        return seal(serdes, outcome.value, op, scope.journal)[1]
    raise outcome.error


def _verdict(
    scope: Scope, op: Op, outcome: Outcome[T], config: ChildConfig[T], serdes: Serdes[T]
) -> tuple[OperationUpdate, tuple[str, T] | None]:
    if isinstance(outcome, Err):
        return op.fail(error_object(outcome.error)), None
    try:
        fresh = seal(serdes, outcome.value, op, scope.journal)
        if len(fresh[0].encode()) <= MAX_CONTEXT_RESULT_BYTES:
            return op.succeed(fresh[0]), fresh
        summarise = config.summary_generator or _no_summary
        summary = within_limit(storable(summarise(outcome.value), SUMMARY_MAKER), op)
        return op.succeed_with_children(summary), fresh
    except UnrecoverableError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's serdes and summary may raise anything
        return op.fail(error_object(error)), None


def _no_summary(_value: object) -> str:
    return ""
