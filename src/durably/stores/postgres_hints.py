"""What other processes say that they have done: a hint, for whoever would find it by polling."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg import AsyncConnection, sql

log = logging.getLogger("durably.stores")

_MAX_PAUSE_SECONDS = 5.0


class Hints:
    """Listens on a connection of its own, and makes a new one when that breaks.

    Args:
        dsn: the database.
        channel: what to listen to.
        tell: called with the arn of an execution that its owner should look at, and with nothing
            when anything may have happened.
    """

    def __init__(self, dsn: str, channel: str, tell: Callable[[str], None]) -> None:
        self._dsn = dsn
        self._channel = channel
        self._tell = tell
        self._work = asyncio.get_running_loop().create_task(self._listen(), name="durably hints")

    async def close(self) -> None:
        """Listen no more."""
        self._work.cancel()
        with suppress(asyncio.CancelledError):
            await self._work

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async with await AsyncConnection.connect(self._dsn, autocommit=True) as connection:
                    await connection.execute(
                        sql.SQL("LISTEN {}").format(sql.Identifier(self._channel))
                    )
                    failures = 0
                    self._tell("")  # of what happened while nobody listened, nothing is known
                    async for hint in connection.notifies():
                        self._tell(hint.payload)
            except psycopg.Error as error:
                failures += 1
                log.warning("nobody tells of other processes for a while: %s", error)
            await asyncio.sleep(min(0.1 * 2**failures, _MAX_PAUSE_SECONDS))
