"""What an operation may ask of the driver that runs it. The set is closed.

A program is a generator: it looks at its record, yields one of these, and looks again. Effects
with an answer go through the typed helpers at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

import msgspec

from durably.core.op import Op
from durably.wire.update import OperationUpdate

if TYPE_CHECKING:
    from durably.core.scope import Scope

T = TypeVar("T")


class Ok(msgspec.Struct, Generic[T], frozen=True):
    """User code returned *value*."""

    value: T


class Err(msgspec.Struct, frozen=True):
    """User code raised *error*, or was given up.

    Attributes:
        is_cut_off: it was given up because the time of its invocation was nearly over.
        is_conflict: the transaction that it wrote in met another one; nothing of it was stored.
    """

    error: Exception
    is_cut_off: bool = False
    is_conflict: bool = False


Outcome: TypeAlias = Ok[T] | Err


class Persist(msgspec.Struct, frozen=True):
    """Send *update*. With *wait*, go on only when the backend has accepted it.

    The answer is `None`, but for the outcome of an attempt whose transaction the database refused
    because of what the attempt has done in it: then it is an `Err`, and nothing was recorded.
    """

    update: OperationUpdate
    wait: bool


class Attempt(msgspec.Struct, frozen=True):
    """One try of a step's body or of a condition's check, counted from 1.

    Attributes:
        timeout_seconds: after how long it is given up.
        may_be_cut_off: it may also be given up shortly before its invocation ends.
    """

    op: Op
    number: int
    timeout_seconds: float | None = None
    may_be_cut_off: bool = True


class Call(msgspec.Struct, frozen=True):
    """Run user code: an attempt of a step, or the body of a context.

    The body of a context is called with the context that the driver makes for the scope; anything
    else without arguments. The answer is an `Outcome`.
    """

    body: Callable[..., Any]
    place: Attempt | Scope


class Park(msgspec.Struct, frozen=True):
    """Nothing to do before the record of *op* changes; it is expected to at *until*, if known."""

    op: Op
    until: datetime | None = None


class Spawn(msgspec.Struct, frozen=True):
    """Run a program of *op* beside this one, under the number *index*.

    *make* is called again whenever a driver drives the branch anew, by replay.
    """

    index: int
    scope: Scope
    op: Op
    make: Callable[[], Program[Any]]


class Next(msgspec.Struct, frozen=True):
    """Wait until one of the spawned programs has ended. The answer is `(index, Outcome)`."""


class Drop(msgspec.Struct, frozen=True):
    """Give up the spawned programs that have not ended; nothing of them is recorded any more."""


Effect: TypeAlias = Persist | Call | Park | Spawn | Next | Drop
Program: TypeAlias = Generator[Effect, Any, T]


def call(body: Callable[..., T], place: Attempt | Scope) -> Program[Outcome[T]]:
    """Ask for *body* to be run, and say what type its value has."""
    return cast("Outcome[T]", (yield Call(body, place)))


def record_outcome(update: OperationUpdate) -> Program[Err | None]:
    """Have the outcome of an attempt recorded; give why it failed after all, if it did."""
    return cast("Err | None", (yield Persist(update, wait=True)))


def next_ended() -> Program[tuple[int, Outcome[Any]]]:
    """Wait for the next spawned program to end."""
    return cast("tuple[int, Outcome[Any]]", (yield Next()))
