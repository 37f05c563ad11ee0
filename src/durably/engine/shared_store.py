"""What the service needs of a store besides, where several processes work on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol, Self, TypeGuard

import msgspec

from durably.clock import Clock
from durably.engine.roster import Presence, Roster
from durably.engine.store import Store, Stored

NEXT_KEY_AFTER = timedelta(minutes=5)
"""For how long a key is the newest at least.

By then every process makes ids with it, and what was made with the one before is written.
"""


class Outline(msgspec.Struct, frozen=True, gc=False):
    """What there is to say of an execution without reading its facts.

    Attributes:
        version: how many facts it has.
        claim_epoch: that of its claim, if it is claimed.
        is_at_rest: it is closed or parked: nothing happens to it by itself.
    """

    version: int
    claim_epoch: int | None
    is_at_rest: bool

    @classmethod
    def of(cls, stored: Stored) -> Self:
        """Give that of an execution whose facts are at hand. Damaged is as good as parked."""
        summary = stored.summary
        reasons = (summary.ended_at, summary.parked_reason, stored.damage)
        is_at_rest = any(reason is not None for reason in reasons)
        return cls(stored.version, stored.claim_epoch, is_at_rest)


class SharedStore(Store, Protocol):
    """A store that other processes write to, too.

    Attributes:
        clock: the one that all of them go by.
    """

    is_shared: bool
    clock: Clock

    async def outlines(self, arns: Sequence[str]) -> Mapping[str, Outline]:
        """Say how far executions have come; those that are gone are left out."""
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


async def outline_of(store: Store, arn: str) -> Outline | None:
    """Say how far an execution has come, as cheaply as its store can; `None` if it is gone."""
    if is_shared(store):
        return (await store.outlines((arn,))).get(arn)
    stored = await store.find(arn)
    return None if stored is None else Outline.of(stored)
