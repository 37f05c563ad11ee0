"""Transactions of steps among everything else that is written to PostgreSQL."""

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg import sql

from durably.engine.store import VersionConflict, WakeAt
from durably.stores.postgres import PostgresStore
from durably.stores.postgres_steps import PostgresTransaction
from durably.testing.store_values import LEASE, T0, change, claim_at, creation


async def opened(address: str) -> tuple[PostgresStore, int]:
    """Give a store with a claimed execution, and the claim's epoch."""
    store = PostgresStore(address)
    await store.open()
    await store.append([creation("a", b"0", wake=WakeAt(T0))])
    [claim] = await claim_at(store)
    return store, claim.epoch


async def test_what_is_of_the_same_execution_waits_and_what_is_not_does_not(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, epoch = await opened(address)
    commit = PostgresTransaction.commit
    after: list[asyncio.Task[None]] = []
    ended: list[int] = []

    async def slow(self: Any, parameters: Any) -> bool:
        ended.append(len((await asyncio.wait(after, timeout=0.3))[0]))
        return await commit(self, parameters)

    monkeypatch.setattr(PostgresTransaction, "commit", slow)
    transaction = await store.begin("f/a", psycopg.AsyncConnection, blocking=False)
    first = asyncio.create_task(transaction.append([change("a", 1, b"1", epoch=epoch)]))
    await asyncio.sleep(0)
    after += [
        asyncio.create_task(store.append([change("a", 2, b"2", epoch=epoch)])),
        asyncio.create_task(store.append([creation("b", b"0")])),
        asyncio.create_task(store.append([])),
    ]
    await asyncio.gather(first, *after)
    found = await store.find("f/a")
    await store.close()

    assert found is not None
    assert found.facts == (b"0", b"1", b"2")
    assert ended == [1]


@pytest.mark.parametrize("fence", ["version", "epoch"])
async def test_a_transaction_that_comes_too_late_is_refused_whole(address: str, fence: str) -> None:
    store, epoch = await opened(address)
    transaction = await store.begin("f/a", psycopg.AsyncConnection, blocking=False)
    await transaction.connection.execute("CREATE TABLE left_behind (n integer)")
    late = change("a", 0 if fence == "version" else 1, b"1", epoch=epoch + (fence == "epoch"))

    with pytest.raises(VersionConflict):
        await transaction.append([late])
    again = await store.begin("f/a", psycopg.AsyncConnection, blocking=False)
    found = await again.connection.execute("SELECT to_regclass('left_behind')")
    [[name]] = await found.fetchall()
    await again.abort()
    await store.close()

    assert name is None


async def test_a_commit_that_hangs_is_in_nobody_elses_way(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, epoch = await opened(address)
    await store.append([creation("b", b"0", wake=WakeAt(T0))])
    commit, hangs = PostgresTransaction.commit, asyncio.Event()

    async def hang(self: Any, parameters: Any) -> bool:
        await hangs.wait()
        return await commit(self, parameters)

    monkeypatch.setattr(PostgresTransaction, "commit", hang)
    transaction = await store.begin("f/a", psycopg.AsyncConnection, blocking=False)
    hanging = asyncio.create_task(transaction.append([change("a", 1, b"1", epoch=epoch)]))
    await asyncio.sleep(0)

    assert await store.extend("w", [("f/a", epoch)], T0 + LEASE) == []
    assert [claim.arn for claim in await claim_at(store)] == ["f/b"]
    assert await store.find("f/b") is not None
    assert await store.next_wake_at(["f"]) is not None
    assert not hanging.done()
    hangs.set()
    await hanging
    await store.close()


async def test_who_waits_for_a_row_that_somebody_keeps_waits_alone(
    address: str, postgres: str
) -> None:
    store, _ = await opened(f"{address}&options=-c%20lock_timeout%3D50")
    await store.append([creation("b", b"0")])
    locked = sql.SQL("SELECT FROM {} WHERE arn = 'f/a' FOR UPDATE").format(
        sql.Identifier(store.address.schema, "executions")
    )

    async with await psycopg.AsyncConnection.connect(postgres) as other:
        await other.execute(locked)
        waiting = [asyncio.create_task(store.append([change("a", 1, b"1")]))]
        await asyncio.sleep(0)  # it is a group of its own; the others are the next one
        waiting += [
            asyncio.create_task(store.append([one]))
            for one in (change("a", 2, b"2"), change("a", 3, b"3"), change("b", 1, b"1"))
        ]
        await waiting[3]
        await store.append([creation("c", b"0")])
        assert [one.done() for one in waiting] == [False, False, False, True]
    await asyncio.gather(*waiting)

    found = await store.find("f/a")
    assert found is not None
    assert found.facts == (b"0", b"1", b"2", b"3")
    await store.close()
