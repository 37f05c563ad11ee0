"""The keys that tokens and callback ids are made with, as this process knows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from durably.clock import Clock
from durably.engine.rules import CALLBACK_NOT_FOUND, KEY_TOO_NEW
from durably.engine.shared_store import is_shared
from durably.engine.store import Store
from durably.engine.tokens import is_callback_id
from durably.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)

T = TypeVar("T")

LOOK_INTERVAL = timedelta(seconds=20)
"""How often a worker looks at the keys that it shares with others."""

_GOOD_SECONDS = 60.0


class KeyRing:
    """The keys of a store. Where other processes have it open, they may make new ones.

    Whoever is going to make or to judge something with them calls `renew` before. What is made with
    a key that others have dropped is good for nothing, for ever.

    Args:
        store: where they are kept.
        clock: by which they grow old.

    Attributes:
        current: newest first.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._looked_at = 0.0
        self.current: Sequence[bytes] = ()

    async def renew(self) -> None:
        """Have them at hand, as they were at most a minute ago.

        Raises:
            StoreError: they cannot be read.
        """
        age = self._clock.monotonic() - self._looked_at
        if not self.current or (is_shared(self._store) and age > _GOOD_SECONDS):
            await self.load()

    async def load(self) -> bool:
        """Take them from the store, and say whether they are others than before."""
        asked_at, before = self._clock.monotonic(), self.current
        self.current = await self._store.keys()
        self._looked_at = asked_at
        return before != self.current

    async def add(self, key: bytes) -> None:
        """Make *key* the newest.

        Raises:
            ResourceConflictException: not every process can know the newest one yet.
        """
        if not await self._store.add_key(key):
            raise ResourceConflictException(KEY_TOO_NEW)
        await self.load()

    async def are_others(self) -> bool:
        """Take over what another process may have made; say whether it has."""
        return is_shared(self._store) and await self.load()

    async def check_callback_id(self, callback_id: str) -> None:
        """Refuse an id that was made with none of the keys.

        Raises:
            ResourceNotFoundException: it is one.
        """
        await self.renew()
        is_ours = is_callback_id(self.current, callback_id)
        if not is_ours and await self.are_others():
            is_ours = is_callback_id(self.current, callback_id)
        if not is_ours:
            raise ResourceNotFoundException(CALLBACK_NOT_FOUND)

    async def trying(self, do: Callable[[Sequence[bytes]], Awaitable[T]]) -> T:
        """Give what *do* makes of the keys; where it is refused, of those that are new."""
        await self.renew()
        try:
            return await do(self.current)
        except InvalidParameterValueException:
            if not await self.are_others():
                raise
        return await do(self.current)
