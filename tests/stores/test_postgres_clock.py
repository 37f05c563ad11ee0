"""The database's clock, as far as a process can know it, and the leases that go by it."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import sql

from durably.engine.store import WakeAt
from durably.stores.instants import from_us
from durably.stores.postgres import PostgresStore
from durably.stores.postgres_clock import DatabaseClock
from durably.testing.store_values import LEASE, T0, change, claim_at, creation
from tests.stores.postgres_load import wait_until
from tests.stores.postgres_proxy import Fault, Proxy
from tests.stores.postgres_server import in_schema

pytestmark = pytest.mark.timeout(60)

ANSWER_SECONDS = 0.5
SECOND = 1_000_000


class StoppedClock(DatabaseClock):
    """Counts no seconds by itself."""

    seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def look(self, instant: float, *, took: float) -> None:
        """Be told at once what took so long."""
        self.take(round(instant * SECOND), self.seconds - took)


@pytest.fixture
async def proxy(postgres: str) -> AsyncIterator[Proxy]:
    async with Proxy(postgres) as proxy:
        yield proxy


def test_an_answer_is_of_the_middle_of_its_time() -> None:
    clock = StoppedClock()

    clock.look(5000, took=0.5)

    assert clock.now() == from_us(round(5000.25 * SECOND))
    assert not clock.is_stale


def test_a_longer_look_changes_nothing_until_the_one_before_is_old() -> None:
    clock = StoppedClock()
    clock.look(5000, took=0.0)
    clock.look(7000, took=0.5)
    assert clock.now() == from_us(5000 * SECOND)
    clock.seconds += 61
    assert clock.is_stale

    clock.look(7000, took=0.5)

    assert clock.now() == from_us(round(7000.25 * SECOND))
    assert not clock.is_stale


def test_a_look_of_seconds_is_never_taken_for_a_short_one_that_is_old() -> None:
    clock = StoppedClock()
    clock.look(5000, took=0.0)
    clock.seconds += 61

    clock.look(7000, took=3.0)

    assert clock.now() == from_us(5061 * SECOND)
    assert clock.is_stale


def test_a_long_look_is_better_than_none_and_a_shorter_one_is_better_yet() -> None:
    clock = StoppedClock()
    clock.look(5000, took=4.0)
    assert clock.now() == from_us(5002 * SECOND)
    assert clock.is_stale

    clock.look(6000, took=2.0)

    assert clock.now() == from_us(6001 * SECOND)
    assert clock.is_stale


@pytest.mark.parametrize("fault", [Fault.AFTER, Fault.SILENCE, Fault.HOLE])
async def test_an_answer_that_is_lost_makes_the_next_one_no_older(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr("durably.stores.postgres_database._ANSWER_SECONDS", ANSWER_SECONDS)
    waiting = [fault] * 2
    proxy.fault = lambda text: (
        waiting.pop() if waiting and text.startswith("SELECT (extract(epoch") else None
    )
    store = PostgresStore(in_schema(proxy.url, listen="off"))

    await store.open()
    await store.close()

    assert proxy.fired == {fault: 2}
    assert store.clock._uncertainty < ANSWER_SECONDS  # a try that takes longer is given up


async def test_whoever_claims_nothing_looks_again_as_well(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    monkeypatch.setattr("durably.stores.postgres_clock._STALE_SECONDS", 0.01)

    def count(text: str) -> Fault | None:
        nonlocal looks
        is_look = text.startswith("SELECT (extract(epoch")
        looks += is_look
        return Fault.BEFORE if is_look and looks % 3 == 0 else None

    proxy.fault = count
    store = PostgresStore(in_schema(proxy.url, listen="off"))
    await store.open()

    await wait_until(lambda: looks > 10)

    await store.close()


async def test_a_lease_lasts_longer_by_the_time_that_its_extension_was_tried_in_vain(
    proxy: Proxy,
) -> None:
    store = PostgresStore(in_schema(proxy.url, listen="off"))
    await store.open()
    await store.append([creation("a", wake=WakeAt(T0))])
    [claim] = await claim_at(store)
    waiting = [Fault.BEFORE, Fault.AFTER]
    proxy.fault = lambda text: waiting.pop(0) if waiting and ".extend(" in text else None

    assert await store.extend("w", [("f/a", claim.epoch)], T0 + LEASE) == []

    assert not waiting
    found = await store.find("f/a")
    await store.close()
    assert found is not None
    assert found.wake_at is not None
    assert found.wake_at > T0 + LEASE


async def test_leases_are_locked_in_the_order_of_groups_and_what_is_locked_stays_claimed(
    address: str, postgres: str
) -> None:
    store = PostgresStore(address)
    await store.open()
    await store.append([creation(name, wake=WakeAt(T0)) for name in "cba"])
    claims = {claim.arn: claim.epoch for claim in await claim_at(store)}
    table = sql.Identifier(store.address.schema, "executions")
    lock = sql.SQL("SELECT arn FROM {} WHERE arn = {} FOR UPDATE {}")

    async with await psycopg.AsyncConnection.connect(postgres) as other:
        await other.execute(lock.format(table, "f/b", sql.SQL("")))
        extending = asyncio.create_task(store.extend("w", list(claims.items()), T0 + 2 * LEASE))
        with psycopg.connect(postgres, autocommit=True) as third:
            waits = (
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
            )
            mine = [f"%{store.address.schema}%extend(%"]
            await wait_until(lambda: third.execute(waits, mine).fetchall())
            third.execute(lock.format(table, "f/c", sql.SQL("NOWAIT")))
            with pytest.raises(psycopg.errors.LockNotAvailable):
                third.execute(lock.format(table, "f/a", sql.SQL("NOWAIT")))
        gone = await extending

    ends = {arn: found.wake_at for arn in claims if (found := await store.find(arn))}
    await store.close()
    assert gone == []
    assert ends == {"f/a": T0 + 2 * LEASE, "f/b": T0 + LEASE, "f/c": T0 + 2 * LEASE}


async def test_leases_are_extended_beside_groups_and_each_other(address: str) -> None:
    stores = [PostgresStore(address) for _ in range(2)]
    for store in stores:
        await store.open()
    names = [str(number) for number in range(40)]
    await stores[0].append([creation(name, wake=WakeAt(T0)) for name in names])
    claims = await stores[0].claim("w", ["f"], T0, LEASE, 40)
    epochs = [(claim.arn, claim.epoch) for claim in claims]

    for version in range(1, 6):
        changes = [change(name, version, b"1") for name in names]
        extended = await asyncio.gather(
            *(store.extend("w", order, T0 + version * LEASE)
              for store in stores for order in (epochs, epochs[::-1])),
            stores[0].append(changes),
        )  # fmt: skip
        assert extended[:4] == [[], [], [], []]

    found = await stores[1].next_wake_at(["f"])
    for store in stores:
        await store.close()
    assert found == T0 + 5 * LEASE
