"""Connections to PostgreSQL for steps, each in a transaction that ends with its step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeAlias, TypeVar, cast

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection, Connection
from psycopg.abc import PQGen
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.rows import TupleRow, tuple_row

from durably.engine.store import Change
from durably.errors import InvalidStateError, TransactionError
from durably.stores.postgres_database import PostgresDatabase, Row, answered_in_time, ask
from durably.stores.postgres_errors import Meaning, is_rolled_back, meaning_of, said_by, store_error
from durably.stores.postgres_writer import PostgresWriter
from durably.stores.step_gate import NOT_BY_YOURSELF, Gate, NoGate
from durably.stores.step_kinds import AsyncBridge, SyncBridge, check_kind_of

log = logging.getLogger("durably.stores")

T = TypeVar("T")
C = TypeVar("C")
Base: TypeAlias = AsyncConnection[Row]

_CLOSED = "the store was closed before the step had its connection"
_CANCEL_SECONDS = 2.0
_REFUSED, _ANOTHER = "UD001", "UD002"  # by append_in_step
_IN_THE_WAY = (Meaning.AGAIN, Meaning.LOCKED, Meaning.UNKNOWN)
_MAX_CAUSES = 20
_DIALECT = "postgresql+psycopg://"
_NAMES = {
    False: ("psycopg.AsyncConnection", "sqlalchemy.ext.asyncio.AsyncConnection"),
    True: ("psycopg.Connection", "sqlalchemy.Connection"),
}
_WHERE = {
    False: "in an `async def` on PostgreSQL",
    True: "for sync_step_connection() on PostgreSQL",
}


class StepConnection(AsyncConnection[TupleRow]):
    """What a coroutine gets: a view of a connection of ours, until its step ends."""

    def __init__(self, pgconn: PGconn, gate: Gate) -> None:
        super().__init__(pgconn, tuple_row)
        self.prepare_threshold = None  # what is prepared would be there for the next step
        self._gate = gate

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Do what every method comes to."""
        self._gate.enter()
        try:
            return await super().wait(gen, *args, **kwargs)
        finally:
            if self._gate.leave():
                self.pgconn.finish()

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Give a cursor, unless the step has ended."""
        self._gate.check()
        return super().cursor(*args, **kwargs)

    async def commit(self) -> None:
        """Refuse."""
        self._gate.refuse("commit")

    async def rollback(self) -> None:
        """Refuse."""
        self._gate.refuse("roll back")

    async def close(self) -> None:
        """Refuse."""
        self._gate.refuse("close")

    def __del__(self, *_: object) -> None:
        """Do nothing: the connection is not its own."""


class SyncStepConnection(Connection[TupleRow]):
    """What a thread gets, likewise."""

    def __init__(self, pgconn: PGconn, gate: Gate) -> None:
        super().__init__(pgconn, tuple_row)
        self.prepare_threshold = None
        self._gate = gate

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Do what every method comes to."""
        self._gate.enter()
        try:
            return super().wait(gen, *args, **kwargs)
        finally:
            if self._gate.leave():
                self.pgconn.finish()

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Give a cursor, unless the step has ended."""
        self._gate.check()
        return super().cursor(*args, **kwargs)

    def commit(self) -> None:
        """Refuse."""
        self._gate.refuse("commit")

    def rollback(self) -> None:
        """Refuse."""
        self._gate.refuse("roll back")

    def close(self) -> None:
        """Refuse."""
        self._gate.refuse("close")

    def __del__(self, *_: object) -> None:
        """Do nothing: the connection is not its own."""


class PostgresSteps:
    """Connections that steps write with. They are none of the pool's: steps may keep them long.

    Args:
        database: where.
        writer: whoever writes the outcomes, in order with everything else.
        size: how many there may be.
    """

    def __init__(self, database: PostgresDatabase, writer: PostgresWriter, size: int) -> None:
        self.database = database
        self.writer = writer
        self._room = asyncio.Semaphore(size)
        self._idle: list[Base] = []
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.open: set[PostgresTransaction[Any]] = set()
        self._bridges: dict[str, SyncBridge | AsyncBridge] = {}

    async def begin(self, arn: str, kind: type[T], *, blocking: bool) -> PostgresTransaction[T]:
        """See `Begin`."""
        name = check_kind_of(kind, _NAMES[blocking], _WHERE[blocking])
        await self.writer.settle_of(arn)
        await self._room.acquire()
        try:
            transaction: PostgresTransaction[T] = await self._opened(name, blocking=blocking)
        except BaseException as error:
            self._room.release()
            if isinstance(error, psycopg.Error):
                raise store_error(error) from error
            raise
        self.open.add(transaction)
        if self._is_closed:  # while this waited
            await transaction.abort()
            raise InvalidStateError(_CLOSED)
        return transaction

    async def _opened(self, name: str, *, blocking: bool) -> PostgresTransaction[Any]:
        gate, base = Gate(), await self._begun()
        try:
            view: Any = (SyncStepConnection if blocking else StepConnection)(base.pgconn, gate)
            around = await self._around(name, view)
        except BaseException:
            await base.close()
            raise
        return PostgresTransaction(self, base, gate, view if around is None else around)

    async def _begun(self) -> Base:
        while True:
            is_new = not self._idle
            base = await self.database.connect() if is_new else self._idle.pop()
            try:
                await ask(base, self.database.text("begin_step"))
            except BaseException as error:
                await base.close()
                if is_new or not isinstance(error, psycopg.OperationalError):
                    raise  # else it has been idle for long, and is gone
            else:
                return base

    async def _around(self, name: str, view: Any) -> Any:
        """Give SQLAlchemy's connection around *view*, if that is what is wanted."""
        if not name.startswith("sqlalchemy."):
            return None
        bridge = self._bridges.get(name)
        if bridge is None:
            bridge = SyncBridge(_DIALECT) if name in _NAMES[True] else AsyncBridge(_DIALECT)
            await self._prepare(bridge)
            self._bridges[name] = bridge
        if isinstance(bridge, SyncBridge):
            return bridge.around(view)
        return await bridge.around(view)

    async def _prepare(self, bridge: SyncBridge | AsyncBridge) -> None:
        async with await self.database.connect() as base:
            if isinstance(bridge, SyncBridge):
                view = SyncStepConnection(base.pgconn, NoGate())
                await asyncio.to_thread(bridge.prepare, view)
            else:
                await bridge.prepare(StepConnection(base.pgconn, NoGate()))

    async def commit(self, base: Base, parameters: Mapping[str, object]) -> None:
        """Append what *parameters* say and commit, in one message.

        No lock is taken that waits for another one: a machine may end at any moment.

        Raises:
            psycopg.Error: it was not committed, or nobody knows.
        """
        with answered_in_time(base):
            await AsyncClientCursor(base).execute(self.database.text("append_in_step"), parameters)

    def give_back(self, base: Base) -> None:
        """Roll back unless it is committed, and keep the connection for the next step."""
        self._spawn(self._reset(base))

    def lose(self, base: Base, gate: Gate) -> None:
        """Do without a connection that code which was given up still uses: it lets go of it."""
        gate.kept = base
        self._spawn(self._cancel(base))

    async def close(self) -> None:
        """Let go of all of them, and undo what steps have not committed."""
        self._is_closed = True
        aborts = [transaction.abort() for transaction in self.open]
        await asyncio.gather(*aborts, return_exceptions=True)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._idle:
            await self._idle.pop().close()

    async def _reset(self, base: Base) -> None:
        try:
            if self._is_closed or _is_amid(base):  # to close it undoes what it has written
                await base.close()
                return
            if base.pgconn.transaction_status != TransactionStatus.IDLE:
                await ask(base, self.database.text("undo_step"))
            await ask(
                base, self.database.text("forget_step")
            )  # what the code has set is not for the next step
        except psycopg.Error as error:
            log.debug("the connection of a step is not used again: %s", said_by(error))
            await base.close()
        else:
            self._idle.append(base)
        finally:
            self._room.release()

    async def _cancel(self, base: Base) -> None:
        try:
            with suppress(psycopg.Error):
                await base.cancel_safe(timeout=_CANCEL_SECONDS)
        finally:
            self._room.release()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="durably step connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class PostgresTransaction(Generic[C]):
    """See `Transaction`.

    Args:
        steps: where its connection comes from.
        base: the connection.
        gate: when code may use it.
        connection: what the code of the step has of it.
    """

    def __init__(self, steps: PostgresSteps, base: Base, gate: Gate, connection: C) -> None:
        self._steps = steps
        self._base = base
        self._gate = gate
        self._is_over = self._is_another = False
        self.connection = connection
        self.failure: Exception | None = None

    def complaint(self, *, is_over: bool) -> str | None:
        """See `Transaction.complaint`."""
        if self._gate.is_closed:
            return NOT_BY_YOURSELF.format("commit or roll back") if self._is_another else None
        status = self._base.pgconn.transaction_status
        if status == TransactionStatus.IDLE:
            return NOT_BY_YOURSELF.format("commit or roll back")
        if is_over and (self._gate.is_busy or _is_amid(self._base)):
            return "its connection was still in use when it ended. Wait for everything it does"
        if is_over and status == TransactionStatus.INERROR:
            return (
                "a statement failed, and with it the whole transaction, but the step returned. "
                "Let the error out of the step, or use a savepoint"
            )
        return None

    def is_conflict(self, error: Exception) -> bool:
        """Whether PostgreSQL has rolled back, and says that another try may do."""
        state = next(filter(None, (getattr(one, "sqlstate", None) for one in _causes(error))), "")
        return is_rolled_back(state)

    async def append(self, changes: Sequence[Change]) -> None:
        """See `Transaction.append`: in its turn among all changes, the writer calls `commit`."""
        if not await self._end_use():
            raise TransactionError("the connection of a step was still in use when the step ended")
        await self._steps.writer.append(changes, self)

    async def commit(self, parameters: Mapping[str, object]) -> bool:
        """Append what *parameters* say and commit; `False`: it was not, or nobody knows.

        Where it came too late or others were in the way that is all. What else the database refuses
        is what the code has done with its transaction, or has had done to it: see `failure`.
        """
        try:
            await self._steps.commit(self._base, parameters)
        except psycopg.Error as error:
            log.info("the transaction of a step was not committed: %s", said_by(error))
            self._is_another = error.sqlstate == _ANOTHER
            is_fenced = self._is_another or error.sqlstate == _REFUSED
            if not is_fenced and meaning_of(error) not in _IN_THE_WAY:
                self.failure = error
            return False
        return True

    def release(self) -> None:
        """Undo what was not committed, and leave the connection to others."""
        self._steps.give_back(self._base)

    async def abort(self) -> None:
        """See `Transaction.abort`."""
        if not self._is_over and await self._end_use():
            self.release()

    async def _end_use(self) -> bool:
        """Let the code use the connection no more; say whether it does not do so just now."""
        self._is_over = True
        self._steps.open.discard(self)
        if not self._gate.close():
            self._steps.lose(self._base, self._gate)
            return False
        if not isinstance(self.connection, AsyncConnection | Connection):
            try:
                closed = cast("Any", self.connection).close()  # it is SQLAlchemy's
                if closed is not None:
                    await closed
            except BaseException:
                self.release()
                raise
        return True


def _is_amid(base: Base) -> bool:
    """Whether a statement is open, by a stream, a COPY or a pipeline that was not left."""
    pgconn = base.pgconn
    is_amid = pgconn.transaction_status == TransactionStatus.ACTIVE
    return is_amid or pgconn.pipeline_status != PipelineStatus.OFF


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give *error* and what it was raised from, a driver's within SQLAlchemy's above all."""
    for _ in range(_MAX_CAUSES):
        if error is None:
            return
        yield error
        error = error.__cause__
