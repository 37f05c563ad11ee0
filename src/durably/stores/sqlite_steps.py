"""Connections to SQLite for steps. While one is open, nothing else is written to the file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar, cast
from weakref import WeakSet

from durably.engine.store import Change
from durably.errors import TransactionError
from durably.stores.sqlite_errors import typed_errors
from durably.stores.sqlite_file import open_for_step
from durably.stores.sqlite_writer import GroupWriter
from durably.stores.step_gate import NOT_BY_YOURSELF, OVER, Gate, NoGate
from durably.stores.step_kinds import SyncBridge, check_kind_of

C = TypeVar("C")

_NAMES = ("sqlite3.Connection", "sqlalchemy.Connection")


class StepConnection(sqlite3.Connection):
    """What the code of a step gets. It closes when the step ends.

    Attributes:
        was_refused: the code has tried to end the transaction by a statement.
    """

    was_refused = False
    _has_ended = False
    _gate: Gate = NoGate()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()
        super().__init__(*args, **kwargs)

    def guard(self, gate: Gate) -> None:
        """Let the code not end the transaction, as long as *gate* is open."""
        self._gate = gate
        self.set_authorizer(self._allow)

    def _allow(self, action: int, *_: object) -> int:
        if action != sqlite3.SQLITE_TRANSACTION or self._gate.is_closed:
            return sqlite3.SQLITE_OK
        self.was_refused = True
        return sqlite3.SQLITE_DENY

    def finish(self) -> None:
        """Break off what the code has not read to its end: that may be in the way of a commit."""
        for cursor in self._cursors:
            cursor.close()

    def end(self) -> None:
        """Undo what is not committed, and close it."""
        self._has_ended = True
        with suppress(sqlite3.Error):
            super().rollback()
        super().close()

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Give a cursor, unless the step has ended."""
        if self._has_ended:
            raise TransactionError(OVER)
        cursor = super().cursor(*args, **kwargs)
        self._cursors.add(cursor)
        return cursor

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement, unless the step has ended."""
        done: sqlite3.Cursor = self.cursor().execute(sql, parameters)
        return done

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """Run a statement again and again, unless the step has ended."""
        done: sqlite3.Cursor = self.cursor().executemany(sql, parameters)
        return done

    def commit(self) -> None:
        """Refuse."""
        self._gate.refuse("commit")

    def rollback(self) -> None:
        """Refuse, while the step runs."""
        self._gate.refuse("roll back")
        if not self._has_ended:
            super().rollback()

    def close(self) -> None:
        """Refuse, while the step runs."""
        self._gate.refuse("close")

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        """Refuse: it commits before it does anything."""
        self._gate.refuse("run a script on, because that would commit,")
        return super().executescript(sql_script)

    def __exit__(self, *_: object) -> Any:
        """Refuse what `with connection:` means."""
        self._gate.refuse("write `with` around")


class SqliteSteps:
    """Connections that steps write with.

    Args:
        path: of the file.
        writer: whoever writes otherwise.
    """

    def __init__(self, path: Path, writer: GroupWriter) -> None:
        self._path = path
        self.writer = writer
        self._bridge: SyncBridge | None = None
        self.open: set[SqliteTransaction[Any]] = set()

    async def begin(self, kind: type[C]) -> SqliteTransaction[C]:
        """See `Begin`."""
        name = check_kind_of(kind, _NAMES, "on SQLite")
        await self.writer.hold()
        try:
            with typed_errors(self._path):
                self.writer.held.look()
                driver = open_for_step(self._path, StepConnection)
        except BaseException:
            self.writer.let_go()
            raise
        gate = Gate()
        driver.guard(gate)
        connection: Any = driver
        if name.startswith("sqlalchemy."):
            connection = self._bridged().around(driver)
        transaction = SqliteTransaction[C](self, driver, gate, connection)
        self.open.add(transaction)
        return transaction

    async def close(self) -> None:
        """Undo what steps have not committed."""
        for transaction in list(self.open):
            await transaction.abort()

    def _bridged(self) -> SyncBridge:
        if self._bridge is None:
            self._bridge = SyncBridge("sqlite://")
            with closing(sqlite3.connect(":memory:")) as other:
                self._bridge.prepare(other)
        return self._bridge


class SqliteTransaction(Generic[C]):
    """See `Transaction`.

    Args:
        steps: where its connection comes from.
        driver: the connection.
        gate: when code may use it.
        connection: what the code of the step has of it.
    """

    def __init__(
        self, steps: SqliteSteps, driver: StepConnection, gate: Gate, connection: C
    ) -> None:
        self._steps = steps
        self._driver = driver
        self._gate = gate
        self._work: asyncio.Task[None] | None = None
        self.failure: Exception | None = None
        self.connection = connection

    def complaint(self, *, is_over: bool) -> str | None:
        """See `Transaction.complaint`."""
        if self._gate.is_closed:
            return None
        if self._driver.was_refused:
            return NOT_BY_YOURSELF.format("commit or roll back")
        if is_over and not self._driver.in_transaction:
            return (
                "SQLite has rolled its transaction back because of an error, but the step "
                "returned. Let the error out of the step"
            )
        return None

    def is_conflict(self, error: Exception) -> bool:  # noqa: ARG002 - nobody else can write
        """Say no: nobody is in the way of the only one that writes."""
        return False

    async def append(self, changes: Sequence[Change]) -> None:
        """See `Transaction.append`."""
        self._work = asyncio.get_running_loop().create_task(self._append(changes))
        await asyncio.shield(self._work)  # the thread that writes is not cancelled either

    async def _append(self, changes: Sequence[Change]) -> None:
        arns = tuple([change.arn for change in changes])
        self._gate.close()
        self._driver.finish()
        try:
            await self._steps.writer.write_within(
                self._driver, lambda ledger: ledger.append(changes), arns
            )
        finally:
            self._let_go()

    async def abort(self) -> None:
        """See `Transaction.abort`."""
        if self._work is not None:
            await asyncio.wait((self._work,))
        elif self in self._steps.open:
            self._driver.interrupt()  # whatever code that was given up still does
            self._gate.close()
            self._let_go()

    def _let_go(self) -> None:
        if self.connection is not self._driver:
            cast("Any", self.connection).close()  # it is SQLAlchemy's
        self._driver.end()
        self._steps.open.discard(self)
        self._steps.writer.let_go()
