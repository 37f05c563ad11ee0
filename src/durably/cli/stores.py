"""How commands reach a store: reading beside its owner, or through its owner, or alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from durably.app.names import find_arn
from durably.app.settings import MEMORY_URL, check_store_url
from durably.cli.errors import Trouble
from durably.cli.loading import EMPTY
from durably.clients.control import ControlClient, NobodyListens
from durably.clock import SystemClock
from durably.engine.arns import LATEST, split_function_name
from durably.engine.commands import Target
from durably.engine.control import AnyRequest, carry_out
from durably.engine.service import Service
from durably.errors import StoreLockedError
from durably.handler import DurableFunction
from durably.seams import RandomIds
from durably.stores.sqlite import SqliteStore

T = TypeVar("T")

_PATIENCE_SECONDS = 3.0
_PAUSE_SECONDS = 0.05


def read(url: str, look: Callable[[Service], Awaitable[T]]) -> T:
    """Give what *look* finds in the store, which may belong to another process.

    Raises:
        Trouble: there is nothing to look at.
        StoreError: it cannot be read.
    """
    path = existing_database(url)

    async def looking() -> T:
        service = _service(SqliteStore(path, read_only=True), EMPTY)
        await service.open()
        try:
            return await look(service)
        finally:
            await service.close()

    return asyncio.run(looking())


def arn_of(url: str, execution: str) -> str:
    """Give the arn that *execution* stands for: an arn, a name or `FUNCTION/NAME`."""
    return read(url, lambda service: find_arn(service.store, execution))


def ask(
    url: str, request: AnyRequest, functions: Mapping[str, DurableFunction] = EMPTY
) -> str | None:
    """Have *request* carried out by the process that holds the store, or here if none does.

    Args:
        url: the store.
        request: what is to be done.
        functions: those that exist, for when nobody holds the store.

    Raises:
        ApiError: it was refused.
        StoreLockedError: a process holds the store, and takes no commands.
        StoreError: it could not be written.
    """
    path = SqliteStore(_file_url(url)).path if functions else existing_database(url)
    clock = SystemClock()
    deadline = clock.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return ControlClient(path).ask(request)
        except NobodyListens:
            pass
        try:
            return asyncio.run(_ask_alone(path, request, functions))
        except StoreLockedError:
            # Its owner is just coming, or going.
            if clock.monotonic() > deadline:
                raise
        threading.Event().wait(_PAUSE_SECONDS)


async def _ask_alone(
    path: Path, request: AnyRequest, functions: Mapping[str, DurableFunction]
) -> str | None:
    service = _service(SqliteStore(path), functions)
    await service.open()
    try:
        return await carry_out(service, request)
    finally:
        await service.close()


def is_held(url: str) -> bool:
    """Whether a process holds the store and takes commands."""
    return ControlClient(existing_database(url)).is_answered()


def existing_database(url: str) -> Path:
    """Give the path of a database that must be there.

    Raises:
        Trouble: it is not.
    """
    path = SqliteStore(_file_url(url)).path
    if not path.exists():
        step = "Nothing has run there yet, or --store names another file."
        raise Trouble(f"There is no database {str(path)!r}.", step)
    return path


def _file_url(url: str) -> str:
    check_store_url(url)
    if url == MEMORY_URL:
        step = "Name the file that it runs on: --store sqlite:PATH."
        raise Trouble("memory: is known to nobody but the process that uses it.", step)
    return url


def _service(store: SqliteStore, functions: Mapping[str, DurableFunction]) -> Service:
    def find_target(text: str) -> Target | None:
        name, qualifier = split_function_name(text)
        known = name in functions and qualifier in (None, LATEST)
        return Target(name, LATEST) if known else None

    return Service(store, SystemClock(), RandomIds(), find_target)
