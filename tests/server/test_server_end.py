"""What those are told who wait for an answer of a server that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from durably.app.settings import EngineSettings
from durably.engine.store import Claim
from durably.server.access import Access
from durably.server.listening import bound_socket, port_of
from durably.server.serving import Serving, Source
from durably.stores.memory import MemoryStore
from tests.app.functions import ALL, GATES, Gate
from tests.server.wire import answer, head

LONG = timedelta(seconds=20)


@dataclass
class Door:
    """A server, and the API of it."""

    serving: Serving
    port: int

    def invoke(self, name: str, payload: bytes) -> asyncio.Task[tuple[int, dict[str, str], bytes]]:
        """Give what the server answers a synchronous Invoke."""
        return asyncio.create_task(self._invoke(name, payload))

    async def _invoke(self, name: str, payload: bytes) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        first = f"POST /2015-03-31/functions/{name}/invocations HTTP/1.1"
        writer.write(head(first, f"Content-Length: {len(payload)}") + payload)
        try:
            return answer(await reader.read())
        finally:
            writer.close()


@asynccontextmanager
async def door(*sources: Source) -> AsyncIterator[Door]:
    """Open a server; the test closes it."""
    api = bound_socket()
    here = {one.name: one for one in ALL}
    settings = EngineSettings(store_url="memory:")
    serving = Serving(settings, here, sources, api, Access(), lambda *_: None)
    await serving.open()
    yield Door(serving, port_of(api))


async def test_who_waits_is_told_so_when_the_grace_is_cut_short() -> None:
    async with door() as opened:
        gate = GATES["g"] = Gate()
        asking = opened.invoke("gated", b'"g"')
        await gate.reached.wait()
        closing = asyncio.create_task(opened.serving.close(LONG))
        refused, _, _ = await opened.invoke("echo", b"1")  # it has begun to end
        closing.cancel()
        status, headers, _ = await asking
        with suppress(asyncio.CancelledError):
            await closing

    assert refused == 500
    assert (status, headers["x-amzn-errortype"]) == (409, "resourceconflictexception")
    assert "gated" in headers["x-amz-durable-execution-arn"]


class _SlowStore(MemoryStore):
    """A store that takes its time for claims, from a moment on."""

    def __init__(self) -> None:
        super().__init__()
        self.is_slow = False
        self.asked = asyncio.Event()
        self.freed = asyncio.Event()

    async def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        if self.is_slow:
            self.asked.set()
            await self.freed.wait()
        return await super().claim(worker, functions, now, lease, limit)


async def test_who_waits_is_told_so_while_the_store_is_slow(monkeypatch: Any) -> None:
    store = _SlowStore()
    monkeypatch.setattr("durably.server.serving.make_store", lambda _: store)
    async with door() as opened:
        store.is_slow = True
        asking = opened.invoke("echo", b"1")
        await store.asked.wait()
        closing = asyncio.create_task(opened.serving.close(timedelta(0)))
        status, headers, _ = await asking
        store.freed.set()
        await closing

    assert (status, headers["x-amzn-errortype"]) == (409, "resourceconflictexception")
