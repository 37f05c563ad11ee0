"""Whoever only looks at a database writes nothing to it: not even the namespace."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from durably import SyncEngine
from durably.cli.stores import read
from durably.engine.service import Service
from durably.engine.store import Query
from durably.errors import StoreUnavailableError
from durably.stores.postgres import PostgresStore
from durably.stores.postgres_address import PostgresAddress
from tests.stores.postgres_load import order
from tests.stores.postgres_server import in_schema
from tests.stores.postgres_standby import WithStandby

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def server() -> Iterator[WithStandby]:
    server = WithStandby()
    yield server
    server.end()


async def titles(service: Service) -> list[str]:
    """Look at all executions, and give their names and results."""
    page = await service.list(Query())
    found = [await service.get(one.arn) for one in page.executions]
    return [f"{one.execution_name} {one.result}" for one in found]


def test_a_namespace_that_is_not_there_is_told_of_and_not_made(address: str) -> None:
    with SyncEngine(address):
        pass
    table = sql.Identifier(PostgresAddress.parse(address).schema, "namespaces")
    count = sql.SQL("SELECT name FROM {}").format(table)

    with pytest.raises(StoreUnavailableError, match=r"namespace typo.* has no such namespace"):
        read(f"{address}&namespace=typo", titles)

    with psycopg.connect(PostgresAddress.parse(address).dsn) as connection:
        assert connection.execute(count).fetchall() == [("default",)]


async def test_a_namespace_is_made_by_who_comes_to_stay_and_found_by_who_looks(
    address: str,
) -> None:
    first, second = PostgresStore(address), PostgresStore(address)
    visitor = PostgresStore(address, is_visitor=True)

    await asyncio.gather(first.open(), second.open())
    await visitor.open()

    assert await first.keys() == await second.keys() == await visitor.keys()
    for store in (first, second, visitor):
        await store.close()


def test_a_standby_shows_what_there_is(server: WithStandby) -> None:
    schema = "looked at"
    with SyncEngine(in_schema(server.url, schema=schema), functions=[order]) as engine:
        engine.start(order, 1, name="one").result()
    server.await_standby()

    shown = read(in_schema(server.standby_url, schema=schema), titles)

    assert shown == read(in_schema(server.url, schema=schema), titles)
    assert len(shown) == 1
