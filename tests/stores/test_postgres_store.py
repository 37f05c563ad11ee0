"""What a process on PostgreSQL does by itself: whom it tells, what it keeps, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy
from msgspec.structs import replace
from psycopg import sql
from psycopg.errors import QueryCanceled
from sqlalchemy.ext.asyncio import AsyncConnection as AlchemyConnection

from durably.engine.roster import Presence
from durably.engine.store import Line, VersionConflict, WakeAt
from durably.errors import (
    InvalidStateError,
    StoreCorruptedError,
    StoreFullError,
    StoreUnavailableError,
)
from durably.stores.postgres import PostgresStore
from durably.stores.postgres_together import Together
from durably.testing.store_values import LEASE, T0, change, creation
from tests.stores.postgres_load import wait_until

pytestmark = pytest.mark.timeout(60)

CLOSED = {"status": "SUCCEEDED", "ended_at": T0, "delete_at": T0}


@pytest.fixture
async def store(address: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(address)
    await store.open()
    yield store
    await store.close()


def version_of(name: str, version: str) -> Any:
    made = creation(name, wake=WakeAt(T0))
    return replace(made, summary=replace(made.summary, version=version))


def is_about_to_tell(store: PostgresStore) -> bool:
    assert store._heralds is not None
    return store._heralds.is_about_to


@pytest.mark.parametrize(
    ("served", "version", "is_told"),
    [
        ("f", "$LATEST", "no"),
        ("f", "7", "yes"),
        ("f:8", "8", "no"),
        ("f:8", "$LATEST", "yes"),
    ],
)
async def test_others_are_told_of_what_this_process_does_not_serve(
    store: PostgresStore, served: str, version: str, is_told: str
) -> None:
    await store.claim("w", [served], T0, LEASE, 1)

    await store.append([version_of("a", version)])

    assert is_about_to_tell(store) == (is_told == "yes")


async def test_whoever_has_claimed_all_that_it_may_serves_nothing(store: PostgresStore) -> None:
    await store.append([creation("a", wake=WakeAt(T0))])
    await store.claim("w", ["g"], T0, LEASE, 1)
    await store.claim("w", ["f"], T0, LEASE, 1)
    made = creation("b", wake=WakeAt(T0))

    await store.append([replace(made, summary=replace(made.summary, function_name="g"))])

    assert is_about_to_tell(store)


async def test_whoever_drains_serves_nothing(store: PostgresStore) -> None:
    await store.claim("w", ["f"], T0, LEASE, 1)
    leaving = Presence(
        worker="w", functions=("f",), max_concurrency=1, started_at=T0, lease=LEASE,
        is_draining=True,
    )  # fmt: skip
    await store.announce(leaving)

    await store.append([creation("a", wake=WakeAt(T0))])

    assert is_about_to_tell(store)


async def run(store: PostgresStore, text: str) -> None:
    names = {"schema": sql.Identifier(store.address.schema)}
    async with await psycopg.AsyncConnection.connect(store.address.dsn) as connection:
        await connection.execute(sql.SQL(text).format(**names))


async def test_what_has_expired_is_removed_though_all_at_once_takes_too_long(
    address: str,
) -> None:
    store = PostgresStore(f"{address}&options=-c%20statement_timeout%3D200")
    await store.open()
    old = [creation(str(number), wake=WakeAt(None)) for number in range(50)]
    await store.append([replace(one, summary=replace(one.summary, **CLOSED)) for one in old])
    slow = "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN OLD; END $$"
    await run(store, f"CREATE FUNCTION {{schema}}.slow() {slow}")
    await run(
        store,
        "CREATE TRIGGER slow BEFORE DELETE ON {schema}.executions"
        " FOR EACH ROW EXECUTE FUNCTION {schema}.slow()",
    )

    assert await store.delete_expired(T0, 1000) == 50

    assert await store.delete_expired(T0, 1000) == 0
    await store.close()


async def test_one_that_cannot_be_removed_in_time_is_told_of(address: str) -> None:
    store = PostgresStore(f"{address}&options=-c%20statement_timeout%3D100")
    await store.open()
    old = creation("old", wake=WakeAt(None))
    await store.append([replace(old, summary=replace(old.summary, **CLOSED))])
    slow = "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(9); RETURN OLD; END $$"
    await run(store, f"CREATE FUNCTION {{schema}}.slow() {slow}")
    await run(
        store,
        "CREATE TRIGGER slow BEFORE DELETE ON {schema}.executions"
        " FOR EACH ROW EXECUTE FUNCTION {schema}.slow()",
    )

    with pytest.raises(StoreUnavailableError, match="57014"):
        await store.delete_expired(T0, 1000)

    await store.close()


@pytest.mark.parametrize("what", ["delete", "add_key"])
async def test_what_is_acknowledged_is_on_the_disk(address: str, what: str) -> None:
    store = PostgresStore(f"{address}&options=-c%20synchronous_commit%3Doff")
    await store.open()
    await store.append([creation("a")])
    await run(store, "CREATE TABLE {schema}.seen (setting text)")
    note = "INSERT INTO {schema}.seen VALUES (current_setting('synchronous_commit')); RETURN NULL;"
    await run(
        store,
        "CREATE FUNCTION {schema}.note() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {note} END $$",
    )
    table = {"delete": "executions", "add_key": "namespaces"}[what]
    await run(
        store,
        "CREATE CONSTRAINT TRIGGER note AFTER UPDATE OR DELETE ON {schema}."
        f"{table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {{schema}}.note()",
    )

    await (store.delete("f/a", 1) if what == "delete" else store.add_key(b"k" * 32))

    seen = sql.SQL("SELECT setting FROM {}").format(sql.Identifier(store.address.schema, "seen"))
    async with await psycopg.AsyncConnection.connect(store.address.dsn) as connection:
        [(setting,)] = await (await connection.execute(seen)).fetchall()
    await store.close()
    assert setting == "on"


async def test_a_step_that_waits_for_room_gets_nothing_of_a_store_that_closes(
    address: str,
) -> None:
    store = PostgresStore(f"{address}&pool=1&listen=off")
    await store.open()
    steps = store._steps
    assert steps is not None
    await store.begin("f/a", psycopg.AsyncConnection, blocking=False)
    waiting = asyncio.create_task(store.begin("f/b", psycopg.AsyncConnection, blocking=False))
    await wait_until(lambda: steps._room._waiters)

    await store.close()

    with pytest.raises(InvalidStateError, match="was closed"):
        await waiting
    assert not steps.open
    assert not steps._idle


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_a_connection_whose_wrapper_cannot_be_closed_is_free_again(
    address: str, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    store = PostgresStore(f"{address}&pool=1&listen=off")
    await store.open()
    transaction = await store.begin("f/a", AlchemyConnection, blocking=False)

    async def fail(self: object) -> None:
        raise error

    close = transaction.connection.close
    monkeypatch.setattr(AlchemyConnection, "close", fail)
    with pytest.raises(error):
        await transaction.abort()
    monkeypatch.undo()
    await close()  # else SQLAlchemy complains

    again = await store.begin("f/a", AlchemyConnection, blocking=False)
    [[one]] = (await again.connection.execute(sqlalchemy.text("SELECT 1"))).fetchall()
    assert one == 1
    await again.abort()
    await store.close()


async def test_a_refusal_that_breaks_a_line_is_kept_nowhere_else(store: PostgresStore) -> None:
    await store.append([creation("a")])
    line = Line()

    store.append_soon(replace(change("a", 7, b"late"), line=line))
    await store.append([])

    assert line.is_broken
    assert not store._to_write()._failed
    with pytest.raises(VersionConflict):
        await store.append([replace(change("a", 8, b"rests on it"), line=line)])


async def test_a_group_has_no_more_bytes_than_can_be_sent_in_time(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durably.stores.postgres_writer._MAX_GROUP_BYTES", 1000)
    before = sum(store.tally.group_sizes.amounts)

    await asyncio.gather(
        *(store.append([creation(str(number), b"." * 600)]) for number in range(10))
    )

    assert sum(store.tally.group_sizes.amounts) - before == 5


# Rows that somebody keeps, and what cannot be read


@asynccontextmanager
async def keeping(address: str, store: PostgresStore, names: str) -> AsyncIterator[None]:
    """Keep the rows of executions, as a session that is forgotten does."""
    schema = sql.Identifier(store.address.schema)
    lock = sql.SQL("SELECT FROM {}.executions WHERE name LIKE %s FOR UPDATE").format(schema)
    async with await psycopg.AsyncConnection.connect(store.address.dsn) as connection:
        await connection.execute(lock, [names])
        yield


async def test_a_look_at_what_is_stuck_keeps_nobody_back(
    address: str, store: PostgresStore
) -> None:
    await store.append([creation("a")])
    await store.append([creation("b")])

    async with keeping(address, store, "a"):
        stuck = asyncio.ensure_future(store.append([change("a", 1, b"1")]))
        await wait_until(lambda: store._to_write()._apart)
        looks = asyncio.ensure_future(store.outlines(["f/a", "f/b"]))
        await asyncio.sleep(0)

        await store.append([change("b", 1, b"1")])

        assert not stuck.done()
        assert not looks.done()
    await stuck
    assert {one.version for one in (await looks).values()} == {2}


async def test_those_whose_row_is_free_do_not_wait_for_all_tries_of_the_others(
    address: str, store: PostgresStore
) -> None:
    kept = [f"n{number}" for number in range(store.address.pool // 2)]
    await asyncio.gather(*(store.append([creation(name)]) for name in (*kept, "free")))

    async with keeping(address, store, "n%"):
        stuck = [asyncio.ensure_future(store.append([change(name, 1, b"1")])) for name in kept]
        free = asyncio.ensure_future(store.append([change("free", 1, b"1")]))
        done, _ = await asyncio.wait([*stuck, free], return_when=asyncio.FIRST_COMPLETED)

        assert done == {free}
    await asyncio.gather(*stuck)


async def test_those_who_wait_for_rows_leave_connections_to_others(
    address: str, store: PostgresStore
) -> None:
    names = [f"n{number}" for number in range(20)]
    await asyncio.gather(*(store.append([creation(name)]) for name in names))
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    )
    seen: list[int] = []

    async with (
        keeping(address, store, "n%"),
        await psycopg.AsyncConnection.connect(store.address.dsn, autocommit=True) as admin,
    ):
        stuck = [asyncio.ensure_future(store.append([change(name, 1, b"1")])) for name in names]
        await wait_until(lambda: store._to_write()._apart)
        for _ in range(50):
            found = await (await admin.execute(waiting, [f"%{store.address.schema}%"])).fetchone()
            assert found is not None
            seen.append(found[0])
            await asyncio.sleep(0.01)
    await asyncio.gather(*stuck)

    assert max(seen) == store.address.pool // 2


class Held:
    """The transaction of a step whose commit takes until it is let go."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.let_go = asyncio.Event()

    async def commit(self, parameters: Mapping[str, object]) -> bool:
        self.is_asked.set()
        await self.let_go.wait()
        return True

    def release(self) -> None:
        """There is nothing to be released."""


