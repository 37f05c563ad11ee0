"""The store on SQLite in a simulated world: its file on a RAM disk, its thread in the loop.

Everything else is real. What fails in SQLite itself fails here, too: a statement, before it is run
or after, and the opening of the file.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from durably.engine.store import Change
from durably.seams import IdSource
from durably.stores import sqlite_lock
from durably.stores.sqlite import SqliteStore
from durably.stores.sqlite_ledger import Ledger
from durably.stores.sqlite_thread import Look
from tests.simulator.disk import View
from tests.simulator.durable import noting
from tests.simulator.loop import Place
from tests.simulator.stage import BackendClock, Stage

T = TypeVar("T")

_noting: ContextVar[Callable[[], None] | None] = ContextVar("noting", default=None)
_RAM_DISK = Path("/dev/shm")  # noqa: S108 - nothing of it outlives the run
_TICK_SECONDS = 0.0015
_connect = sqlite3.connect


class InLoop:
    """Stands for the thread: what it would do beside the loop is done between other callbacks."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[Callable[[], None]] = deque()
        self._is_watching = self._is_stopped = False

    def do(self, job: Callable[[], None], /) -> None:
        self._jobs.append(job)
        self._loop.call_soon(self._do_next)

    def _do_next(self) -> None:
        if self._jobs:
            self._jobs.popleft()()

    def watch(self) -> None:
        if not self._is_watching:
            self._is_watching = True
            self._loop.call_later(_TICK_SECONDS, self._watch)

    def _watch(self) -> None:
        if self._is_stopped:
            return
        wait_seconds = self._look()
        if wait_seconds is None:
            self._is_watching = False
        else:
            self._loop.call_later(wait_seconds, self._watch)

    def stop(self) -> None:
        self._is_stopped = True
        while self._jobs:
            self._do_next()


class _Connection(sqlite3.Connection):
    """Knows what to tell when its transaction is committed, and forgets it when that is undone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gathered: list[Callable[[], None]] = []

    def tell(self) -> None:
        gathered, self.gathered = self.gathered, []
        for note in gathered:
            note()

    def rollback(self) -> None:
        self.gathered.clear()
        super().rollback()

    def close(self) -> None:
        self.gathered.clear()
        super().close()


class SqliteDisk:
    """The file, and the faults of what opens it."""

    def __init__(self, stage: Stage, ids: IdSource) -> None:
        self._stage = stage
        self._ids = ids
        parent = str(_RAM_DISK) if _RAM_DISK.is_dir() else None
        self._folder = Path(tempfile.mkdtemp(prefix="durably-simulated-", dir=parent))
        self.path = self._folder / "durably.db"
        self._open: list[sqlite3.Connection] = []
        sqlite3.connect = self._connect  # type: ignore[assignment]  # until `close`

    def _connect(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        self._fail("connect")
        disk = self

        class Connection(_Connection):
            def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
                if statement.startswith(("SELECT", "PRAGMA")):  # they change nothing
                    return super().execute(statement, *parameters)
                cursor = self.cursor()
                try:
                    disk._fail(statement)
                    cursor.execute(statement, *parameters)
                    if not self.in_transaction:
                        self.tell()
                    disk._fail(statement, is_after=True)
                except sqlite3.Error:
                    cursor.close()  # the traceback keeps it, and it would keep its lock
                    if not self.in_transaction:
                        self.gathered.clear()
                    raise
                return cursor

        connection: sqlite3.Connection = _connect(*args, factory=Connection, **kwargs)
        self._open.append(connection)
        return connection

    def _fail(self, statement: str, *, is_after: bool = False) -> None:
        if statement in {"BEGIN", "ROLLBACK"}:
            return  # they touch no disk: a reader's transaction begins with what it reads
        kinds = {
            "disk fails": ("SQLITE_IOERR_FSYNC", sqlite3.SQLITE_IOERR_FSYNC),
            "disk is full": ("SQLITE_FULL", sqlite3.SQLITE_FULL),
        }
        if statement == "connect":
            kinds = {"read fails": ("SQLITE_BUSY", sqlite3.SQLITE_BUSY)}
        for kind, (name, code) in kinds.items():
            # A disk that is full says so before it has written.
            if not (is_after and kind == "disk is full") and self._stage.faults.hits(kind):
                error = sqlite3.OperationalError(f"{kind}: by chance")
                error.sqlite_errorname, error.sqlite_errorcode = name, code
                raise error

    def new_store(self) -> SqliteStore:
        """Make the store of one process."""
        return SqliteStore(self.path, ids=self._ids, clock=BackendClock(self._stage), beside=InLoop)

    def bury(self, store: SqliteStore) -> None:
        """Take from a dead process what the kernel would: its connections, and its lock."""
        store._writer = store._queries = None
        for connection in self._open:
            with suppress(sqlite3.Error):
                connection.close()
        self._open.clear()
        opened = store._opened.pop_all()  # the lock lives as long as this
        self._release()
        del opened

    def _release(self) -> None:
        for lock in list(sqlite_lock._held):
            if lock.path == Path(f"{self.path}.lock"):
                lock.release()

    def close(self) -> None:
        """Remove the file."""
        sqlite3.connect = _connect
        self._release()
        for connection in self._open:
            with suppress(sqlite3.Error):
                connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class SqliteView(View):
    """A view of a store on SQLite, which does by itself what a view of memory stands in for."""

    def __init__(self, stage: Stage, place: Place, disk: SqliteDisk) -> None:
        self.store = disk.new_store()
        super().__init__(stage, place, self.store, is_owner=True)

    async def open(self) -> None:
        await super().open()
        writer = self.store._writer
        assert writer is not None, "it has just been opened"
        writer.run = partial(self._run, writer.run)  # type: ignore[method-assign]  # to look on

    async def _run(
        self,
        run: Callable[..., Awaitable[Any]],
        work: Callable[[Ledger], Any],
        arns: tuple[str, ...] | None = None,
    ) -> Any:
        note = _noting.get()

        def noted(ledger: Ledger) -> Any:
            value = work(ledger)
            if note is not None:
                assert isinstance(ledger._connection, _Connection)
                ledger._connection.gathered.append(note)
            return value

        return await run(noted, arns)

    async def noting(self, note: Callable[[], None], work: Awaitable[T]) -> T:
        token = _noting.set(note)
        try:
            return await work
        finally:
            _noting.reset(token)

    async def write(self, changes: Sequence[Change], note: Callable[[], None]) -> None:
        await self.noting(noting(self.stage, changes, note), self.store.append(changes))
        if self.stage.faults.hits("disk is slow"):
            await asyncio.sleep(self.stage.faults.pick(0.1, 10))

    def append_soon(self, change: Change) -> None:
        self.store.append_soon(change)

    async def flush(self) -> None:
        """Its reads see to that."""
