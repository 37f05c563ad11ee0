"""What a store gives steps to write in: a transaction that their outcome is committed with."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from durably.engine.store import Change, Store

C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)


class Transaction(Protocol[C_co]):
    """A transaction in which user code writes what is to be durable together with a change.

    Attributes:
        connection: what the user's code writes with.
    """

    @property
    def connection(self) -> C_co:
        """See above."""
        ...

    def complaint(self, *, is_over: bool) -> str | None:
        """Say what the code has done with the connection that it may not; it *is over* or not.

        Some of that is known only after `append`, which then comes too late.
        """
        ...

    def is_conflict(self, error: Exception) -> bool:
        """Whether the code has failed because another transaction was in the way."""
        ...

    async def append(self, changes: Sequence[Change]) -> None:
        """Add *changes* as `Store.append` does, and what was written here; all or none.

        Raises:
            VersionConflict: somebody was first, another transaction was in the way, or nobody knows
                whether it was written. Load the execution again.
            TransactionError: code still uses it.
            StoreError: it could not be written.
        """
        ...

    async def abort(self) -> None:
        """Undo what was written here, unless it was appended to."""
        ...


class TransactionalStore(Store, Protocol):
    """A store that user code can write to beside it."""

    async def begin(self, arn: str, kind: type[C], *, blocking: bool) -> Transaction[C]:
        """Begin a transaction for a step of an execution, with a connection of *kind*.

        What this process has handed in before of the execution is durable then. With
        *blocking* the connection is for use in a thread.

        Raises:
            ValidationError: it has no such kind of connection.
            StoreError: there is none to be had.
        """
        ...


def begin_of(store: Store) -> Callable[..., Coroutine[Any, Any, Transaction[Any]]] | None:
    """Give how a transaction begins in *store*, if it is a `TransactionalStore`."""
    return getattr(store, "begin", None)
