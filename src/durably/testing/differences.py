"""What a replay has shown: what was recorded beside what the code asks for now, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from durably.app.operations import kind_of, path_of
from durably.core.op import Op
from durably.drivers.futures import Broken, Raised, Returned
from durably.errors import NonDeterministicExecutionError, UnrecoverableError, said_of
from durably.testing.places import Place, place_of_error, place_of_function
from durably.testing.recorded import Asked
from durably.testing.replay import Replay
from durably.wire.operation import Operation, OperationStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which today's code and a history are not the same.

    Attributes:
        operation: the operation, after the contexts that it is in; the function for its end.
        operation_id: the id of its record, `None` for the end of the execution.
        recorded: what the history says.
        now: what the code asks for, or does.
        place: the line of the user's code that does, as far as it is known.
        facts: after how many facts of the history.
    """

    operation: str
    operation_id: str | None
    recorded: str
    now: str
    place: Place | None
    facts: int = 0

    def __str__(self) -> str:
        lines = [self.operation, f"  recorded  {self.recorded}", f"  now       {self.now}"]
        lines += [] if self.place is None else [f"  {self.place}"]
        return "\n".join(lines)


def differences_of(replay: Replay) -> Iterator[Difference]:
    """Give what differs between the records and what the code has asked for."""
    match replay.ending:
        case Broken(NonDeterministicExecutionError(operation_id=str(operation_id)) as error):
            asked = replay.trace.asked[operation_id]
            record = replay.journal.records[operation_id]
            yield _another_operation(replay, asked, record, str(error))
        case Broken(error):
            yield _broken(replay, error)
        case _:
            yield from _not_asked_for(replay)


def _another_operation(replay: Replay, asked: Asked, record: Operation, said: str) -> Difference:
    recorded, now = _named(record), name_of(asked.op)
    if recorded == now:
        recorded, now = _in_full(record), _in_full(_as_operation(asked.op))
    if recorded == now:  # only its place is another, or it must have no record at all
        now = said
    return Difference(
        operation=_path(replay, record),
        operation_id=record.id,
        recorded=recorded,
        now=now,
        place=asked.place,
    )


def _broken(replay: Replay, error: UnrecoverableError) -> Difference:
    """Tell of a record that cannot be read, or of code that ends its invocation."""
    op = replay.trace.broken
    record = None if op is None else replay.journal.find(op.id)
    if op is None or record is None:
        place = place_of_error(error) or place_of_function(replay.function.handler)
        return about_the_end(replay, "an execution under way", said_of(error), place)
    asked = replay.trace.asked[op.id]
    return Difference(
        operation=_path(replay, record),
        operation_id=op.id,
        recorded=f"{_named(record)}, {record.status}",
        now=str(error),
        place=asked.place,
    )


def _not_asked_for(replay: Replay) -> Iterator[Difference]:
    """Tell of operations that are recorded in contexts which have ended without them."""
    trace, complete = replay.trace, set(replay.trace.complete)
    if isinstance(replay.ending, Returned | Raised):
        complete.add("")
    for context in sorted(complete):
        record = replay.journal.find(trace.id_of_next(context))
        if record is not None:
            now, place = _ends(replay, context)
            yield Difference(
                operation=_path(replay, record),
                operation_id=record.id,
                recorded=f"{_named(record)}, {record.status}",
                now=now,
                place=place,
            )


def _ends(replay: Replay, context: str) -> tuple[str, Place | None]:
    """Say how a context ends without what is recorded in it, and where."""
    if context:
        return "its context ends without it", replay.trace.place_of(context)
    handler = replay.function.handler
    if isinstance(replay.ending, Raised):
        error = replay.ending.error
        return f"the function raises {said_of(error)}", place_of_error(error)
    return "the function returns without it", place_of_function(handler)


def about_the_end(replay: Replay, recorded: str, now: str, place: Place | None) -> Difference:
    """Tell of an execution that ends in another way."""
    return Difference(
        operation=replay.function.name,
        operation_id=None,
        recorded=recorded,
        now=now,
        place=place,
    )


def name_of(op: Op) -> str:
    """Say which operation of the library *op* is, and what the user calls it."""
    return _named(_as_operation(op))


def _path(replay: Replay, record: Operation) -> str:
    return path_of(record, replay.journal.records)


def _named(operation: Operation) -> str:
    kind = kind_of(operation)
    return f"{kind} without a name" if operation.name is None else f"{kind} {operation.name!r}"


def _in_full(operation: Operation) -> str:
    parent = "the function" if operation.parent_id is None else f"context {operation.parent_id}"
    return f"{_named(operation)} ({operation.type}, {operation.sub_type}) in {parent}"


def _as_operation(op: Op) -> Operation:
    return Operation(
        id=op.id,
        type=op.type,
        status=OperationStatus.STARTED,
        parent_id=op.parent_id,
        name=op.name,
        sub_type=op.sub_type,
    )
