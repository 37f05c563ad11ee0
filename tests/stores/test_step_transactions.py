"""A store that is closed undoes what steps have not committed, and is whole afterwards."""

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from durably.engine.store import WakeAt
from durably.errors import TransactionError
from durably.stores.postgres import PostgresStore
from durably.stores.sqlite import SqliteStore
from durably.testing.store_values import T0, creation


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "durably.db")
    return PostgresStore(request.getfixturevalue("address"))


async def test_closing_undoes_what_is_open(store: Any) -> None:
    kind = sqlite3.Connection if isinstance(store, SqliteStore) else psycopg.AsyncConnection
    await store.open()
    transaction = await store.begin("f/a", kind, blocking=False)
    written = transaction.connection.execute("CREATE TABLE step_left_this (n integer)")
    if kind is psycopg.AsyncConnection:
        await written

    await store.close()

    with pytest.raises(TransactionError):
        transaction.connection.cursor()
    await store.open()
    await store.append([creation("a", b"0", wake=WakeAt(T0))])
    again = await store.begin("f/a", kind, blocking=False)
    looked = again.connection.execute("CREATE TABLE step_left_this (n integer)")
    if kind is psycopg.AsyncConnection:
        await looked
    await again.abort()
    await store.close()
