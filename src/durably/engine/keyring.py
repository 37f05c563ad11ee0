"""The keys that tokens and callback ids are made with, as this process knows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from durably.engine.rules import CALLBACK_NOT_FOUND
from durably.engine.shared_store import is_shared
from durably.engine.store import Store
from durably.engine.tokens import is_callback_id
from durably.errors import InvalidParameterValueException, ResourceNotFoundException

T = TypeVar("T")


class KeyRing:
    """The keys of a store. Where other processes have it open, they may make new ones.

    Args:
        store: where they are kept.

    Attributes:
        current: newest first.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.current: Sequence[bytes] = ()

    async def load(self) -> bool:
        """Take them from the store, and say whether they are others than before."""
        before, self.current = self.current, await self._store.keys()
        return before != self.current

    async def add(self, key: bytes) -> None:
        """Make *key* the newest."""
        await self._store.add_key(key)
        await self.load()

    async def are_others(self) -> bool:
        """Take over what another process may have made; say whether it has."""
        return is_shared(self._store) and await self.load()

    async def check_callback_id(self, callback_id: str) -> None:
        """Refuse an id that was made with none of the keys.

        Raises:
            ResourceNotFoundException: it is one.
        """
        is_ours = is_callback_id(self.current, callback_id)
        if not is_ours and await self.are_others():
            is_ours = is_callback_id(self.current, callback_id)
        if not is_ours:
            raise ResourceNotFoundException(CALLBACK_NOT_FOUND)

    async def trying(self, do: Callable[[Sequence[bytes]], Awaitable[T]]) -> T:
        """Give what *do* makes of the keys; where it is refused, of those that are new."""
        try:
            return await do(self.current)
        except InvalidParameterValueException:
            if not await self.are_others():
                raise
        return await do(self.current)
