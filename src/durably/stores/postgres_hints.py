"""What processes tell each other that they have done: a hint, for whoever would poll for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

import psycopg

from durably.clock import Clock
from durably.engine.roster import claim_name
from durably.engine.store import Change, KeepClaim
from durably.errors import StoreError
from durably.stores.postgres_database import PostgresDatabase, ask

log = logging.getLogger("durably.stores")

_TELL_SECONDS = 0.002  # what becomes due meanwhile needs no hint of its own
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
                    listen = self._database.text("listen")
                    await ask(connection, listen, {"space": self._space})
                    failures = 0
                    self._tell("")  # of what happened while nobody listened, nothing is known
                    while True:
                        async for hint in connection.notifies(timeout=_SILENCE_SECONDS):
                            self._tell(hint.payload)
                        await ask(connection, self._database.text("instant"))
            except (psycopg.Error, StoreError) as error:
                failures += 1
                if failures == _TOLD_AT:
                    log.warning("nobody tells of other processes for a while: %s", error)
            await asyncio.sleep(min(0.1 * 2 ** min(failures, 10), _MAX_PAUSE_SECONDS))


class Heralds:
    """Tells other processes of what is due now, unless this one sees to it.

    Args:
        database: which.
        namespace_id: of whose executions to tell.
        clock: by which they are due.
    """

    def __init__(self, database: PostgresDatabase, namespace_id: int, clock: Clock) -> None:
        self._database = database
        self._space = namespace_id
        self._clock = clock
        self._served: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def is_about_to(self) -> bool:
        """Whether the others are going to be told something."""
        return self._timer is not None

    def note_claimed(self, names: Sequence[str], *, has_room: bool) -> None:
        """Note whether this process has claimed all that there was under *names*.

        What it has room for is seen to here, and nobody else need be woken for it. A worker that is
        full may have room for nothing, until it claims again.
        """
        if has_room:
            self._served.update(names)
        else:
            self._served.clear()

    def tell_of(self, changes: Sequence[Change]) -> None:
        """Tell the others soon, if one of *changes* is something for them."""
        if self._timer is None and any(map(self._is_for_others, changes)):
            self._timer = asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell)

    async def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _is_for_others(self, change: Change) -> bool:
        at = None if isinstance(change.wake, KeepClaim) else change.wake.at
        if at is None or at > self._clock.now():
            return False
        return claim_name(change.summary.function_name, change.summary.version) not in self._served

    def _tell(self) -> None:
        self._timer = None
        work = self._database.write("hint", {"space": self._space})
        task = asyncio.get_running_loop().create_task(work, name="durably hint")
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("a hint was not sent: %s", task.exception())
