"""How commands reach a store: reading beside its owner, or through its owner, or alone.

A database is everybody's: there a command is one process more, which comes and goes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from durably.app.names import find_arn
from durably.app.settings import MEMORY_URL, check_store_url, is_postgres, make_store
from durably.cli.errors import Trouble
from durably.cli.loading import EMPTY
from durably.clients.control import ControlClient, NobodyListens
from durably.clock import SystemClock
from durably.engine.arns import LATEST, parse_execution_arn, split_function_name
from durably.engine.commands import Target
from durably.engine.control import AnyRequest, carry_out
from durably.engine.policy import ServicePolicy
from durably.engine.roster import claim_name
from durably.engine.service import Service
from durably.engine.shared_store import is_shared
from durably.engine.store import Store
from durably.errors import DurableError, StoreLockedError
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
    if is_postgres(url):
        store = make_store(url, is_visitor=True)
    else:
        store = SqliteStore(existing_database(url), read_only=True)
    return asyncio.run(_with_service(store, look))


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
    if is_postgres(url):
        # What is started with its file may be the first thing that ever happens there.
        store = make_store(url, is_visitor=not functions)
        return asyncio.run(_with_service(store, partial(carry_out, request=request), functions))
    path = SqliteStore(_file_url(url)).path if functions else existing_database(url)
    clock = SystemClock()
    deadline = clock.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return ControlClient(path).ask(request)
        except NobodyListens:
            pass
        try:
            do = partial(carry_out, request=request)
            return asyncio.run(_with_service(SqliteStore(path), do, functions))
        except StoreLockedError:
            # Its owner is just coming, or going.
            if clock.monotonic() > deadline:
                raise
        threading.Event().wait(_PAUSE_SECONDS)


async def _with_service(
    store: Store,
    do: Callable[[Service], Awaitable[T]],
    functions: Mapping[str, DurableFunction] = EMPTY,
) -> T:
    service = _service(store, functions)
    await service.open()
    try:
        return await do(service)
    finally:
        await service.close()


@dataclass(frozen=True, slots=True)
class Hands:
    """Who is there for an execution.

    Attributes:
        has_worker: whether a process that is alive would go on with it.
        has_owner: if it runs, whether the process that it runs in is alive.
        functions: those of the process that holds the store, if there is one and it tells.
    """

    has_worker: bool
    has_owner: bool
    functions: frozenset[str] | None = None


async def hands_for(service: Service, url: str, arn: str) -> Hands:
    """Say who is there for an execution."""
    parts = parse_execution_arn(arn)
    if service.sharing is None:
        if not is_held(url):
            return Hands(has_worker=False, has_owner=False)
        known = functions_of_holder(url)
        has_it = known is None or parts.function_name in known
        return Hands(has_it, has_owner=True, functions=known)
    roster, stored = await service.sharing.roster(), await service.store.find(arn)
    has_worker = roster.has_worker_for(claim_name(parts.function_name, parts.version))
    has_owner = (
        stored is not None
        and stored.claim_epoch is not None
        and stored.wake_at is not None
        and stored.wake_at > service.clock.now()
    )
    return Hands(has_worker, has_owner)


def has_worker(url: str, arn: str) -> bool:
    """Whether a process that is alive would go on with an execution."""
    return read(url, lambda service: hands_for(service, url, arn)).has_worker


def is_held(url: str) -> bool:
    """Whether a process holds the store, which is a file, and takes commands."""
    return ControlClient(existing_database(url)).is_answered()


def functions_of_holder(url: str) -> frozenset[str] | None:
    """Name the functions of the process that holds the store; `None`: none does, or tells."""
    try:
        return ControlClient(existing_database(url), _PATIENCE_SECONDS).functions()
    except (NobodyListens, DurableError):  # it may be busy, or an older version
        return None


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


def _service(store: Store, functions: Mapping[str, DurableFunction]) -> Service:
    def find_target(text: str) -> Target | None:
        name, qualifier = split_function_name(text)
        known = name in functions and qualifier in (None, LATEST)
        return Target(name, LATEST) if known else None

    clock = store.clock if is_shared(store) else SystemClock()
    policy = ServicePolicy(is_shared=is_shared(store))
    return Service(store, clock, RandomIds(), find_target, policy)
