"""The database's clock, kept in this process: what is due is due by one clock for all workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from durably.clock import SystemClock
from durably.engine.waiters import wait_at_most
from durably.errors import StoreError
from durably.stores.instants import from_us, to_us

if TYPE_CHECKING:
    from durably.stores.postgres_database import PostgresDatabase

log = logging.getLogger("durably.stores")

_GOOD_SECONDS = 0.05
_MAX_SECONDS = 1.0  # a look that takes longer says too little
_STALE_SECONDS = 60.0
_SOON_SECONDS = 1.0
_FIRST_LOOKS = 5


class DatabaseClock(SystemClock):
    """Shows the time of the database, as far as it is known; this machine's until it is.

    Between two looks at the database it counts this machine's seconds.
    """

    __slots__ = ("_ahead", "_looked_at", "_uncertainty")

    def __init__(self) -> None:
        self._ahead = to_us(super().now()) / 1e6 - self.monotonic()
        self._looked_at = float("-inf")
        self._uncertainty = float("inf")

    def now(self) -> datetime:
        """Give the present instant."""
        return from_us(round((self.monotonic() + self._ahead) * 1e6))

    @property
    def is_stale(self) -> bool:
        """Whether it is time for another look."""
        return self.monotonic() - self._looked_at > _STALE_SECONDS

    def take(self, instant_us: int, asked_at: float) -> None:
        """Take what the database said when it was asked at *asked_at*, by `monotonic`.

        A look that took long says little. The one before is kept, unless it has grown old and this
        one did not take very long, or it took even longer.
        """
        now = self.monotonic()
        took = now - asked_at
        limit = _MAX_SECONDS if self.is_stale else max(self._uncertainty, _GOOD_SECONDS)
        if took > limit and took >= self._uncertainty:
            return
        self._uncertainty = took
        self._ahead = instant_us / 1e6 + took / 2 - now
        if took <= _MAX_SECONDS:
            self._looked_at = now


class ClockKeeper:
    """Looks at the clock of a database, and again whenever that was long ago.

    Args:
        database: which.
        clock: shows what was seen.
    """

    def __init__(self, database: PostgresDatabase, clock: DatabaseClock) -> None:
        self._database = database
        self._clock = clock
        self._work: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Look for the first time, until a look was short, and go on in a task.

        Raises:
            StoreError: the database does not say.
        """
        for _ in range(_FIRST_LOOKS):
            await self.look()
            if not self._clock.is_stale:
                break
        self._work = asyncio.get_running_loop().create_task(self._keep(), name="durably clock")

    async def close(self) -> None:
        """Look no more."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def look(self) -> None:
        """Look. Each try is timed by itself: an answer that was lost makes the next one no older.

        Raises:
            StoreError: the database does not say.
        """
        asked_at = 0.0

        def ask() -> Mapping[str, object]:
            nonlocal asked_at
            asked_at = self._clock.monotonic()
            return {}

        [(instant,)] = await self._database.read("instant", ask)
        self._clock.take(instant, asked_at)

    async def _keep(self) -> None:
        never = asyncio.Event()
        while True:
            seconds = _SOON_SECONDS if self._clock.is_stale else _STALE_SECONDS
            await wait_at_most(never, seconds, self._clock)
            try:
                await self.look()
            except StoreError as error:
                log.debug("the clock of the database could not be looked at: %s", error)
