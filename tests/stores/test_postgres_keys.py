"""A new key in the database: not before every process can know the one that is the newest."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import sql

from durably.stores.postgres import PostgresStore

pytestmark = pytest.mark.timeout(60)

SECOND, THIRD, FOURTH = b"2" * 32, b"3" * 32, b"4" * 32


@pytest.fixture
async def store(address: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(address)
    await store.open()
    yield store
    await store.close()


def let_time_pass(store: PostgresStore, seconds: int) -> None:
    """Have the newest key be older by so much."""
    text = "UPDATE {} SET keyed_at = keyed_at - 1000000 * %s::bigint"
    table = sql.Identifier(store.address.schema, "namespaces")
    with psycopg.connect(store.address.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(text).format(table), [seconds])


async def test_a_key_that_comes_too_soon_is_not_taken(store: PostgresStore) -> None:
    [first] = await store.keys()
    assert await store.add_key(SECOND)
    let_time_pass(store, 270)

    assert not await store.add_key(THIRD)
    assert await store.keys() == (SECOND, first)
    assert await store.add_key(SECOND), "it is the newest already"
    assert not await store.add_key(THIRD)

    let_time_pass(store, 30)
    assert await store.add_key(THIRD)
    assert await store.keys() == (THIRD, SECOND)


async def test_of_two_that_come_at_once_one_is_taken(store: PostgresStore) -> None:
    [first] = await store.keys()

    taken = await asyncio.gather(*map(store.add_key, (SECOND, THIRD, FOURTH)))

    assert sum(taken) == 1
    assert await store.keys() == ((SECOND, THIRD, FOURTH)[taken.index(True)], first)
