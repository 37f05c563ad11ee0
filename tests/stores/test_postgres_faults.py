"""Workers go on by themselves after what networks, poolers and operators do to their database."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from random import Random

import psycopg
import pytest
from psycopg import sql

from durably import Engine
from durably.clock import SystemClock
from durably.engine.store import Query
from durably.errors import StoreUnavailableError
from durably.stores.postgres import PostgresStore
from durably.stores.postgres_address import PostgresAddress
from durably.stores.postgres_database import PostgresDatabase, Row
from durably.stores.postgres_hints import Hints
from durably.wire.history import Event
from tests.stores.postgres_load import check, fleet, order, start, wait_until
from tests.stores.postgres_proxy import Fault, Proxy
from tests.stores.postgres_server import in_schema

pytestmark = pytest.mark.timeout(60)

ANSWER_SECONDS = 0.5
MANY_FAILURES = 1100  # for 90 minutes


@pytest.fixture
async def proxy(postgres: str) -> AsyncIterator[Proxy]:
    async with Proxy(postgres) as proxy:
        yield proxy


@pytest.fixture
def admin(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


def grow_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait no longer for an answer; not before the schema is made, which takes what it takes."""
    monkeypatch.setattr("durably.stores.postgres_database._ANSWER_SECONDS", ANSWER_SECONDS)


def beside(proxy: Proxy, postgres: str) -> tuple[str, str]:
    """Give the addresses of one schema, through the proxy and past it."""
    past = in_schema(postgres)
    return in_schema(proxy.url, schema=past.rpartition("schema=")[2]), past


# Lost answers


@pytest.mark.parametrize("parameters", [{}, {"pool": "1", "listen": "off"}], ids=["usual", "one"])
async def test_after_answers_were_lost_at_random_all_is_done_and_nothing_twice(
    proxy: Proxy, parameters: dict[str, str]
) -> None:
    url = in_schema(proxy.url, **parameters)
    random = Random(7)  # noqa: S311 - which answers are lost is no secret
    faults = (Fault.BEFORE, Fault.UNCOMMITTED, Fault.AFTER)

    async with fleet(url, url) as engines:
        proxy.fault = lambda _: random.choice(faults) if random.random() < 0.15 else None
        arns = await start(engines[0], 20)
        await wait_until(lambda: proxy.fired.total() > 60)
        proxy.fault = lambda _: None

        await check(engines[1], arns)

    assert all(proxy.fired[fault] for fault in faults)


