"""A PostgreSQL database as the store uses it: connections, statements, and its clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

import psycopg
from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from durably.errors import StoreTooNewError, StoreUnavailableError
from durably.stores.postgres_address import PostgresAddress
from durably.stores.postgres_errors import Meaning, meaning_of, store_error
from durably.stores.sql_files import read_sql, statements_in

Row: TypeAlias = tuple[Any, ...]
VERSION = 1
"""Of the schema that this code knows."""

_MAX_TRIES = 5
_CONNECT_SECONDS = 10.0


class PostgresDatabase:
    """Runs the statements of `postgres.sql`, each a transaction of its own.

    Args:
        address: where it is.
    """

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._texts: dict[str, sql.Composed] = {}
        self._pool = AsyncConnectionPool[AsyncConnection[Row]](
            address.dsn,
            kwargs={
                "autocommit": True,
                "prepare_threshold": None,  # a proxy may give each transaction another session
                "connect_timeout": int(_CONNECT_SECONDS),
                "application_name": "durably",
            },
            min_size=1,
            max_size=address.pool,
            timeout=_CONNECT_SECONDS,
            open=False,
            check=AsyncConnectionPool.check_connection,
        )

    async def open(self) -> None:
        """Connect, and make or bring up to date the schema.

        Raises:
            StoreError: it cannot be used; the text says what to do.
        """
        try:
            await self._pool.open(wait=False)
            await self._migrate()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of every connection."""
        await self._pool.close(timeout=_CONNECT_SECONDS)

    async def read(self, name: str, parameters: Mapping[str, object]) -> Sequence[Row]:
        """Run a statement that changes nothing; where the connection breaks, again.

        Raises:
            StoreError: it could not be run.
        """
        return await self.read_text(self.text(name), parameters)

    async def read_text(
        self, text: sql.Composed, parameters: Mapping[str, object]
    ) -> Sequence[Row]:
        """Likewise, a statement put together from several."""
        failures = 0
        while True:
            try:
                return await self.run(text, parameters)
            except psycopg.Error as error:
                failures += 1
                can_help = meaning_of(error) in {Meaning.UNKNOWN, Meaning.AGAIN}
                if failures == _MAX_TRIES or not can_help:
                    raise store_error(error) from error
                await asyncio.sleep(pause_seconds(failures))

    async def write(self, name: str, parameters: Mapping[str, object]) -> Sequence[Row]:
        """Run a statement once. If its answer is lost, whether it happened stays open.

        Raises:
            StoreError: it could not be run, or its answer was lost.
        """
        try:
            return await self.run(self.text(name), parameters)
        except psycopg.Error as error:
            raise store_error(error) from error

    async def run(self, text: sql.Composed, parameters: Mapping[str, object]) -> Sequence[Row]:
        """Run a statement; errors are the driver's.

        Raises:
            StoreUnavailableError: there is no connection to be had.
        """
        async with self._connection() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(text, parameters)
            return await cursor.fetchall()

    def text(self, *names: str) -> sql.Composed:
        """Give the statement that these make one after the other."""
        key = " ".join(names)
        found = self._texts.get(key)
        if found is None:
            whole = "\n".join(statements_in("postgres.sql")[name] for name in names)
            found = self._texts[key] = self._composed(whole)
        return found

    def _composed(self, text: str) -> sql.Composed:
        # The type wants a literal, lest somebody formats values into it: ours come from files.
        return sql.SQL(cast("Any", text)).format(
            schema=sql.Identifier(self._address.schema),
            schema_text=sql.Literal(self._address.schema),
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[AsyncConnection[Row]]:
        try:
            connection = await self._pool.getconn()
        except PoolTimeout as error:
            said = f"no connection to {self._address.title} within {_CONNECT_SECONDS:.0f} s"
            raise StoreUnavailableError(said) from error
        try:
            yield connection
        finally:
            await self._pool.putconn(connection)

    async def _migrate(self) -> None:
        """Bring the schema up to date: whoever comes first does it, the others wait for him."""
        if await self._version() == VERSION:
            return
        try:
            async with self._connection() as connection, connection.transaction():
                await connection.execute(self.text("lock_schema"), {"schema": self._address.schema})
                await connection.execute(self.text("make_schema"))
                for number in range(await self._version(connection) + 1, VERSION + 1):
                    script = read_sql(f"postgres_schema_{number}.sql")
                    await connection.execute(self._composed(script))
        except psycopg.Error as error:
            raise store_error(error) from error

    async def _version(self, connection: AsyncConnection[Row] | None = None) -> int:
        """Say of which version the schema is, 0 if there is none.

        Raises:
            StoreTooNewError: it is of one that this code does not know.
        """
        table = f'"{self._address.schema.replace(chr(34), chr(34) * 2)}".store'
        [(exists,)] = await self._look(connection, "has_schema", {"table": table})
        if not exists:
            return 0
        [(version,)] = await self._look(connection, "schema_version", {})
        if version > VERSION:
            said = f"{self._address.title} has version {version}, this code knows {VERSION}"
            raise StoreTooNewError(said)
        return int(version)

    async def _look(
        self, connection: AsyncConnection[Row] | None, name: str, parameters: Mapping[str, object]
    ) -> Sequence[Row]:
        if connection is None:
            return await self.read(name, parameters)
        return await (await connection.execute(self.text(name), parameters)).fetchall()


def pause_seconds(failures: int) -> float:
    """Say how long to wait after so many failures in a row."""
    return float(min(0.02 * 4 ** (failures - 1), 2.0))
