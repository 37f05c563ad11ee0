"""What an operation hands back in an `async def` handler, and how an invocation ends."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from durably.errors import TerminationReason, UnrecoverableError, UnrecoverableExecutionError

T_co = TypeVar("T_co", covariant=True)


class DurableFuture(Protocol[T_co]):
    """The result of an operation that has been started. Await it as often as you like.

    The operation has its id and is under way from the call on, awaited or not, and it never runs
    twice. Futures that are open when the handler returns are cancelled, with a warning.
    """

    @property
    def operation_id(self) -> str:
        """The id under which the operation is recorded."""
        ...

    @property
    def name(self) -> str | None:
        """The operation's name."""
        ...

    def done(self) -> bool:
        """Whether awaiting it would return at once."""
        ...

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Wait for the result; raise what the operation failed with."""
        ...


class Returned(msgspec.Struct, frozen=True):
    """The handler returned *value*."""

    value: Any


class Raised(msgspec.Struct, frozen=True):
    """The handler raised *error*."""

    error: Exception


class Suspended(msgspec.Struct, frozen=True):
    """Nothing can go on before something changes outside."""

    reason: TerminationReason


class Broken(msgspec.Struct, frozen=True):
    """The invocation cannot go on, whatever the handler does."""

    error: UnrecoverableError


Ending: TypeAlias = Returned | Raised | Suspended | Broken


def is_final(ending: Ending) -> bool:
    """Whether the execution ends with it, once all that was sent is accepted (protocol 1.6)."""
    if isinstance(ending, Broken):
        return isinstance(ending.error, UnrecoverableExecutionError)
    return not isinstance(ending, Suspended)