async def test_whoever_looks_waits_for_what_was_before_him_and_for_nothing_later(
    store: PostgresStore,
) -> None:
    await store.append([creation("a")])
    await store.append([creation("b")])
    writer, first, second = store._to_write(), Held(), Held()

    before = asyncio.ensure_future(writer.append([change("a", 1, b"1")], first))
    await first.is_asked.wait()
    looks = asyncio.ensure_future(writer.settle_of("f/a", "f/b"))
    await asyncio.sleep(0)
    later = asyncio.ensure_future(writer.append([change("b", 1, b"1")], second))
    await second.is_asked.wait()

    assert not looks.done()
    first.let_go.set()
    await looks

    assert not later.done()
    second.let_go.set()
    await asyncio.gather(before, later)


async def test_one_that_cannot_be_read_fails_no_other() -> None:
    async def ask(keys: Sequence[str]) -> Mapping[str, int]:
        asked.append(len(keys))
        if "bad" in keys:
            raise StoreCorruptedError("it is damaged")
        return dict.fromkeys(keys, 1)

    asked: list[int] = []
    together = Together(ask, 50)

    good = [together.find(str(number)) for number in range(9)]
    found = await asyncio.gather(together.find("bad"), *good, return_exceptions=True)

    assert isinstance(found[0], StoreCorruptedError)
    assert found[1:] == [1] * 9
    assert asked == [10] + [1] * 10


