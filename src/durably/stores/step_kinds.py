"""The kinds of connections that steps may ask for, and SQLAlchemy's around a driver's own."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from durably.errors import ValidationError

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy.ext import asyncio as sqlalchemy_async


def named(kind: type) -> str:
    """Give the name of a class as programs import it, of those that are asked for."""
    package = kind.__module__.partition(".")[0]
    if package == "sqlalchemy":
        package = kind.__module__.rpartition(".")[0] if "asyncio" in kind.__module__ else package
    return f"{package}.{kind.__qualname__}"


def check_kind_of(kind: object, known: Collection[str], where: str) -> str:
    """Give the name of *kind* if it is among the *known* ones of a store.

    Raises:
        ValidationError: it is not.
    """
    name = named(kind) if isinstance(kind, type) else repr(kind)
    if name not in known:
        raise ValidationError("kind", f"must be {' or '.join(known)} {where}, not {name}")
    return name


class SyncBridge:
    """Makes connections of SQLAlchemy around given ones of a driver.

    Its engine finds out once what the database is, with a connection that is no step's.

    Args:
        url: of the dialect.
    """

    def __init__(self, url: str) -> None:
        self._given: Any = None
        self._engine = _sqlalchemy().create_engine(
            url,
            creator=lambda: self._given,
            poolclass=_sqlalchemy().NullPool,
            pool_reset_on_return=None,
        )

    def prepare(self, driver: Any) -> None:
        """Find out what the database is, with the connection *driver*."""
        self.around(driver).close()

    def around(self, driver: Any) -> sqlalchemy.Connection:
        """Give a connection that works with *driver*."""
        self._given = driver
        try:
            connection: sqlalchemy.Connection = self._engine.connect()
            connection.begin()  # so that sessions of the ORM join it, and leave its end alone
            return connection
        finally:
            self._given = None


class AsyncBridge:
    """Likewise, of its asyncio extension."""

    def __init__(self, url: str) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - the user's

        self._given: Any = None
        self._engine = create_async_engine(
            url,
            async_creator=self._give,
            poolclass=_sqlalchemy().NullPool,
            pool_reset_on_return=None,
        )

    async def prepare(self, driver: Any) -> None:
        """Find out what the database is, with the connection *driver*."""
        await (await self.around(driver)).close()

    async def around(self, driver: Any) -> sqlalchemy_async.AsyncConnection:
        """Give a connection that works with *driver*."""
        self._given = driver
        connection = await self._engine.connect()
        await connection.begin()
        return connection

    def _give(self, *_: Any, **__: Any) -> Any:
        given, self._given = self._given, None

        async def give() -> Any:
            return given

        return give()


def _sqlalchemy() -> Any:
    """Give SQLAlchemy: whoever asks for a connection of it has imported it."""
    return sys.modules["sqlalchemy"]
