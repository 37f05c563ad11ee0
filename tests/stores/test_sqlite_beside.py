"""The SQLite store without a thread: what stands for it does the same work."""

import threading
from pathlib import Path

import pytest

from durably.stores.sqlite import SqliteStore
from durably.testing.clock import ManualClock
from durably.testing.store_suite import StoreSuite
from durably.testing.store_values import change, creation
from tests.simulator.sqlite_disk import InLoop


class TestSqliteStoreWithoutAThread(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SqliteStore:
        return SqliteStore(tmp_path / "durably.db", beside=InLoop)


async def test_nothing_is_done_beside_the_loop_when_something_stands_for_the_thread(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    store = SqliteStore(tmp_path / "durably.db", clock=clock, beside=InLoop)
    await store.open()
    before = set(threading.enumerate())
    await store.append((creation("a"),))

    store.append_soon(change("a", 1, b"2"))
    clock.advance(1)  # it has waited too long, as far as the store can tell
    found = await store.find("f/a")

    assert found is not None
    assert found.version == 2
    assert set(threading.enumerate()) == before
    await store.close()
