"""Transactions of steps among everything else that is written to PostgreSQL."""

import asyncio
from typing import Any

import psycopg
import pytest

from durably.engine.store import VersionConflict, WakeAt
from durably.stores.postgres import PostgresStore
from durably.stores.postgres_steps import PostgresTransaction
from durably.testing.store_values import T0, change, claim_at, creation


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