@pytest.mark.parametrize("fault", [Fault.HOLE, Fault.SILENCE])
async def test_connections_that_nothing_is_heard_of_are_given_up(
    proxy: Proxy, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = in_schema(proxy.url)
    waiting = [fault] * 4

    async with fleet(url) as [engine]:
        grow_impatient(monkeypatch)
        proxy.fault = lambda text: waiting.pop() if waiting and "append(" in text else None
        arns = await start(engine, 3)

        await check(engine, arns)

    assert proxy.fired == {fault: 4}


async def test_a_network_that_swallows_everything_for_a_while_stops_nobody_for_good(
    proxy: Proxy, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    through, direct = beside(proxy, postgres)

    async with fleet(through, direct) as [cut_off, other]:
        grow_impatient(monkeypatch)
        arns = await start(cut_off, 5)
        proxy.fault = lambda _: Fault.HOLE
        await wait_until(lambda: proxy.fired[Fault.HOLE] > 5)
        arns += await start(other, 5)
        await check(other, arns)
        proxy.fault = lambda _: None

        arns += await start(cut_off, 5)
        await check(cut_off, arns)


async def test_after_backends_were_terminated_at_random_all_is_done_and_nothing_twice(
    admin: psycopg.Connection, postgres: str
) -> None:
    url = in_schema(postgres)
    name = url.rpartition("schema=")[2].replace("test ", "test")
    mine = f"{url}&application_name={name}"
    terminate = (
        "SELECT count(pg_terminate_backend(pid)) FROM ("
        " SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY random() LIMIT 2"
        ") AS one"
    )
    ended = 0

    async with fleet(mine, mine) as engines:
        starting = asyncio.ensure_future(start(engines[0], 20))
        while ended < 60:
            [amount] = admin.execute(terminate, [name]).fetchone() or (0,)
            ended += amount
            await asyncio.sleep(0.02)

        await check(engines[1], await starting)


# Poolers


async def test_workers_behind_a_pooler_of_transactions_share_the_work_though_nobody_is_told(
    postgres: str,
) -> None:
    async with Proxy(postgres, pools=True) as pooler:
        url = in_schema(pooler.url)
        async with fleet(url, url) as engines:
            arns = await start(engines[0], 10)

            await check(engines[1], arns)
            await engines[0].stop(await engines[1].start(order, 1, name="stopped"))
            listed = await engines[1].list(Query(execution_name="stopped"))

    assert [one.summary.status for one in listed.executions] == ["STOPPED"]


async def test_workers_that_may_not_listen_share_the_work(proxy: Proxy) -> None:
    url = in_schema(proxy.url)
    proxy.fault = lambda text: (
        Fault.BEFORE if text.startswith("SELECT") and ".listen(" in text else None
    )

    async with fleet(url, url) as engines:
        await check(engines[1], await start(engines[0], 10))

    assert proxy.fired[Fault.BEFORE] >= 2


async def test_whoever_listens_does_not_give_up_however_often_it_fails(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durably.stores.postgres_hints._MAX_PAUSE_SECONDS", 0.0)
    database = PostgresDatabase(PostgresAddress.parse(postgres))
    connect, heard, failures = database.connect, asyncio.Event(), 0

    async def fail() -> psycopg.AsyncConnection[Row]:
        nonlocal failures
        failures += 1
        if failures > MANY_FAILURES:
            heard.set()
            return await connect()
        raise StoreUnavailableError("no connection")

    monkeypatch.setattr(database, "connect", fail)
    hints = Hints(database, 0, lambda _: None)
    await heard.wait()
    await hints.close()

    assert failures > MANY_FAILURES


# Settings


async def test_strict_time_outs_of_the_database_stop_nobody(postgres: str) -> None:
    strict = {
        "statement_timeout": 250, "lock_timeout": 100, "idle_in_transaction_session_timeout": 5,
        "idle_session_timeout": 100,
    }  # fmt: skip
    options = "%20".join(f"-c%20{name}%3D{value}" for name, value in strict.items())
    url = in_schema(postgres, options=options)

    async with fleet(url, url) as engines:
        arns = await start(engines[0], 30)

        await check(engines[1], arns)


@pytest.mark.parametrize("zone", ["Pacific/Chatham", "Asia/Kathmandu", "America/St_Johns"])
async def test_the_time_zone_of_the_database_changes_nothing(
    admin: psycopg.Connection, postgres: str, zone: str
) -> None:
    settings = f"-c%20TimeZone%3D{zone}%20-c%20DateStyle%3DSQL,DMY%20-c%20IntervalStyle%3Diso_8601"
    url = in_schema(postgres, options=settings)
    now = "SELECT clock_timestamp()"
    before = admin.execute(now).fetchone()

    async with fleet(url) as [engine]:
        events = await check(engine, await start(engine, 2))

    after = admin.execute(now).fetchone()
    assert before is not None
    assert after is not None
    assert all(before[0] <= event.event_timestamp <= after[0] for event in events)


async def test_clocks_of_machines_ten_minutes_apart_are_no_matter(
    admin: psycopg.Connection, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = in_schema(postgres)
    before = admin.execute("SELECT clock_timestamp()").fetchone()
    stores = []
    for minutes in (-10, 10):
        monkeypatch.setattr(SystemClock, "now", shifted(minutes))
        stores.append(PostgresStore(url))
    monkeypatch.undo()
    assert (stores[1].clock.now() - stores[0].clock.now()).total_seconds() > 1100

    engines = [Engine(url, [order], lease=2) for _ in stores]
    for engine, store in zip(engines, stores, strict=True):
        engine._store = store
    async with engines[0], engines[1]:
        events = await check(engines[1], await start(engines[0], 10))

    after = admin.execute("SELECT clock_timestamp()").fetchone()
    assert before is not None
    assert after is not None
    assert all(before[0] <= event.event_timestamp <= after[0] for event in events)
    assert not [one for one in events if has_failed(one)]


def has_failed(event: Event) -> bool:
    details = event.invocation_completed_details
    return details is not None and details.error is not None and details.error.payload is not None


def shifted(minutes: int) -> Callable[[SystemClock], datetime]:
    """Give a `now` that is so many minutes off."""
    return lambda clock: _now(clock) + timedelta(minutes=minutes)


_now = SystemClock.now


# Others that are first


async def test_a_namespace_that_another_process_makes_meanwhile_is_found(
    postgres: str, admin: psycopg.Connection
) -> None:
    url = in_schema(postgres)
    schema = PostgresAddress.parse(url).schema
    first = PostgresStore(url)
    await first.open()
    await first.close()
    made = sql.SQL("INSERT INTO {} (name, keys) VALUES ('shop', ARRAY['k'::bytea])")
    with psycopg.connect(postgres) as rival:
        rival.execute(made.format(sql.Identifier(schema, "namespaces")))
        store = PostgresStore(f"{url}&namespace=shop")
        opening = asyncio.create_task(store.open())
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
        await wait_until(lambda: bool(admin.execute(waits).fetchall()))
        rival.commit()

    await opening
    assert await store.keys() == (b"k",)
    await store.close()
