"""Group commit: everything that waits is written in one transaction, synced once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from durably.clock import Clock
from durably.engine.store import VersionConflict
from durably.engine.tally import Tally
from durably.errors import StoreError
from durably.stores.sqlite_errors import is_about_values, store_error
from durably.stores.sqlite_file import reopen_for_writing
from durably.stores.sqlite_ledger import Ledger
from durably.stores.sqlite_presence import HeldFiles
from durably.stores.sqlite_queue import Handed, Work, is_full, take, take_before
from durably.stores.sqlite_thread import Beside, Look, WriterThread

T = TypeVar("T")

_LATE_SECONDS = 0.0015  # the thread writes, because the event loop has not
_RETRY_SECONDS = 0.0002  # the event loop is writing at this moment
_SLOW_COMMIT_SECONDS = 0.0005  # from here on, the way to the thread and back is cheap beside it


class GroupWriter:
    """Hands work to the ledger, many pieces in one transaction.

    Whoever holds *the turn* uses the ledger and takes from the queue. That is the event loop,
    which gathers a group and writes it; then the thread, when the commit is left to it, so that
    the loop can go on; or the thread alone, when the loop is kept busy while a change waits that
    must be written soon. The loop commits by itself when a single execution is concerned and the
    disk is fast: the way to the thread and back would cost more than it gives. Work that finds
    itself alone is not even queued, once in a turn of the loop.

    Args:
        path: the file.
        connection: to it.
        held: the files that it is.
        clock: what it measures with.
        tally: where it notes the sizes of groups.
        beside: makes what works beside the event loop.

    Attributes:
        held: the files; nothing is written when they are not those at their paths any more.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        held: HeldFiles,
        clock: Clock,
        tally: Tally,
        beside: Callable[[Look], Beside] = WriterThread,
    ) -> None:
        self._path = path
        self.held = held
        self._monotonic = clock.monotonic
        self._sizes = tally.group_sizes
        self._connection = connection
        self._ledger: Ledger | None = Ledger(connection)
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Handed] = deque()
        self._turn = threading.Lock()
        self._failed: dict[str, Exception] = {}
        self._is_scheduled = False
        self._is_missed = False
        self._is_alone = False
        self._is_held = False
        self._holding = asyncio.Lock()
        self._freed: asyncio.Future[None] | None = None
        self._commit_seconds = 0.0
        self._thread = beside(self._write_late)

    def has_unwritten(self) -> bool:
        """Say whether something was handed in that a reader cannot see yet."""
        return bool(self._queue) or (self._turn.locked() and not self._is_held)

    async def run(self, work: Work[T], arns: tuple[str, ...] | None = None) -> T:
        """Have *work* done, and give its result once it is durable.

        Without *arns* it comes after everything handed in before. With them, changes of other
        executions that nobody waits for may be written later; and if a change of one of these
        failed, so does this.
        """
        handed = Handed(work, arns, self._monotonic(), is_awaited=True)
        self._queue.append(handed)
        if self._is_alone and not self._is_scheduled:
            self._flush()
            if self._is_alone:
                self._is_alone = False
                self._loop.call_soon(self._be_alone)
        else:
            self._schedule()
        if not handed.is_done:
            handed.future = self._loop.create_future()
            await handed.future
        if handed.error is not None:
            raise handed.error
        result: T = handed.result
        return result

    def run_soon(self, work: Work[None], arn: str, *, can_wait: bool) -> None:
        """Have *work* on one execution done soon. If it fails, the next work on it fails, too.

        If it *can wait*, work on other executions may overtake it.
        """
        at = self._monotonic() if can_wait else 0.0
        self._queue.append(Handed(work, (arn,), at, is_awaited=False))
        self._thread.watch()

    async def hold(self) -> None:
        """Return when the turn is the caller's, with whatever was handed in before written.

        Nothing else is written until `let_go`. Those who want the turn like this get it in order.
        """
        await self._holding.acquire()
        try:
            await self.run(lambda _: None)
            while not self._turn.acquire(blocking=False):
                self._freed = self._loop.create_future()  # the thread has it, and `_settle` follows
                await self._freed
        except BaseException:
            self._freed = None
            self._holding.release()
            self._settle(())
            raise
        self._freed = None
        self._is_held = True

    def let_go(self) -> None:
        """Give the turn back."""
        self._is_held = False
        self._turn.release()
        self._holding.release()
        self._settle(())

    async def write_within(
        self, connection: sqlite3.Connection, work: Work[None], arns: tuple[str, ...]
    ) -> None:
        """Have *work* done and committed in the transaction of *connection*, which holds the turn.

        So is what was handed in before on the same executions; if it fails, that goes on waiting.

        Raises:
            VersionConflict: it comes too late.
            StoreError: it could not be written.
        """
        mine = Handed(work, arns, self._monotonic(), is_awaited=True)
        before = take_before(self._queue, mine)
        done: asyncio.Future[None] = self._loop.create_future()

        def write() -> None:
            self._write_group(connection, [*before, mine])
            with suppress(RuntimeError):  # the loop was closed without the store: nobody waits
                self._loop.call_soon_threadsafe(done.set_result, None)

        self._thread.do(write)
        await asyncio.shield(done)
        if mine.error is not None:
            for handed in before:
                handed.error = handed.result = None
            self._queue.extendleft(reversed(before))
            raise mine.error
        self._settle(before)

    def _write_group(self, connection: sqlite3.Connection, group: Sequence[Handed]) -> None:
        """Do and commit all of *group* in the transaction of *connection*, or nothing."""
        mine = group[-1]
        try:
            ledger = self._ready()
            with ledger.within(connection):
                try:
                    for handed in group:
                        self._do(handed, ledger)
                    if mine.error is not None:
                        raise mine.error  # noqa: TRY301 - what was gathered is undone below
                    self.held.check()
                    ledger.prepare()
                    ledger.commit()
                    self._sizes.note(len(group))
                except Exception as error:
                    self._undo(error)
                    raise
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits is told
            mine.error = self._typed(error)

    def close(self) -> None:
        """Write what was handed in, and end the thread. It blocks; nothing can cut it short.

        Raises:
            StoreError: a change that nobody waited for could not be written.
        """
        self._thread.stop()
        while self._queue:
            group = self._take(everything=True)
            if self._gather(group):
                self._commit(group)
            self._settle(group)
        if self._ledger is not None:
            self._connection.close()
        for error in self._failed.values():
            if isinstance(error, StoreError):
                raise error

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._freed is not None or not self._turn.acquire(blocking=False):
            self._is_missed = True  # the thread has it, or a step wants it: `_settle` follows
            return
        group = self._take(everything=False)
        self._is_alone = len(group) == 1 or all(one.arns == group[0].arns for one in group)
        if self._gather(group):
            if not self._is_alone or self._commit_seconds > _SLOW_COMMIT_SECONDS:
                self._thread.do(partial(self._finish, group))
                return
            self._commit(group)
        self._turn.release()
        self._settle(group)

    def _be_alone(self) -> None:
        self._is_alone = True

    def _finish(self, group: Sequence[Handed]) -> None:
        """Commit what the loop has gathered. Runs in the thread, which has been given the turn."""
        self._commit(group)
        self._turn.release()
        self._settle_from_thread(group)

    def _write_late(self) -> float | None:
        """Write what the loop should have written by now. Runs in the thread.

        Returns:
            After how many seconds to look again, `None` when nothing waits.
        """
        try:
            late_in = self._queue[0].at + _LATE_SECONDS - self._monotonic()
        except IndexError:
            return None
        if late_in > 0:
            return late_in
        if not self._turn.acquire(blocking=False):
            return _LATE_SECONDS if self._is_held else _RETRY_SECONDS
        group = self._take(everything=True)
        if self._gather(group):
            self._commit(group)
        self._turn.release()
        self._settle_from_thread(group)
        return _LATE_SECONDS

    def _settle_from_thread(self, group: Sequence[Handed]) -> None:
        with suppress(RuntimeError):  # the loop was closed without the store: nobody waits
            self._loop.call_soon_threadsafe(self._settle, group)

    def _settle(self, group: Sequence[Handed]) -> None:
        for handed in group:
            handed.is_done = True
            if handed.future is not None and not handed.future.done():
                handed.future.set_result(None)
        if self._freed is not None and not self._freed.done():
            self._freed.set_result(None)
        if self._is_missed:
            self._is_missed = False
            self._schedule()

    def _take(self, *, everything: bool) -> list[Handed]:
        if not everything and is_full(self._queue):
            self._is_missed = True  # there may be more
        return take(self._queue, self._monotonic, everything=everything)

    def _gather(self, group: Sequence[Handed]) -> bool:
        """Do the work of *group* up to the commit; say whether there is something to commit."""
        if not group:
            return False
        try:
            ledger = self._ready()
            for handed in group:
                self._do(handed, ledger)
            self.held.check()
            return ledger.prepare()
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            self._fail(group, error)
            return False

    def _ready(self) -> Ledger:
        if self._ledger is None:
            self.held.look()  # lest another file is opened in place of this one
            self._connection = reopen_for_writing(self._path)
            self._ledger = Ledger(self._connection)
        return self._ledger

    def _do(self, handed: Handed, ledger: Ledger) -> None:
        if self._failed and self._has_failed(handed):
            return
        try:
            handed.result = handed.work(ledger)
        except VersionConflict as refusal:
            self._tell(handed, refusal)

    def _has_failed(self, handed: Handed) -> bool:
        """Hand on the failure of an earlier change of the same execution, once."""
        for arn in handed.arns or ():
            error = self._failed.pop(arn, None)
            if error is not None:
                self._tell(handed, error)
                return True
        return False

    def _commit(self, group: Sequence[Handed]) -> None:
        assert self._ledger is not None, "the group was gathered in it"
        began = self._monotonic()
        try:
            self._ledger.commit()
            self._sizes.note(len(group))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            self._fail(group, error)
        self._commit_seconds += 0.1 * (self._monotonic() - began - self._commit_seconds)

    def _fail(self, group: Sequence[Handed], error: Exception) -> None:
        """Undo the transaction and say so; if only one piece of work is to blame, find it."""
        is_about_values = self._undo(error)
        for handed in group:
            if handed.error is not None:
                continue
            if len(group) == 1 or not is_about_values:
                self._tell(handed, self._typed(error))
            elif self._gather([handed]):
                self._commit([handed])

    def _undo(self, error: Exception) -> bool:
        """Roll back; say whether the values are to blame, and the database is well.

        After any other failure nothing that the connection remembers is relied on, and the
        commit is not tried again: what reached the disk is known only after reading it anew.
        """
        if self._ledger is None:
            return False
        try:
            self._ledger.abort()
        except sqlite3.Error:
            pass
        else:
            if is_about_values(error):
                return True
        self._ledger = None
        with suppress(sqlite3.Error):
            self._connection.close()
        return False

    def _typed(self, error: Exception) -> Exception:
        return store_error(error, self._path) if isinstance(error, sqlite3.Error) else error

    def _tell(self, handed: Handed, error: Exception) -> None:
        handed.error = error
        if not handed.is_awaited:
            for arn in handed.arns or ():
                self._failed[arn] = error
