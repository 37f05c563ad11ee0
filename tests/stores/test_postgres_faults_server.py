"""Workers go on by themselves after what befalls their server: it crashes, or takes nothing."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from durably.errors import StoreFullError, StoreReadOnlyError
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


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Give a file system that is soon full."""
    folder = Path(tempfile.mkdtemp(prefix="durably-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or not is_done(*mount):
        folder.rmdir()
        pytest.skip("a disk can only be filled where this user may mount one")
    yield folder
    assert is_done("umount", str(folder))
    folder.rmdir()


def is_done(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - ours


async def test_a_server_whose_disk_is_full_for_a_while_stops_nobody_for_good(
    small_disk: Path,
) -> None:
    server = OwnServer(small_disk)
    url = in_schema(server.url)
    try:
        async with fleet(url, url) as engines:
            arns = await start(engines[0], 10)
            ballast = fill(small_disk)
            error = await refusal(lambda: engines[0].start(order, "." * 1_000_000))
            starting = asyncio.ensure_future(start(engines[1], 20))
            again = await refusal(lambda: engines[1].start(order, "." * 1_000_000))
            ballast.unlink()

            assert isinstance(error, StoreFullError)
            assert isinstance(again, StoreFullError)
            arns += await starting
            await check(engines[0], arns)
    finally:
        server.end()


def fill(disk: Path) -> Path:
    """Fill a file system to its last byte with one file."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    return ballast
