"""A store, the service over it, the worker that runs its functions, and the socket beside it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from durably.app.payloads import check_input
from durably.app.processes import Birthplace
from durably.app.settings import EngineSettings
from durably.clients.control import ControlClient
from durably.clients.embedded import EmbeddedClient
from durably.drivers.settings import Host
from durably.engine.arns import LATEST, Home, split_function_name
from durably.engine.commands import Target
from durably.engine.control import ControlSocket
from durably.engine.dispatcher import Dispatcher
from durably.engine.invokers import InProcessInvoker, RemoteFunction, RemoteInvoker
from durably.engine.policy import DispatcherPolicy, FailurePolicy, ServicePolicy, StartOptions
from durably.engine.service import Service
from durably.engine.shared_store import is_shared
from durably.engine.store import Store
from durably.errors import InvalidStateError, ResourceNotFoundException, StoreLockedError
from durably.handler import DurableFunction
from durably.stores.sqlite import SqliteStore
from durably.words import did_you_mean

_BROKEN = "the engine works no more"
_CLOSED = "the engine was closed before the execution had ended"
_NOTHING: Mapping[str, RemoteFunction] = MappingProxyType({})
_PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.02


class Assembly:
    """An engine at work, from `open` to `close`.

    Args:
        store: where executions are kept; it is opened and closed here.
        functions: those of this process, by name. They may change while it is in use.
        settings: how it runs.
        host: what the functions run on.
        worker: how it works; by default as the settings say.
        elsewhere: functions that do not run in this process, likewise by name.

    Attributes:
        service: everything that can be asked of executions.
        loop: the event loop it works in.
        birthplace: the process it works in.
    """

    def __init__(
        self,
        store: Store,
        functions: Mapping[str, DurableFunction],
        settings: EngineSettings,
        *,
        host: Host | None = None,
        worker: DispatcherPolicy | None = None,
        elsewhere: Mapping[str, RemoteFunction] = _NOTHING,
    ) -> None:
        shared = store if is_shared(store) else None
        host = host or (Host() if shared is None else Host(clock=shared.clock))
        self.loop = asyncio.get_running_loop()
        self.birthplace = Birthplace()
        self._functions = functions
        self._elsewhere = elsewhere
        policy = ServicePolicy(
            home=Home(settings.region, settings.account),
            version=settings.version,
            is_shared=shared is not None,
            failures=FailurePolicy(park_after=settings.park_after),
        )
        self.service = Service(store, host.clock, host.ids, self._find_target, policy)
        self._dispatcher = Dispatcher(
            self.service,
            RemoteInvoker(
                elsewhere,
                InProcessInvoker[EmbeddedClient](
                    functions,
                    partial(EmbeddedClient, host=host, begin=store.begin, tally=store.tally),
                ),
            ),
            lambda: self.names,
            f"{socket.gethostname()}/{os.getpid()}/{host.ids.hex(8)}",
            worker
            or DispatcherPolicy(
                max_concurrency=settings.max_concurrency,
                lease=settings.lease,
                version=settings.version,
            ),
        )
        self._socket = None
        if isinstance(store, SqliteStore):
            self._socket = ControlSocket(
                self.service, store.path, self._check_start, lambda: self.names
            )
        self._work: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the store, listen, and begin to work on what is due.

        Raises:
            StoreError: the store cannot be used.
        """
        async with AsyncExitStack() as opened:
            await self._open_store()
            opened.push_async_callback(self.service.close)
            await self.service.keys.renew()  # a store without them is good for nothing here
            if self._socket is not None:
                await self._socket.open()
            opened.pop_all()
        self._work = asyncio.create_task(self._dispatcher.run(), name="durably dispatcher")
        self._work.add_done_callback(self._note_end)

    async def _open_store(self) -> None:
        """Open the store, with a little patience for a command that just now has it for itself."""
        clock = self.service.clock
        deadline = clock.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                await self.service.open()
            except StoreLockedError:
                is_here_to_stay = (
                    self._socket is None or ControlClient(self._socket.database).is_answered()
                )
                if is_here_to_stay or clock.monotonic() > deadline:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def drain(self, grace: timedelta) -> None:
        """Begin nothing more, and give what runs *grace*; then cut it off.

        Whoever still waits then, or when this is cancelled, is told that it is in vain.
        """
        self.service.waiters.is_ending = True
        try:
            await self._dispatcher.drain(grace)
        finally:
            self.service.waiters.abandon(_CLOSED, None)  # the dispatcher may be in a slow store

    async def close(self, grace: timedelta) -> None:
        """Begin nothing more, give what runs *grace*, and let go of everything.

        What is cut off after *grace* is not lost: it goes on the next time. So it is when this is
        cancelled meanwhile.

        Raises:
            StoreError: what was handed in last could not be written.
        """
        assert self._work is not None, "it was opened"
        try:
            await self.drain(grace)
        finally:
            await self.drain(timedelta(0))
            await asyncio.gather(self._work, return_exceptions=True)
            if self._socket is not None:
                await self._socket.close()
            await self.service.close()

    @property
    def is_in_its_loop(self) -> bool:
        """Whether this is called in the event loop it works in."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:  # in none
            return False

    @property
    def functions(self) -> Mapping[str, DurableFunction]:
        """The functions of this process, by name."""
        return self._functions

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all functions that can be called, here and elsewhere."""
        return (*self._functions, *self._elsewhere)

    @property
    def running(self) -> int:
        """How many invocations run now."""
        return self._dispatcher.running

    async def wait_for_running(self, seconds: float) -> None:
        """Wait until one of the invocations that run now has ended, but no longer than that."""
        await self._dispatcher.wait_for_running(seconds)

    async def start(
        self,
        function_name: str,
        payload: str | None,
        name: str | None,
        timeout_seconds: int | None,
        retention_days: int | None,
    ) -> str:
        """Start an execution whose result somebody here may wait for; see `Service.start`."""
        options = StartOptions(
            timeout_seconds=timeout_seconds, retention_days=retention_days, is_synchronous=True
        )
        return await self.service.start(function_name, payload, name=name, options=options)

    async def wait_for_work_to_end(self, *others: asyncio.Future[Any]) -> None:
        """Wait until no more is worked on here, or one of *others* is done.

        Raises:
            InvalidStateError: the worker broke, which is a defect of this library.
        """
        assert self._work is not None, "it was opened"
        watched: tuple[asyncio.Future[Any], ...] = (self._work, *others)
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if self._work.done() and not self._work.cancelled():
            error = self._work.exception()
            if error is not None:
                raise InvalidStateError(_BROKEN) from error

    def _note_end(self, work: asyncio.Task[None]) -> None:
        error = None if work.cancelled() else work.exception()
        self.service.waiters.abandon(_CLOSED if error is None else _BROKEN, error)

    def _check_start(self, name: str, payload: str | None) -> None:
        """Refuse what another process cannot have started here, in words for whoever asks there."""
        function = self._functions.get(name)
        if function is not None:
            check_input(function, payload)
        elif self._find_target(name) is None:
            known = sorted({*self._functions, *self._elsewhere})
            said = f"The process that works on this store has no function {name!r}; it has:"
            hint = did_you_mean(name, known)
            raise ResourceNotFoundException(f"{said} {', '.join(known) or 'none'}.{hint}")

    def _find_target(self, text: str) -> Target | None:
        name, qualifier = split_function_name(text)
        is_known = name in self._functions or name in self._elsewhere
        version = self.service.policy.version
        if is_known and qualifier in (None, LATEST, version):
            return Target(name, version)
        return None
