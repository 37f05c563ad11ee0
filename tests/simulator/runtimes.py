"""Functions elsewhere as one process of the backend has them: by runtimes that ask it for calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

from durably.engine.invokers import Call, RemoteFunction
from tests.simulator.stage import Stage

_MAX_PAUSE_SECONDS = 0.5


class AskingFunction:
    """A function of so many runtimes. Further calls wait until one of them asks again.

    Args:
        inner: how it is called.
        count: how many runtimes ask this process for its calls.
    """

    is_durable = True

    def __init__(self, stage: Stage, inner: RemoteFunction, count: int) -> None:
        self._stage = stage
        self._inner = inner
        self._asking = asyncio.Semaphore(count)
        self._free = count
        self._taken = 0
        self._listeners: list[Callable[[], None]] = []

    @property
    def capacity(self) -> int:
        """See `RemoteFunction`."""
        return max(self._free + self._taken, 1)

    def on_room(self, listener: Callable[[], None], /) -> None:
        """See `RemoteFunction`."""
        self._listeners.append(listener)

    async def call(self, call: Call, /) -> bytes:
        """See `RemoteFunction`."""
        if self._asking.locked():
            self._stage.trace.reach("call waited for a runtime")
        await self._asking.acquire()
        with self._taken_by_one():
            return await self._inner.call(call)

    @contextmanager
    def _taken_by_one(self) -> Generator[None]:
        self._free -= 1
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
            pause = self._stage.random.uniform(0, _MAX_PAUSE_SECONDS)
            self._stage.loop.call_later(pause, self._ask)

    def _ask(self) -> None:
        self._free += 1
        self._asking.release()
        for listener in self._listeners:
            listener()
