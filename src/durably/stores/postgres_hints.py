"""What other processes say that they have done: a hint, for whoever would find it by polling."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import psycopg

from durably.errors import StoreError
from durably.stores.postgres_database import PostgresDatabase

log = logging.getLogger("durably.stores")

_MAX_PAUSE_SECONDS = 5.0


class Hints:
    """Listens on a connection of its own, and makes a new one when that breaks.

    Args:
        database: which.
        namespace_id: of whose executions to hear.
        tell: called with the arn of an execution that its owner should look at, and with nothing
            when anything may have happened.
    """

    def __init__(
        self, database: PostgresDatabase, namespace_id: int, tell: Callable[[str], None]
    ) -> None:
        self._database = database
        self._space = namespace_id
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
                async with await self._database.connect() as connection:
                    text = self._database.text("listen")
                    await connection.execute(text, {"space": self._space})
                    failures = 0
                    self._tell("")  # of what happened while nobody listened, nothing is known
                    async for hint in connection.notifies():
                        self._tell(hint.payload)
            except (psycopg.Error, StoreError) as error:
                failures += 1
                log.warning("nobody tells of other processes for a while: %s", error)
            await asyncio.sleep(min(0.1 * 2**failures, _MAX_PAUSE_SECONDS))
