"""Databases in which steps write beside the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection as AlchemyConnection

from durably import step_connection, sync_step_connection
from durably.seams import RandomIds
from tests.stores.postgres_server import in_schema


@dataclass
class Database:
    """One database with a table `paid` of the user's.

    Attributes:
        url: of the store.
        paid: gives what is in the table.
        kinds: what coroutines and threads write with: a driver's connection, then SQLAlchemy's.
    """

    url: str
    paid: Callable[[], list[int]]
    kinds: tuple[tuple[type, type], tuple[type, type]]

    @property
    def is_postgres(self) -> bool:
        return self.url.startswith("postgresql")

    async def write(self, number: int, kind: type | None = None) -> None:
        """Write *number* with the connection of the step."""
        await_it = self.add(await step_connection(kind or self.kinds[0][0]), number)
        if await_it is not None:
            await await_it

    def write_blocking(self, number: int, kind: type | None = None) -> None:
        """Write *number* likewise, in a thread."""
        self.add(sync_step_connection(kind or self.kinds[1][0]), number)

    def add(self, connection: Any, number: int) -> Any:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("INSERT INTO paid VALUES (?)", (number,))
            return None
        if isinstance(connection, sqlalchemy.Connection | AlchemyConnection):
            text = sqlalchemy.text("INSERT INTO paid VALUES (:n)")
            done = connection.execute(text, {"n": number})
            return done if isinstance(connection, AlchemyConnection) else None
        done = connection.execute("INSERT INTO paid VALUES (%s)", (number,))
        return done if isinstance(connection, psycopg.AsyncConnection) else None


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[Database]:
    name = f"user_{RandomIds().hex(20)}"
    url = in_schema(postgres, options=f"-csearch_path%3D{name}")
    mine = f"{postgres}{'&' if '?' in postgres else '?'}options=-csearch_path%3D{name}"
    schema = psycopg.sql.Identifier(name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(schema))
        connection.execute(psycopg.sql.SQL("CREATE TABLE {}.paid (n integer)").format(schema))

    def paid() -> list[int]:
        with psycopg.connect(mine, autocommit=True) as connection:
            return [row[0] for row in connection.execute("SELECT n FROM paid ORDER BY n")]

    yield Database(
        url,
        paid,
        (
            (psycopg.AsyncConnection, AlchemyConnection),
            (psycopg.Connection, sqlalchemy.Connection),
        ),
    )
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


@pytest.fixture
async def sqlite_database(tmp_path: Path) -> Database:
    from durably import Engine  # noqa: PLC0415 - only to make the file

    path = tmp_path / "durably.db"
    async with Engine(f"sqlite:{path}"):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE paid (n integer)")

    def paid() -> list[int]:
        with closing(sqlite3.connect(path)) as connection:
            return [row[0] for row in connection.execute("SELECT n FROM paid ORDER BY n")]

    kinds = (sqlite3.Connection, sqlalchemy.Connection)
    return Database(f"sqlite:{path}", paid, (kinds, kinds))


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found
