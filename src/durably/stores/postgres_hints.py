"""What other processes say that they have done: a hint, for whoever would find it by polling."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg import AsyncConnection

from durably.errors import StoreError
from durably.stores.postgres_database import PostgresDatabase, Row, answered_in_time

log = logging.getLogger("durably.stores")

_MAX_PAUSE_SECONDS = 5.0
_TOLD_AT = 2  # failures in a row: one is soon made good
_SILENCE_SECONDS = 30.0  # after which to see whether there is still somebody to tell anything


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
                    await self._ask(connection, "listen", {"space": self._space})
                    failures = 0
                    self._tell("")  # of what happened while nobody listened, nothing is known
                    while True:
                        async for hint in connection.notifies(timeout=_SILENCE_SECONDS):
                            self._tell(hint.payload)
                        await self._ask(connection, "instant", {})
            except (psycopg.Error, StoreError) as error:
                failures += 1
                if failures == _TOLD_AT:
                    log.warning("nobody tells of other processes for a while: %s", error)
            await asyncio.sleep(min(0.1 * 2 ** min(failures, 10), _MAX_PAUSE_SECONDS))

    async def _ask(
        self, connection: AsyncConnection[Row], name: str, parameters: dict[str, object]
    ) -> None:
        with answered_in_time(connection):
            await connection.execute(self._database.text(name), parameters)
