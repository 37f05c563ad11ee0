"""The default store: one file, one process at a time, every acknowledged append on the disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from durably.clock import Clock, SystemClock
from durably.engine.store import KEY_BYTES, Census, Change, Claim, Page, Query, Stored
from durably.engine.tally import Tally
from durably.errors import InvalidStateError, StoreError, StoreReadOnlyError
from durably.seams import IdSource, RandomIds
from durably.stores.admission import check_call
from durably.stores.sqlite_errors import typed_errors
from durably.stores.sqlite_file import (
    bring_up_to_date,
    check_header,
    database_path,
    make_file,
    open_for_reading,
    open_for_writing,
)
from durably.stores.sqlite_ledger import Ledger
from durably.stores.sqlite_lock import OwnerLock, is_held_here, refuse_links
from durably.stores.sqlite_presence import YIELDING_SECONDS, HeldFiles
from durably.stores.sqlite_queries import Queries
from durably.stores.sqlite_steps import SqliteSteps, SqliteTransaction
from durably.stores.sqlite_thread import Beside, Look, WriterThread
from durably.stores.sqlite_writer import GroupWriter

T = TypeVar("T")
C = TypeVar("C")


class SqliteStore:
    """Keeps journals in a SQLite database, in a file that belongs to one process at a time.

    Beside the file `PATH` lie `PATH.lock`, and while it is open `PATH-wal` and `PATH-shm`. All are
    for their owner alone (mode 0600). The directory must exist.

    An append whose caller is cancelled may still be written.

    Args:
        location: a path, or `sqlite:PATH`.
        read_only: open beside the owner, without the lock; what writes raises
            `StoreReadOnlyError`.
        ids: where the store's key comes from, when it is made.
        clock: what its writer measures with.
        beside: makes what its writer has beside the event loop: a thread, but in a simulation.

    Attributes:
        tally: what is counted of this process's work on it.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        read_only: bool = False,
        ids: IdSource | None = None,
        clock: Clock | None = None,
        beside: Callable[[Look], Beside] = WriterThread,
    ) -> None:
        self.path = database_path(location)
        self.tally = Tally()
        self._is_read_only = read_only
        self._ids = ids or RandomIds()
        self._clock = clock or SystemClock()
        self._beside = beside
        self._writer: GroupWriter | None = None
        self._steps: SqliteSteps | None = None
        self._queries: Queries | None = None
        self._opened = ExitStack()
        self._process_id = 0

    async def open(self) -> None:
        """Make the store ready. An earlier owner's claims become due now.

        Raises:
            StoreLockedError: another process has it open.
            StoreTooNewError: a newer version of this library wrote it. It was not touched.
            StoreCorruptedError: the file is damaged, or of another program. It was not touched.
            StoreReadOnlyError: the file or its directory may not be written.
            StoreError: anything else; the text says what to do.
        """
        if self._queries is not None:
            raise InvalidStateError(f"{self.path} is open already")
        writer = None
        with typed_errors(self.path), ExitStack() as opened:
            if not is_held_here(self.path):
                # To close a file gives up every lock that this process has on it, SQLite's too.
                check_header(self.path)
            if not self._is_read_only:
                refuse_links(self.path)
                lock = OwnerLock(self.path)
                opened.callback(lock.release)
                if lock.is_new and self.path.exists():
                    await asyncio.sleep(YIELDING_SECONDS)
                writer = self._open_writer()
                opened.callback(writer.close)
                self._steps = SqliteSteps(self.path, writer)
            queries = Queries(open_for_reading(self.path), self.path)
            opened.callback(queries.close)
            self._opened = opened.pop_all()
        self._writer, self._queries, self._process_id = writer, queries, os.getpid()

    async def close(self) -> None:
        """Write what was handed in, then let go of every file, lock and thread.

        Raises:
            StoreError: a change given to `append_soon` could not be written.
        """
        if self._queries is None:
            return
        self._check()
        if self._steps is not None:
            await self._steps.close()
        self._writer = self._steps = self._queries = None
        with typed_errors(self.path):
            self._opened.close()

    async def keys(self) -> Sequence[bytes]:
        """Give the keys that tokens are made with, newest first; one is made with the file."""
        return await self._read(Queries.keys)

    async def add_key(self, key: bytes) -> bool:
        """Make *key* the newest, and keep the one before."""
        await self._to_write().run(lambda ledger: ledger.add_key(key))
        return True

    async def append(self, changes: Sequence[Change]) -> None:
        """Add each change's facts if nobody else has since its expected version; all or none."""
        check_call(changes)
        # A call without a change waits for everything before it.
        arns = tuple([change.arn for change in changes]) if changes else None
        await self._to_write().run(lambda ledger: ledger.append(changes), arns)

    def append_soon(self, change: Change) -> None:
        """Take *change*, and write it within 2 ms or before the next append of its execution.

        Python code that keeps the interpreter to itself can delay it by a few milliseconds more.
        """
        check_call((change,))
        # A name or a callback id belongs to the first that has it, so the order matters to others.
        can_wait = bool(change.expected_version) and not change.callback_ids
        append = partial(Ledger.append, changes=(change,))
        self._to_write().run_soon(append, change.arn, can_wait=can_wait)

    async def begin(self, arn: str, kind: type[C], *, blocking: bool) -> SqliteTransaction[C]:  # noqa: ARG002 - all of SQLite blocks, and everything is written before
        """Begin a transaction that a step writes in; see `Begin`."""
        self._to_write()
        assert self._steps is not None, "it is made with the writer"
        return await self._steps.begin(kind)

    async def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        """Claim up to *limit* executions of *functions* that somebody must look at by *now*."""
        claim = partial(
            Ledger.claim, worker=worker, functions=functions, now=now, lease=lease, limit=limit
        )
        return await self._to_write().run(claim)

    async def extend(
        self, worker: str, epochs: Sequence[tuple[str, int]], until: datetime
    ) -> Sequence[str]:
        """Let claims (arn, epoch) last until *until* at least; give the arns of those gone."""
        return await self._to_write().run(lambda ledger: ledger.extend(worker, epochs, until))

    async def next_wake_at(self, functions: Sequence[str]) -> datetime | None:
        """Say when the earliest execution of *functions* is due, `None` when none ever is."""
        return await self._read(lambda queries: queries.next_wake_at(functions))

    async def find(self, arn: str) -> Stored | None:
        """Load an execution with all its facts."""
        return await self._read(lambda queries: queries.find(arn))

    async def find_by_name(self, function_name: str, execution_name: str) -> str | None:
        """Give the arn of the execution that a function's name stands for."""
        return await self._read(lambda queries: queries.find_by_name(function_name, execution_name))

    async def find_by_callback(self, callback_id: str) -> str | None:
        """Give the arn of the execution that waits for a callback."""
        return await self._read(lambda queries: queries.find_by_callback(callback_id))

    async def list(self, query: Query) -> Page:
        """Give one page of the executions that *query* asks for."""
        return await self._read(lambda queries: queries.list(query))

    async def census(self, statuses: Sequence[str], limit: int) -> Census:
        """Count the executions of each of *statuses*, and the parked ones; none beyond *limit*."""
        return await self._read(lambda queries: queries.census(statuses, limit))

    async def delete(self, arn: str, expected_version: int) -> None:
        """Remove an execution, its facts and its callback ids."""
        await self._to_write().run(lambda ledger: ledger.delete(arn, expected_version))

    async def delete_expired(self, now: datetime, limit: int) -> int:
        """Remove up to *limit* closed executions whose `delete_at` has come; say how many."""
        return await self._to_write().run(lambda ledger: ledger.delete_expired(now, limit))

    def _open_writer(self) -> GroupWriter:
        make_file(self.path)
        connection = open_for_writing(self.path)
        try:
            bring_up_to_date(connection, self.path, self._ids.nonce(KEY_BYTES))
            held = HeldFiles(Path(f"{self.path}{end}") for end in ("", "-wal", "-shm", ".lock"))
            return GroupWriter(self.path, connection, held, self._clock, self.tally, self._beside)
        except BaseException:
            connection.close()
            raise

    def _to_write(self) -> GroupWriter:
        writer = self._writer
        if writer is None or self._process_id != os.getpid():
            self._check()
            raise StoreReadOnlyError(f"{self.path} was opened for reading only")
        return writer

    async def _read(self, query: Callable[[Queries], T]) -> T:
        self._check()
        if self._writer is not None:
            self._writer.held.check()
            if self._writer.has_unwritten():
                with suppress(StoreError):  # told to those who wrote; what is durable can be read
                    await self._writer.run(_nothing)
        with typed_errors(self.path):
            return query(self._check())

    def _check(self) -> Queries:
        """Refuse to be used when not open, and in a child process: the lock is not its own."""
        if self._queries is None:
            raise InvalidStateError(f"{self.path} is not open")
        if self._process_id != os.getpid():
            raise InvalidStateError(
                f"{self.path} was opened by process {self._process_id}, and a fork does not carry "
                "it over: close the store before forking, or open one in the new process"
            )
        return self._queries


def _nothing(ledger: Ledger) -> None:
    """Only be written after what was handed in before."""
