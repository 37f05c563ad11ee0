"""A PostgreSQL database as the store uses it: connections and statements."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from types import MappingProxyType
from typing import Any, TypeAlias, cast

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from durably.errors import StoreUnavailableError, ValidationError
from durably.stores.postgres_address import PostgresAddress
from durably.stores.postgres_errors import Meaning, meaning_of, store_error, unreachable
from durably.stores.sql_files import statements_in

Row: TypeAlias = tuple[Any, ...]
Parameters: TypeAlias = Mapping[str, object] | Callable[[], Mapping[str, object]]
"""Of a statement, or what gives them when it is run: each time anew where it is repeated."""

_MAX_TRIES = 5
_NOTHING = b""
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 10.0
_TRIED_SECONDS = 1.0  # after which an idle connection is tried before it is used
_SESSION: Mapping[str, Any] = MappingProxyType(
    {
        "autocommit": True,
        "prepare_threshold": None,  # a proxy may give each transaction another session
        "connect_timeout": int(_CONNECT_SECONDS),
        "fallback_application_name": "durably",
    }
)
_ALIVE: Mapping[str, Any] = MappingProxyType(
    {  # for what may take its time: whether there is still a server at the other end
        "keepalives_idle": 10,
        "keepalives_interval": 4,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
)


class _Connection(AsyncConnection[Row]):
    """One of the pool's.

    Attributes:
        used_at: when it has answered last, by `monotonic`.
    """

    used_at = float("-inf")


class PostgresDatabase:
    """Runs the statements of `postgres.sql`, each a transaction of its own.

    Args:
        address: where it is.
    """

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._texts: dict[str, bytes] = {}
        self._pool = AsyncConnectionPool[_Connection](
            address.dsn,
            connection_class=_Connection,
            kwargs=dict(_SESSION),
            min_size=1,
            max_size=address.pool,
            timeout=_CONNECT_SECONDS,
            open=False,
        )

    @property
    def max_connections(self) -> int:
        """How many there are at most."""
        return self._address.pool

    async def open(self) -> None:
        """Make ready to connect when it is needed."""
        await self._pool.open(wait=False)

    async def connect(self) -> AsyncConnection[Row]:
        """Make a connection of one's own.

        Raises:
            StoreError: there is none to be had; the text says why and what to do.
        """
        try:
            return await AsyncConnection[Row].connect(self._address.dsn, **_SESSION, **_ALIVE)
        except psycopg.Error as error:
            raise unreachable(error, self._address.title) from error

    async def close(self) -> None:
        """Let go of every connection."""
        await self._pool.close(timeout=_CONNECT_SECONDS)

    async def read(self, name: str, parameters: Parameters) -> Sequence[Row]:
        """Run a statement that may be run twice; where the connection breaks, again.

        Raises:
            StoreError: it could not be run.
        """
        return await self.read_text(self.text(name), parameters)

    async def read_text(self, text: bytes, parameters: Parameters) -> Sequence[Row]:
        """Likewise, a statement put together from several."""
        failures = 0
        while True:
            try:
                return await self.run(text, parameters)
            except psycopg.Error as error:
                failures += 1
                can_help = meaning_of(error) not in {Meaning.VALUES, Meaning.FAILED}
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

    async def run(self, text: bytes, parameters: Parameters) -> Sequence[Row]:
        """Run a statement; errors are the driver's.

        Raises:
            StoreUnavailableError: there is no connection to be had.
        """
        async with self._connection() as connection:
            try:
                given = parameters() if callable(parameters) else parameters
                rows = await ask(connection, text, given)
            except psycopg.errors.ReadOnlySqlTransaction:
                await connection.close()  # the address may lead to another server by now
                raise
            else:
                connection.used_at = monotonic()
                return rows

    def text(self, *names: str) -> bytes:
        """Give the statement that these make one after the other."""
        key = " ".join(names)
        found = self._texts.get(key)
        if found is None:
            whole = "\n".join(statements_in("postgres.sql")[name] for name in names)
            found = self._texts[key] = self.composed(whole).as_bytes(None)
        return found

    def composed(self, text: str) -> sql.Composed:
        """Give the text of a statement, or of a script, with our schema in it."""
        # The type wants a literal, lest somebody formats values into it: ours come from files.
        return sql.SQL(cast("Any", text)).format(
            schema=sql.Identifier(self._address.schema),
            schema_text=sql.Literal(self._address.schema),
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[_Connection]:
        connection = await self._live_one()
        try:
            yield connection
        finally:
            await self._pool.putconn(connection)

    async def _live_one(self) -> _Connection:
        """Take a connection, and see that it lives: all that lay idle may have died meanwhile.

        One that was in use a moment ago is not asked, which would be a round trip before each
        statement: if its server has hung up meanwhile, the socket says so. The pool would try them
        as well, but waits for a second after each dead one.
        """
        dead = 0
        while True:
            try:
                connection = await self._pool.getconn()
            except PoolTimeout as error:
                said = f"no connection to {self._address.title} within {_CONNECT_SECONDS:.0f} s"
                raise StoreUnavailableError(said) from error
            if monotonic() - connection.used_at < _TRIED_SECONDS and not _is_told(connection):
                return connection
            try:
                await ask(connection, _NOTHING)
            except BaseException as error:
                await self._pool.putconn(connection)
                dead += 1
                if not isinstance(error, psycopg.Error) or dead > self._address.pool:
                    raise
            else:
                return connection


async def ask(
    connection: AsyncConnection[Row], text: bytes, parameters: Mapping[str, object] | None = None
) -> Sequence[Row]:
    """Run a statement, several if there are no parameters, and have the first one's answer in time.

    Raises:
        psycopg.Error: it was not run, or there is no answer.
    """
    with answered_in_time(connection):
        cursor = connection.cursor(binary=parameters is not None)
        await cursor.execute(text, parameters)
        return await cursor.fetchall() if cursor.description else ()


def _is_told(connection: AsyncConnection[Row]) -> bool:
    """Whether the server has said something unasked, such as that it hangs up."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def answered_in_time(connection: AsyncConnection[Row]) -> Generator[None]:
    """Break *connection* if what is asked of it in this block has no answer in time.

    Whoever waits is told of it as of every other connection that breaks.
    """
    timer = asyncio.get_running_loop().call_later(_ANSWER_SECONDS, _break, connection)
    try:
        yield
    finally:
        timer.cancel()


def _break(connection: AsyncConnection[Row]) -> None:
    with (
        suppress(OSError, psycopg.Error),  # then it is broken already
        socket.socket(fileno=os.dup(connection.fileno())) as one,
    ):
        one.shutdown(socket.SHUT_RDWR)


def check_dsn(dsn: str) -> None:
    """Refuse an address that the driver cannot read, without telling what is in it.

    Raises:
        ValidationError: it is one.
    """
    try:
        conninfo_to_dict(dsn)
    except psycopg.Error as error:
        said = str(error)
        if not said.startswith("invalid URI query parameter"):
            said = "it is no address of a PostgreSQL database"
        raise ValidationError("store_url", said) from None


def pause_seconds(failures: int) -> float:
    """Say how long to wait after so many failures in a row."""
    return float(min(0.02 * 4 ** (failures - 1), 2.0))
