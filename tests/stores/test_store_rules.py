"""Every store keeps the rules."""

from pathlib import Path

import pytest

from durably.stores.memory import MemoryStore
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
