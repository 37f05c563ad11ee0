"""The store for many workers: one PostgreSQL database, any number of processes before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from psycopg.errors import QueryCanceled

from durably.engine.roster import Presence, Roster, split_claim_name
from durably.engine.shared_store import NEXT_KEY_AFTER, Outline
from durably.engine.store import (
    KEY_BYTES,
    Census,
    Change,
    Claim,
    Page,
    Query,
    Stored,
    VersionConflict,
)
from durably.engine.tally import Tally
from durably.errors import InvalidStateError, StoreUnavailableError
from durably.seams import IdSource, RandomIds
from durably.stores.admission import check_call
from durably.stores.instants import to_us
from durably.stores.paging import marker_after
from durably.stores.postgres_address import PostgresAddress
from durably.stores.postgres_clock import ClockKeeper, DatabaseClock
from durably.stores.postgres_database import PostgresDatabase, Row, check_dsn
from durably.stores.postgres_hints import Heralds, Hints
from durably.stores.postgres_rows import (
    as_backlog,
    as_census,
    as_listed,
    as_seen,
    as_stored,
    from_us_or_none,
    list_statement,
)
from durably.stores.postgres_schema import NOTHING_THERE, prepare
from durably.stores.postgres_steps import PostgresSteps, PostgresTransaction
from durably.stores.postgres_together import Together
from durably.stores.postgres_writer import PostgresWriter

C = TypeVar("C")

_FOUND_AT_ONCE = 50  # executions, each with all its facts
_OUTLINED_AT_ONCE = 1_000
_MAX_BACKLOG = 10_000


class PostgresStore:
    """Keeps journals in a PostgreSQL database that any number of processes share.

    The schema is made by whoever opens the store first. Times are compared as they are passed in;
    whoever passes them takes them from `clock`, which shows the database's own.

    Args:
        url: `postgresql://…`, with `schema`, `namespace`, `pool` and `listen` as parameters; see
            `PostgresAddress`.
        is_visitor: whether it is only to look at something, or to hand something in. Then it makes
            neither schema nor namespace, and does not listen.
        ids: where the namespace's key comes from, when it is made.

    Attributes:
        is_shared: other processes write to it, too.
        clock: the database's clock.
        tally: what is counted of this process's work on it.

    Raises:
        ValidationError: *url* is not a legal one.
    """

    is_shared = True

    def __init__(self, url: str, *, is_visitor: bool = False, ids: IdSource | None = None) -> None:
        self.address = PostgresAddress.parse(url)
        check_dsn(self.address.dsn)
        self._is_visitor = is_visitor
        self.clock = DatabaseClock()
        self.tally = Tally()
        self._ids = ids or RandomIds()
        self._database: PostgresDatabase | None = None
        self._writer: PostgresWriter | None = None
        self._steps: PostgresSteps | None = None
        self._space = 0
        self._keeper: ClockKeeper | None = None
        self._hints: Hints | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._heralds: Heralds | None = None
        self._found = Together(self._find_some, _FOUND_AT_ONCE)
        self._outlined = Together(self._outline_some, _OUTLINED_AT_ONCE)

    async def open(self) -> None:
        """Connect. Claims of other processes stand: what keeps a dead one's is the lease.

        Raises:
            StoreTooNewError: a newer version of this library made the schema. It was not touched.
            StoreUnavailableError: the database cannot be reached, or a visitor finds nothing there.
            StoreError: anything else; the text says what to do.
        """
        if self._database is not None:
            raise InvalidStateError(f"{self.address.title} is open already")
        database = PostgresDatabase(self.address)
        await prepare(database, self.address, may_make=not self._is_visitor)
        await database.open()
        try:
            self._space = await self._find_space(database)
            self._database = database
            self._keeper = ClockKeeper(database, self.clock)
            await self._keeper.open()
            self._writer = PostgresWriter(database, self._space, self.tally)
            self._heralds = Heralds(database, self._space, self.clock)
            self._steps = PostgresSteps(database, self._writer, self.address.pool)
            if self.address.listen and not self._is_visitor:
                self._hints = Hints(database, self._space, self._tell)
        except BaseException:
            self._database = None
            if self._keeper is not None:
                await self._keeper.close()
            await database.close()
            raise

    async def _find_space(self, database: PostgresDatabase) -> int:
        """Give the number of the namespace; who is no visitor makes it if need be."""
        name = {"name": self.address.namespace}
        while not (found := await database.read("namespace", name)):
            if self._is_visitor:
                said = f"{self.address.title} has no such namespace"
                raise StoreUnavailableError(said, remedy=NOTHING_THERE)
            key = self._ids.nonce(KEY_BYTES)
            await database.read("make_namespace", {**name, "key": key})  # or another does just now
        return int(found[0][0])

    async def close(self) -> None:
        """Write what was handed in, and let go of every connection.

        Raises:
            StoreError: a change given to `append_soon` could not be written.
        """
        database, writer = self._database, self._writer
        if database is None or writer is None:
            return
        try:
            await writer.close()
            await self._found.close()
            await self._outlined.close()
        finally:
            self._database = self._writer = None
            if self._keeper is not None:
                await self._keeper.close()
                self._keeper = None
            if self._hints is not None:
                await self._hints.close()
                self._hints = None
            if self._heralds is not None:
                await self._heralds.close()
                self._heralds = None
            if self._steps is not None:
                await self._steps.close()
                self._steps = None
            await database.close()

    async def keys(self) -> Sequence[bytes]:
        """Give the keys that tokens are made with, newest first; one comes with the namespace."""
        [(keys,)] = await self._opened().read("keys", {"space": self._space})
        return tuple(keys)

    async def add_key(self, key: bytes) -> bool:
        """Make *key* the newest, and keep the one before; not too soon after that one."""
        after = NEXT_KEY_AFTER // timedelta(microseconds=1)
        parameters = self._with_space({"key": key, "after": after})
        # As often as need be: twice the same is once.
        return bool(await self._opened().read("add_key", parameters))

    async def append(self, changes: Sequence[Change]) -> None:
        """Add each change's facts if nobody else has since its expected version; all or none."""
        check_call(changes)
        await self._to_write().append(changes)
        if self._heralds is not None:
            self._heralds.tell_of(changes)

    def append_soon(self, change: Change) -> None:
        """Take *change*, and write it within 2 ms or before the next append of its execution."""
        check_call((change,))
        self._to_write().append_soon(change)

    async def begin(self, arn: str, kind: type[C], *, blocking: bool) -> PostgresTransaction[C]:
        """Begin a transaction that a step writes in; see `Begin`."""
        self._opened()
        assert self._steps is not None, "it is made with the database"
        return await self._steps.begin(arn, kind, blocking=blocking)

    async def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        """Claim up to *limit* executions of *functions* that somebody must look at by *now*.

        If the answer is lost, what was claimed comes back when its lease ends.
        """
        database = self._opened()
        parameters = {
            "worker": worker,
            **_functions(functions),
            "now": to_us(now),
            "ends_at": to_us(now + lease),
            "limit": limit,
        }
        rows = await database.write("claim", self._with_space(parameters))
        if self._heralds is not None:
            self._heralds.note_claimed(functions, has_room=len(rows) < limit)
        in_order = sorted(rows, key=lambda row: (row[4], row[5]))
        return [Claim(arn, name, epoch, lost) for arn, name, epoch, lost, *_ in in_order]

    async def extend(
        self, worker: str, epochs: Sequence[tuple[str, int]], until: datetime
    ) -> Sequence[str]:
        """Let claims (arn, epoch) last until *until* at least; give the arns of those gone.

        Where it is tried again, they last longer by the time that has gone by.
        """
        database = self._opened()
        parameters = {
            "worker": worker,
            "arns": [arn for arn, _ in epochs],
            "epochs": [epoch for _, epoch in epochs],
        }
        tries: list[float] = []

        def given() -> Mapping[str, object]:
            tries.append(self.clock.monotonic())
            later = timedelta(seconds=tries[-1] - tries[0])
            return self._with_space({**parameters, "until": to_us(until + later)})

        rows = await database.read("extend", given)  # as often as need be
        held = {row[0] for row in rows}
        return [arn for arn, _ in epochs if arn not in held]

    async def next_wake_at(self, functions: Sequence[str]) -> datetime | None:
        """Say when the earliest execution of *functions* is due, `None` when none ever is."""
        parameters = self._with_space(_functions(functions))
        [(instant,)] = await self._opened().read("next_wake_at", parameters)
        return from_us_or_none(instant)

    async def find(self, arn: str) -> Stored | None:
        """Load an execution with all its facts."""
        self._opened()
        await self._to_write().settle_of(arn)
        return await self._found.find(arn)

    async def find_by_name(self, function_name: str, execution_name: str) -> str | None:
        """Give the arn of the execution that a function's name stands for."""
        row = await self._first("find_by_name", {"function": function_name, "name": execution_name})
        return None if row is None else row[0]

    async def find_by_callback(self, callback_id: str) -> str | None:
        """Give the arn of the execution that waits for a callback."""
        row = await self._first("find_by_callback", {"id": callback_id})
        return None if row is None else row[0]

    async def list(self, query: Query) -> Page:
        """Give one page of the executions that *query* asks for."""
        database = await self._settled()
        text, parameters = list_statement(database.text, query)
        rows = await database.read_text(text, self._with_space(parameters))
        found = rows[: query.limit]
        has_more = len(rows) > len(found) > 0
        marker = marker_after(found[-1][7], found[-1][0]) if has_more else None
        return Page(tuple(map(as_listed, found)), marker)

    async def census(self, statuses: Sequence[str], limit: int) -> Census:
        """Count the executions of each of *statuses*, and the parked ones; none beyond *limit*."""
        database = await self._settled()
        parameters = {"statuses": list(statuses), "limit": limit}
        rows = await database.read("census", self._with_space(parameters))
        return as_census(rows)

    async def delete(self, arn: str, expected_version: int) -> None:
        """Remove an execution, its facts and its callback ids."""
        database = self._opened()
        await self._to_write().settle_of(arn)
        parameters = {"arn": arn, "version": expected_version}
        [(amount,)] = await database.write("delete", self._with_space(parameters))
        if not amount:
            raise VersionConflict(arn)

    async def delete_expired(self, now: datetime, limit: int) -> int:
        """Remove up to *limit* closed executions whose `delete_at` has come; say how many.

        In several transactions, where one is too much for the time-out of a statement.
        """
        database, deleted, at_once = self._opened(), 0, limit
        while deleted < limit:
            asked = min(at_once, limit - deleted)
            parameters = {"now": to_us(now), "limit": asked}
            try:
                [(amount,)] = await database.read("delete_expired", self._with_space(parameters))
            except StoreUnavailableError as error:
                if asked == 1 or not isinstance(error.__cause__, QueryCanceled):
                    raise
                at_once = asked // 2
                continue
            deleted += amount
            if amount < asked:
                break
        return deleted

    async def outlines(self, arns: Sequence[str]) -> Mapping[str, Outline]:
        """Say how far executions have come; those that are gone are left out."""
        self._opened()
        await self._to_write().settle_of(*arns)
        return await self._outlined.find_all(arns)

    async def announce(self, presence: Presence) -> None:
        """Note that a worker is there, and what it is."""
        if self._heralds is not None and presence.is_draining:
            self._heralds.note_claimed(presence.functions, has_room=False)
        parameters = {
            "worker": presence.worker,
            "functions": list(presence.functions),
            "max_concurrency": presence.max_concurrency,
            "started_at": to_us(presence.started_at),
            "lease": presence.lease // timedelta(microseconds=1),
            "is_draining": presence.is_draining,
        }
        await self._opened().read("announce", self._with_space(parameters))  # as often as need be

    async def withdraw(self, worker: str) -> None:
        """Note that a worker is gone, and holds nothing any more."""
        await self._opened().read("withdraw", self._with_space({"worker": worker}))

    async def offers(self) -> Sequence[str]:
        """Give the names that workers claim by, or have ever claimed by."""
        return [row[0] for row in await self._opened().read("offers", self._with_space({}))]

    async def roster(self) -> Roster:
        """Say who works on the store, and what there is to do."""
        database, parameters = self._opened(), self._with_space({})
        workers = await database.read("workers", parameters)
        backlogs = await database.read("backlogs", {**parameters, "limit": _MAX_BACKLOG})
        return Roster(tuple(map(as_seen, workers)), tuple(map(as_backlog, backlogs)))

    def on_hint(self, listener: Callable[[str], None]) -> None:
        """Call *listener* in the event loop when another process may have done something.

        It is given the arn of an execution that its owner should look at, or nothing when anything
        may be due. Hints may be lost, doubled and late.
        """
        self._listeners.append(listener)

    def _tell(self, hint: str) -> None:
        for listener in self._listeners:
            listener(hint)

    async def _find_some(self, arns: Sequence[str]) -> Mapping[str, Stored]:
        rows = await self._opened().read("find", self._with_space({"arns": list(arns)}))
        return {stored.arn: stored for stored in map(as_stored, rows)}

    async def _outline_some(self, arns: Sequence[str]) -> Mapping[str, Outline]:
        rows = await self._opened().read("outlines", self._with_space({"arns": list(arns)}))
        return {arn: Outline(*row) for arn, *row in rows}

    async def _first(self, name: str, parameters: dict[str, object]) -> Row | None:
        database = await self._settled()
        rows = await database.read(name, self._with_space(parameters))
        return rows[0] if rows else None

    async def _settled(self) -> PostgresDatabase:
        """Give the database once it shows what this process has handed in."""
        database = self._opened()
        await self._to_write().settle()
        return database

    def _with_space(self, parameters: Mapping[str, object]) -> dict[str, object]:
        return {**parameters, "space": self._space}

    def _to_write(self) -> PostgresWriter:
        self._opened()
        assert self._writer is not None, "it is made with the database"
        return self._writer

    def _opened(self) -> PostgresDatabase:
        if self._database is None:
            raise InvalidStateError(f"{self.address.title} is not open")
        return self._database


def _functions(names: Sequence[str]) -> dict[str, object]:
    """Give what is claimed as parameters: functions, and of each its version."""
    pairs = [split_claim_name(name) for name in names]
    return {"functions": [name for name, _ in pairs], "versions": [version for _, version in pairs]}
