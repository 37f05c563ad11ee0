"""Workers go on by themselves after what befalls their server: it crashes, or takes nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import psycopg
import pytest

from durably.errors import StoreReadOnlyError
from tests.stores.postgres_load import check, fleet, order, start
from tests.stores.postgres_server import OwnServer, in_schema

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    server = OwnServer()
    yield server
    server.end()


@pytest.mark.parametrize("how", ["crash", "kill"])
async def test_a_server_that_crashes_under_load_loses_nothing_that_was_acknowledged(
    server: OwnServer, how: str
) -> None:
    url = in_schema(server.url)
    arns: list[str] = []
    async with fleet(url, url) as engines:
        for _ in range(2):
            before = postmaster(server)
            starting = asyncio.ensure_future(start(engines[0], 10))
            arns += await start(engines[1], 10)
            await asyncio.to_thread(getattr(server, how))
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(server.url)
            await asyncio.to_thread(server.start)
            assert postmaster(server) != before
            arns += await starting

        await check(engines[1], arns)


def postmaster(server: OwnServer) -> object:
    """Say since when the server runs."""
    with psycopg.connect(server.url) as connection:
        return connection.execute("SELECT pg_postmaster_start_time()").fetchone()


def settle(server: OwnServer, statement: str) -> None:
    """Change a setting of the whole server."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(statement.encode())
        connection.execute("SELECT pg_reload_conf()")


async def test_a_database_that_is_read_only_for_a_while_stops_nobody_for_good(
    server: OwnServer,
) -> None:
    url = in_schema(server.url)
    async with fleet(url) as [engine]:
        arns = await start(engine, 5)
        settle(server, "ALTER SYSTEM SET default_transaction_read_only = on")
        try:
            error = await refusal(lambda: engine.start(order, 1))
        finally:
            settle(server, "ALTER SYSTEM RESET default_transaction_read_only")

        assert isinstance(error, StoreReadOnlyError)
        assert "standby" in str(error)
        arns += await start(engine, 5)
        await check(engine, arns)


async def refusal(do: Callable[[], Awaitable[object]]) -> Exception:
    """Do something until it is refused; give the error."""
    while True:
        try:
            await do()
        except Exception as error:  # noqa: BLE001 - it is looked at
            return error
        await asyncio.sleep(0.01)


async def test_connections_that_the_server_has_no_room_for_are_waited_for(
    server: OwnServer,
) -> None:
    url = in_schema(server.url, pool="8")
    async with fleet(url) as [engine]:
        others: list[psycopg.Connection] = []
        with suppress(psycopg.OperationalError):
            while True:
                others.append(psycopg.connect(server.url, autocommit=True))
        assert len(others) > 50
        ended = await asyncio.gather(start(engine, 10), closed(others))

        await check(engine, ended[0])


async def closed(connections: list[psycopg.Connection]) -> None:
    for connection in connections:
        connection.execute("SELECT pg_sleep(0.002)")
        connection.close()
        await asyncio.sleep(0)
