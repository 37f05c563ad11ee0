"""The SQLite store when its files are deleted, moved or replaced under it: it writes no more."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from durably.errors import StoreLockedError, StoreReplacedError
from durably.stores.sqlite import SqliteStore
from durably.testing.store_values import claim_at, creation, facts_of

ENDS = ("", "-wal", "-shm", ".lock")

TAKES_OVER = """
import asyncio, sys
from durably.stores.sqlite import SqliteStore
from durably.testing.store_values import creation, facts_of

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await store.append([creation("theirs")])
    print(await facts_of(store, "f/before"))
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "durably.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    await store.append([creation("before")])
    yield store
    await store.close()


def beside(path: Path, end: str) -> Path:
    return path.with_name(f"{path.name}{end}")


def contents(path: Path) -> list[Path]:
    return list(path.parent.iterdir())


def delete(file: Path) -> None:
    file.unlink()


def move(file: Path, to: Path | None = None) -> None:
    file.rename(to or f"{file}.moved")


def replace(file: Path) -> None:
    copy = Path(f"{file}.copy")
    shutil.copyfile(file, copy)
    copy.rename(file)


async def refusal(store: SqliteStore, acknowledged: list[str] | None = None) -> StoreReplacedError:
    """Write until that is refused: it may be noticed a little later."""
    for number in count():
        try:
            await store.append([creation(f"after-{number}")])
        except StoreReplacedError as error:
            return error
        if acknowledged is not None:
            acknowledged.append(f"after-{number}")
    raise AssertionError


@pytest.mark.parametrize("spoil", [delete, move, replace])
@pytest.mark.parametrize("end", ENDS)
async def test_a_file_that_is_no_longer_the_same_is_noticed(
    store: SqliteStore, path: Path, end: str, spoil: Callable[[Path], None]
) -> None:
    file = beside(path, end)
    spoil(file)

    refused = await refusal(store)

    assert str(refused).startswith(f"{file} was deleted, moved or replaced while it was open")
    assert "put it there, or end this process" in str(refused)
    for _ in range(2):
        with pytest.raises(StoreReplacedError):
            await store.append([creation("late")])
        with pytest.raises(StoreReplacedError):
            await store.find("f/before")
        with pytest.raises(StoreReplacedError):
            await claim_at(store)


async def test_a_file_that_is_put_back_is_gone_on_with(store: SqliteStore, path: Path) -> None:
    away = path.with_name("away.db")
    move(path, away)
    await refusal(store)

    move(away, path)

    await store.append([creation("again")])
    assert await facts_of(store, "f/before") == (b"started",)


@pytest.mark.process
async def test_who_takes_over_after_the_lock_was_deleted_has_the_file_alone(
    store: SqliteStore, path: Path
) -> None:
    delete(beside(path, ".lock"))
    told = subprocess.run(  # noqa: ASYNC221, S603 - ours, and nothing else is to be done meanwhile
        [sys.executable, "-c", TAKES_OVER, str(path)], capture_output=True, text=True, check=True
    )

    assert told.stdout == "(b'started',)\n"
    with pytest.raises(StoreReplacedError, match=r"durably\.db\.lock was deleted"):
        await store.append([creation("ours")])
    reader = SqliteStore(path, read_only=True)
    await reader.open()
    assert await facts_of(reader, "f/theirs") == (b"started",)
    assert await reader.find("f/ours") is None
    await reader.close()


@pytest.mark.process
async def test_nothing_acknowledged_is_lost_while_another_process_takes_over(
    store: SqliteStore, path: Path
) -> None:
    taking_over = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TAKES_OVER, str(path), stdout=asyncio.subprocess.DEVNULL
    )
    delete(beside(path, ".lock"))
    acknowledged: list[str] = []
    await refusal(store, acknowledged)

    assert await taking_over.wait() == 0
    reader = SqliteStore(path, read_only=True)
    await reader.open()
    for name in ("theirs", *acknowledged):
        assert await facts_of(reader, f"f/{name}") == (b"started",)
    await reader.close()


async def test_another_store_of_this_process_is_refused_though_the_lock_was_deleted(
    store: SqliteStore, path: Path
) -> None:
    delete(beside(path, ".lock"))

    with pytest.raises(StoreLockedError, match="held by this very process"):
        await SqliteStore(path).open()


async def test_another_file_is_not_taken_for_this_one_after_a_failed_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_failing = False

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *parameters: object) -> sqlite3.Cursor:
            if is_failing and statement.startswith("INSERT"):
                error = sqlite3.OperationalError("the disk says no")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            return super().execute(statement, *parameters)  # type: ignore[arg-type]  # as given

    connect = sqlite3.connect
    opened: list[str] = []

    def connect_here(name: str, **how: Any) -> sqlite3.Connection:
        opened.append(name)
        return connect(name, factory=Connection, **how)

    monkeypatch.setattr("durably.stores.sqlite_file.sqlite3.connect", connect_here)
    other = SqliteStore(path.with_name("other.db"))
    await other.open()
    await other.close()
    store = SqliteStore(path)
    await store.open()
    is_failing = True
    with pytest.raises(Exception, match="the disk says no"):
        await store.append([creation("a")])

    move(other.path, path)
    is_failing = False
    opened.clear()

    with pytest.raises(StoreReplacedError):
        await store.append([creation("a")])
    assert opened == []
    await store.close()


@pytest.mark.process
@pytest.mark.parametrize("read_only", [False, True])
async def test_a_second_store_of_this_process_costs_the_first_none_of_its_locks(
    store: SqliteStore, path: Path, *, read_only: bool
) -> None:
    second = SqliteStore(path, read_only=read_only)
    if read_only:
        await second.open()
        await second.close()
    else:
        with pytest.raises(StoreLockedError, match="this very process"):
            await second.open()
    program = (
        f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('PRAGMA user_version')"
    )

    # With those locks gone, this last connection would write the log back and remove it.
    subprocess.run([sys.executable, "-c", f"{program}; c.close()"], check=True)  # noqa: ASYNC221, S603 - ours

    assert "durably.db-wal" in {file.name for file in contents(path)}
    await store.append([creation("after")])
