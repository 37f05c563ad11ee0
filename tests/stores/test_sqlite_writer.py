"""How the SQLite store groups what it writes, and what becomes of it when writing fails."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from durably.engine.store import VersionConflict, WakeAt
from durably.errors import StoreError, StoreFullError, StoreUnavailableError
from durably.stores.sqlite import SqliteStore
from durably.testing.store_values import T0, change, claim_at, creation, facts_of

FRAME_BYTES = 4096 + 24  # a page in the log


class Disk:
    """Makes SQLite fail where a test says so."""

    def __init__(self) -> None:
        self.failing: Callable[[str], int | None] = lambda statement: None
        self.failures = 0

    def fail(self, *starts: str, code: int = sqlite3.SQLITE_IOERR_FSYNC) -> None:
        self.failing = lambda statement: code if statement.startswith(starts) else None

    def heal(self) -> None:
        self.failing = lambda statement: None

    def check(self, statement: str) -> None:
        code = self.failing(statement)
        if code is not None:
            self.failures += 1
            error = sqlite3.OperationalError("the disk says no")
            error.sqlite_errorcode = code
            error.sqlite_errorname = "SQLITE_TEST"
            raise error


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            disk.check(statement)
            return super().execute(statement, *parameters)

        def rollback(self) -> None:
            disk.check("ROLLBACK")
            super().rollback()

    connect = sqlite3.connect

    def connect_here(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        disk.check("connect")
        return connect(*args, factory=Connection, **kwargs)

    monkeypatch.setattr("durably.stores.sqlite_file.sqlite3.connect", connect_here)
    return disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "durably.db"


@pytest.fixture
async def store(path: Path, disk: Disk) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    yield store
    disk.heal()
    await store.close()


async def outcomes(*calls: Awaitable[None]) -> list[BaseException | None]:
    return list(await asyncio.gather(*calls, return_exceptions=True))


def log_bytes(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


async def test_appends_that_wait_are_written_together(store: SqliteStore, path: Path) -> None:
    names = [str(number) for number in range(100)]
    await store.append([creation(name) for name in names])
    before = log_bytes(path)

    for version in (1, 2):
        await asyncio.gather(*(store.append([change(name, version, b"x")]) for name in names))

    assert log_bytes(path) - before < 40 * FRAME_BYTES


async def test_a_soon_change_costs_no_transaction_of_its_own(
    store: SqliteStore, path: Path
) -> None:
    await store.append([creation("a")])
    before = log_bytes(path)

    for version in range(1, 101, 2):
        store.append_soon(change("a", version, b"x"))
        await store.append([change("a", version + 1, b"x")])

    assert log_bytes(path) - before <= 50 * 2.5 * FRAME_BYTES


async def test_a_failed_commit_fails_all_that_it_would_have_written(
    store: SqliteStore, disk: Disk
) -> None:
    await store.append([creation("a"), creation("b"), creation("c")])
    disk.fail("COMMIT", "INSERT INTO facts")

    answers = await outcomes(*(store.append([change(name, 1, b"lost")]) for name in "abc"))
    disk.heal()

    assert [type(answer) for answer in answers] == [StoreUnavailableError] * 3
    assert len({id(answer) for answer in answers}) == 3
    for name in "abc":
        assert await facts_of(store, f"f/{name}") == (b"started",)
        await store.append([change(name, 1, b"1")])


async def test_a_failed_commit_is_not_tried_again(store: SqliteStore, disk: Disk) -> None:
    await store.append([creation("a")])
    disk.fail("INSERT INTO facts")

    with pytest.raises(StoreUnavailableError):
        await store.append([change("a", 1, b"lost")])

    assert disk.failures == 1


async def test_what_failed_does_not_come_back(store: SqliteStore, disk: Disk, path: Path) -> None:
    await store.append([creation("a")])
    disk.fail("COMMIT")
    with pytest.raises(StoreError):
        await store.append([change("a", 1, b"lost", wake=WakeAt(T0))])
    disk.heal()

    await store.close()
    await store.open()

    stored = await store.find("f/a")
    assert stored is not None
    assert (stored.facts, stored.wake_at) == ((b"started",), None)


@pytest.mark.parametrize(
    "statement", ["BEGIN IMMEDIATE", "INSERT INTO executions", "UPDATE", "COMMIT"]
)
async def test_a_full_disk_leaves_nothing_half_done(
    store: SqliteStore, disk: Disk, statement: str
) -> None:
    await store.append([creation("a")])
    both = [change("a", 1, b"1", wake=WakeAt(T0)), creation("b", wake=WakeAt(T0))]
    disk.fail(statement, code=sqlite3.SQLITE_FULL)

    with pytest.raises(StoreFullError, match="Make room"):
        await store.append(both)
    assert await facts_of(store, "f/a") == (b"started",)
    assert await store.find("f/b") is None

    disk.heal()
    await store.append(both)
    assert {claim.arn for claim in await claim_at(store)} == {"f/a", "f/b"}


async def test_a_claim_that_could_not_be_written_is_none(store: SqliteStore, disk: Disk) -> None:
    await store.append([creation("a", wake=WakeAt(T0))])
    disk.fail("UPDATE", "COMMIT")
    with pytest.raises(StoreUnavailableError):
        await claim_at(store)
    disk.heal()

    [claim] = await claim_at(store)

    assert (claim.epoch, claim.is_takeover) == (1, False)


async def test_a_soon_change_that_fails_fails_the_next_append(
    store: SqliteStore, disk: Disk
) -> None:
    await store.append([creation("a"), creation("b")])
    disk.fail("INSERT INTO facts")
    store.append_soon(change("a", 1, b"lost"))
    await store.find("f/a")
    disk.heal()

    await store.append([change("b", 1, b"1")])
    with pytest.raises(StoreUnavailableError):
        await store.append([change("a", 1, b"1")])

    assert await facts_of(store, "f/a") == (b"started",)
    await store.append([change("a", 1, b"1")])


async def test_closing_says_that_a_soon_change_was_lost(path: Path, disk: Disk) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.append([creation("a")])
    disk.fail("INSERT INTO facts")
    store.append_soon(change("a", 1, b"lost"))

    with pytest.raises(StoreUnavailableError):
        await store.close()

    disk.heal()
    await store.open()
    assert await facts_of(store, "f/a") == (b"started",)
    await store.close()


async def test_a_reader_is_not_disturbed_by_what_others_could_not_write(
    store: SqliteStore, disk: Disk
) -> None:
    await store.append([creation("a")])
    disk.fail("INSERT INTO facts")

    call = asyncio.ensure_future(store.append([change("a", 1, b"lost")]))
    await asyncio.sleep(0)

    assert await facts_of(store, "f/a") == (b"started",)
    assert isinstance((await outcomes(call))[0], StoreUnavailableError)


async def test_while_the_file_cannot_be_opened_again_every_call_says_so(
    store: SqliteStore, disk: Disk
) -> None:
    await store.append([creation("a")])
    disk.fail("COMMIT", "INSERT INTO facts", "ROLLBACK", "connect", code=sqlite3.SQLITE_CANTOPEN)

    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await store.append([change("a", 1, b"1", wake=WakeAt(T0))])

    disk.heal()
    await store.append([change("a", 1, b"1")])
    assert await facts_of(store, "f/a") == (b"started", b"1")


async def test_a_value_that_cannot_be_stored_fails_only_its_own_call(store: SqliteStore) -> None:
    lone_surrogate = creation("\ud800")
    names = ("a", "b")

    answers = await outcomes(
        store.append([creation("a")]),
        store.append([lone_surrogate]),
        store.append([creation("b")]),
        store.append([change("unknown", 1, b"1")]),
    )

    assert [type(answer) for answer in answers] == [
        type(None),
        UnicodeEncodeError,
        type(None),
        VersionConflict,
    ]
    for name in names:
        assert await facts_of(store, f"f/{name}") == (b"started",)


async def test_a_cancelled_append_leaves_others_alone(store: SqliteStore) -> None:
    await store.append([creation("b")])
    first, cancelled, other = (
        asyncio.ensure_future(store.append([change("b", version, b"x")])) for version in (1, 2, 3)
    )
    await asyncio.sleep(0)

    cancelled.cancel()
    await asyncio.gather(first, other)

    assert cancelled.cancelled()
    assert len(await facts_of(store, "f/b")) == 4


async def test_work_that_is_alone_gives_way_to_others(store: SqliteStore) -> None:
    await store.append([creation("a")])
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    for version in range(1, 41):
        await store.append([change("a", version, b"x")])
    counting.cancel()

    assert turns >= 20


async def test_closing_writes_what_is_still_waiting(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.append([creation("a"), creation("b")])
    calls = [asyncio.ensure_future(store.append([change(name, 1, b"1")])) for name in "ab"]
    store.append_soon(creation("c"))
    await asyncio.sleep(0)

    await store.close()

    assert await outcomes(*calls) == [None, None]
    await store.open()
    for name, facts in (("a", 2), ("b", 2), ("c", 1)):
        assert len(await facts_of(store, f"f/{name}")) == facts
    await store.close()


async def test_an_error_of_sqlite_that_has_no_class_is_a_store_error(
    store: SqliteStore, disk: Disk
) -> None:
    disk.fail("INSERT INTO executions", code=sqlite3.SQLITE_CONSTRAINT_UNIQUE)

    answers = await outcomes(
        *(store.append([replace(creation(name), callback_ids=(name,))]) for name in "ab")
    )

    assert [type(answer) for answer in answers] == [StoreError, StoreError]
