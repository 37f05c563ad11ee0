"""What the service needs of a store besides, where several processes work on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol, TypeGuard

from durably.clock import Clock
from durably.engine.roster import Presence, Roster
from durably.engine.store import Store

NEXT_KEY_AFTER = timedelta(minutes=5)
"""For how long a key is the newest at least.

By then every process makes ids with it, and what was made with the one before is written.
"""


class SharedStore(Store, Protocol):
    """A store that other processes write to, too.

    Attributes:
        clock: the one that all of them go by.
    """

    is_shared: bool
    clock: Clock

    async def versions(self, arns: Sequence[str]) -> Mapping[str, int]:
        """Say how many facts executions have; those that are gone are left out."""
        ...

    async def announce(self, presence: Presence) -> None:
        """Note that a worker is there, and what it is."""
        ...

    async def withdraw(self, worker: str) -> None:
        """Note that a worker is gone, and holds nothing any more."""
        ...

    async def offers(self) -> Sequence[str]:
        """Give the names that workers claim by, or have ever claimed by."""
        ...

    async def roster(self) -> Roster:
        """Say who works on the store, and what there is to do."""
        ...

    def on_hint(self, listener: Callable[[str], None]) -> None:
        """Call *listener* in the event loop when another process may have done something.

        It is given the arn of an execution that its owner should look at, or nothing when anything
        may be due. Hints may be lost, doubled and late.
        """
        ...


def is_shared(store: Store) -> TypeGuard[SharedStore]:
    """Whether other processes write to *store*, too."""
    return getattr(store, "is_shared", False)
