"""An engine whose database is taken away: it says so, and acknowledges nothing more."""

import asyncio
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from durably import Engine, StoreReplacedError
from durably.clients.control import ControlClient
from tests.app.functions import ALL

TAKES_OVER = """
import asyncio, sys
from durably import Engine

async def main():
    async with Engine(f"sqlite:{sys.argv[1]}"):
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "durably.db"


def move(path: Path, to: Path) -> None:
    path.rename(to)


async def start_for_ever(engine: Engine) -> None:
    for number in count():
        await engine.start("echo", number, name=f"n{number}")


async def test_an_engine_acknowledges_nothing_while_its_database_is_away(path: Path) -> None:
    async with Engine(f"sqlite:{path}", ALL) as engine:
        assert await (await engine.start("echo", 1, name="before")).result(5) == 1
        away = path.with_name("away.db")
        move(path, away)

        with pytest.raises(StoreReplacedError, match=r"durably\.db was deleted, moved or replaced"):
            await start_for_ever(engine)
        with pytest.raises(StoreReplacedError):
            await engine.start("echo", 1, name="before")

        move(away, path)
        assert await (await engine.start("echo", 2, name="after")).result(20) == 2

    async with Engine(f"sqlite:{path}", ALL) as engine:
        assert await (await engine.get("after")).result(5) == 2


@pytest.mark.process
async def test_the_end_of_an_engine_leaves_the_socket_of_who_took_over_alone(path: Path) -> None:
    async with Engine(f"sqlite:{path}", ALL):
        move(path.with_name("durably.db.lock"), path.with_name("lock"))
        other = subprocess.Popen(  # noqa: ASYNC220, S603 - ours
            [sys.executable, "-c", TAKES_OVER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert other.stdout is not None
        assert await asyncio.to_thread(other.stdout.readline) == b"open\n"

    try:
        assert ControlClient(path).is_answered()
    finally:
        other.communicate(b"\n")
    assert other.returncode == 0