@pytest.mark.parametrize(("heavy", "asked_apart"), [(1, 9), (9, 2)])
async def test_what_takes_too_long_is_found_out_and_given_up_where_all_of_it_does(
    heavy: int, asked_apart: int
) -> None:
    async def ask(keys: Sequence[str]) -> Mapping[str, int]:
        asked.append(len(keys))
        if any(int(key) < heavy for key in keys):
            raise StoreUnavailableError("it takes too long") from QueryCanceled()
        return dict.fromkeys(keys, 1)

    asked: list[int] = []
    together = Together(ask, 50)

    looks = [together.find(str(number)) for number in range(9)]
    found = await asyncio.gather(*looks, return_exceptions=True)

    assert sum(isinstance(one, StoreUnavailableError) for one in found) == heavy
    assert asked == [9] + [1] * asked_apart


async def test_a_store_that_cannot_be_reached_is_not_asked_for_each() -> None:
    async def ask(keys: Sequence[str]) -> Mapping[str, int]:
        asked.append(len(keys))
        raise StoreUnavailableError("nobody is there")

    asked: list[int] = []
    together = Together(ask, 50)

    looks = [together.find(str(number)) for number in range(9)]
    found = await asyncio.gather(*looks, return_exceptions=True)

    assert all(isinstance(one, StoreUnavailableError) for one in found)
    assert asked == [9]


async def test_a_failure_that_somebody_was_told_of_is_told_no_second_time(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(address)
    await store.open()
    await store.append([creation("a")])

    async def full(_database: object, _text: bytes, _parameters: object) -> Any:
        raise psycopg.errors.DiskFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr("durably.stores.postgres_database.PostgresDatabase.run", full)
        store.append_soon(change("a", 1, b"1"))
        with pytest.raises(StoreFullError):
            await store.append([change("a", 2, b"2")])

    await store.append([change("a", 1, b"anew")])
    await store.close()
