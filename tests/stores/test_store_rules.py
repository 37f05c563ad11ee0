"""Every store keeps the rules."""

from pathlib import Path

import pytest

from durably.stores.memory import MemoryStore
from durably.stores.postgres import PostgresStore
from durably.stores.sqlite import SqliteStore
from durably.testing.store_suite import StoreSuite


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class TestSqliteStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SqliteStore:
        return SqliteStore(tmp_path / "durably.db")


class TestSqliteStoreOnASlowDisk(StoreSuite):
    """Every commit is left to the thread."""

    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteStore:
        monkeypatch.setattr("durably.stores.sqlite_writer._SLOW_COMMIT_SECONDS", -1.0)
        return SqliteStore(tmp_path / "durably.db")


class TestSqliteStoreWithoutRoom(StoreSuite):
    """Groups are small, and nothing is remembered from one to the next."""

    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteStore:
        monkeypatch.setattr("durably.stores.sqlite_queue._MAX_GROUP", 2)
        monkeypatch.setattr("durably.stores.sqlite_ledger._MAX_HEADS", 1)
        monkeypatch.setattr("durably.stores.sqlite_ledger._MAX_FUNCTIONS", 1)
        return SqliteStore(tmp_path / "durably.db")


class TestPostgresStore(StoreSuite):
    is_shared = True

    @pytest.fixture
    def store(self, address: str) -> PostgresStore:
        return PostgresStore(address)


class TestPostgresStoreWithOneConnection(StoreSuite):
    is_shared = True

    @pytest.fixture
    def store(self, address: str) -> PostgresStore:
        return PostgresStore(f"{address}&pool=1&listen=off")
