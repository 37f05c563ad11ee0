"""The schema of the PostgreSQL store: made, brought up to date, or found unfit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

from durably.errors import StoreTooNewError, StoreUnavailableError
from durably.stores.postgres_database import ask
from durably.stores.postgres_errors import store_error
from durably.stores.sql_files import read_sql

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from durably.stores.postgres_address import PostgresAddress
    from durably.stores.postgres_database import PostgresDatabase, Row

VERSION = 1
"""Of the schema that this code knows."""

NOTHING_THERE = "Nothing has run there yet, or the address names another database or schema."
_TOO_OLD = "It is brought up to date when a worker of this version of the library starts."


async def prepare(database: PostgresDatabase, address: PostgresAddress, *, may_make: bool) -> None:
    """See that the schema is the one that this code knows; with *may_make*, make it so.

    Whoever comes first does it in one transaction, and the others wait for him.

    Raises:
        StoreTooNewError: a newer version of this library made it.
        StoreError: there is none, or none that can be used; the text says what to do.
    """
    connection = await database.connect()
    try:
        schema = _Schema(connection, database, address)
        found = await schema.version()
        if found < VERSION and may_make:
            await schema.upgrade()
        elif found < VERSION:
            has = f"has version {found} of the schema" if found else "has no such schema"
            said = f"{address.title} {has}, this code needs version {VERSION}"
            raise StoreUnavailableError(said, remedy=_TOO_OLD if found else NOTHING_THERE)
    except psycopg.Error as error:
        raise store_error(error) from error
    finally:
        await connection.close()


class _Schema:
    def __init__(
        self,
        connection: AsyncConnection[Row],
        database: PostgresDatabase,
        address: PostgresAddress,
    ) -> None:
        self._connection = connection
        self._database = database
        self._address = address

    async def version(self) -> int:
        """Say which one it is, 0 if there is none."""
        [(exists,)] = await self._run("has_schema")
        if not exists:
            return 0
        [(version,)] = await self._run("schema_version")
        if version > VERSION:
            said = f"{self._address.title} has version {version}, this code knows {VERSION}"
            raise StoreTooNewError(said)
        return int(version)

    async def upgrade(self) -> None:
        """Run the scripts that are missing, however long they, or whoever is first, may take."""
        await self._run("begin_schema")
        await self._connection.execute(self._database.text("lock_schema"))
        await self._connection.execute(self._database.text("make_schema"))
        for number in range(await self.version() + 1, VERSION + 1):
            script = read_sql(f"postgres_schema_{number}.sql")
            await self._connection.execute(self._database.composed(script))
        await self._run("commit_schema")

    async def _run(self, name: str) -> Sequence[Row]:
        return await ask(self._connection, self._database.text(name))
