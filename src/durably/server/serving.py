"""A server at work: an engine, the API over it, and the functions attached to it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from durably.app.assembly import Assembly
from durably.app.settings import EngineSettings, make_store
from durably.clock import SystemClock
from durably.engine.arns import Home
from durably.engine.store import Query
from durably.handler import DurableFunction
from durably.server.access import Access
from durably.server.app import make_app
from durably.server.attached import Attached, AttachedFunction, FunctionSettings
from durably.server.http_target import HttpTarget
from durably.server.listening import LOOPBACK, bound_socket, listening, port_of
from durably.server.processes import FunctionProcess, Surroundings
from durably.server.runtime_api import runtime_app
from durably.server.runtimes import Runtime
from durably.wire.execution import ExecutionStatus

_MAX_COUNTED = 1000

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a function comes from.

    Attributes:
        where: an address, or the command that is its process.
    """

    settings: FunctionSettings
    where: str

    @property
    def is_address(self) -> bool:
        """Whether it is behind an address."""
        return self.where.startswith(("http://", "https://"))


class Serving:
    """A server, from `open` to `close`.

    Args:
        engine: how executions are run.
        here: the functions of this process, by name; they may change while it is in use.
        sources: the functions elsewhere.
        api: the socket that the API is served at, bound.
        access: who may use it. Functions elsewhere sign with the first key, if there is one.
        say: told, with the name of a function, the lines that its process writes, some at once.

    Attributes:
        attached: all functions.
        endpoint: where the API is served, as functions on this machine reach it.
        processes: those of functions.
    """

    def __init__(
        self,
        engine: EngineSettings,
        here: Mapping[str, DurableFunction],
        sources: Sequence[Source],
        api: socket.socket,
        access: Access,
        say: Say,
    ) -> None:
        self.endpoint = _endpoint(api)
        self.processes: list[FunctionProcess] = []
        self._runtimes: dict[int, Runtime] = {}
        self._sockets: list[socket.socket] = []
        self._access = access
        self._around = Surroundings(
            endpoint=self.endpoint,
            region=engine.region,
            folder=Path.cwd(),
            environ=os.environ,
            key=access.keys[0] if access.keys else None,
        )
        elsewhere = [self._attach(source, say) for source in sources]
        self.attached = Attached(here, elsewhere, Home(engine.region, engine.account))
        self._assembly = Assembly(
            make_store(engine.store_url), here, engine, elsewhere=self.attached.elsewhere
        )
        self._api = api
        self._opened = AsyncExitStack()

    def _attach(self, source: Source, say: Say) -> AttachedFunction:
        if source.is_address:
            return HttpTarget(source.settings, source.where)
        runtime = Runtime(source.settings, SystemClock())
        bound = bound_socket()
        self._sockets.append(bound)
        self._runtimes[port_of(bound)] = runtime
        environ = self._around.environ_for(source.settings, source.where, port_of(bound))
        name = source.settings.name
        self.processes.append(
            FunctionProcess(
                runtime, source.where, environ, self._around.folder, lambda line: say(name, line)
            )
        )
        return runtime

    async def open(self) -> None:
        """Open the store, serve, and start every process.

        Raises:
            StoreError: the store cannot be used.
        """
        async with AsyncExitStack() as opened:
            for one in (self._api, *self._sockets):
                opened.callback(one.close)
            await self._assembly.open()
            opened.push_async_callback(self._assembly.close, timedelta(0))
            if self._sockets:
                runtimes = runtime_app(self._runtimes)
                await opened.enter_async_context(listening(runtimes, self._sockets))
            api = make_app(self._assembly, functions=self.attached, access=self._access)
            is_secure = self._access.is_behind_proxy
            await opened.enter_async_context(listening(api, [self._api], is_secure=is_secure))
            for process in self.processes:
                opened.push_async_callback(_ended, asyncio.create_task(process.run()))
            opened.push_async_callback(self.attached.close)  # while its callers can be answered
            self._opened = opened.pop_all()

    async def count_open(self, names: Iterable[str]) -> int:
        """Count the executions of functions that have not ended; at most 1,000 of each."""
        statuses = (ExecutionStatus.RUNNING, ExecutionStatus.PAUSING, ExecutionStatus.PAUSED)
        count = 0
        for name in names:
            query = Query(function_name=name, statuses=statuses, limit=_MAX_COUNTED)
            count += len((await self._assembly.service.list(query)).executions)
        return count

    @property
    def running(self) -> int:
        """How many invocations run now, of durable functions and others."""
        return self._assembly.running + self.attached.running

    async def wait_for_work_to_end(self, *others: asyncio.Future[Any]) -> None:
        """Wait until no more is worked on here, or one of *others* is done."""
        await self._assembly.wait_for_work_to_end(*others)

    async def close(self, grace: timedelta) -> None:
        """Begin nothing more, give what runs *grace*, and end everything.

        Functions elsewhere need the API for what they still do, so it is served until then. Those
        that are not durable are called until then, too: others may need them.
        """
        clock = self._assembly.service.clock
        until = clock.monotonic() + grace.total_seconds()
        try:
            await self._assembly.drain(grace)
            await self.attached.wait_for_running(max(until - clock.monotonic(), 0))
        finally:
            await self._opened.aclose()


def _endpoint(api: socket.socket) -> str:
    """Give the address at which this machine reaches *api*."""
    host = str(api.getsockname()[0])
    everywhere = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - what it may have been bound to
    reached = everywhere.get(host, host)
    named = f"[{reached}]" if ":" in reached else reached
    return f"http://{named}:{port_of(api)}"


async def _ended(work: asyncio.Task[None]) -> None:
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
