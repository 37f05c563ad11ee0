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
from durably.testing.store_values import T0, change, creation


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "durably.db")
    return PostgresStore(request.getfixturevalue("address"))


def kind_of(store: Any) -> type:
    return sqlite3.Connection if isinstance(store, SqliteStore) else psycopg.AsyncConnection


async def test_what_a_step_commits_is_counted_as_a_group(store: Any) -> None:
    await store.open()
    await store.append([creation("a", b"0")])
    transaction = await store.begin("f/a", kind_of(store), blocking=False)
    before = sum(store.tally.group_sizes.amounts)

    await transaction.append([change("a", 1, b"1")])

    assert sum(store.tally.group_sizes.amounts) == before + 1
    await store.close()


async def test_closing_undoes_what_is_open(store: Any) -> None:
    kind = kind_of(store)
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
