"""What those are told who wait for an answer of a server that ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from durably import Engine
from durably.app.settings import EngineSettings
from durably.engine.store import Claim
from durably.server.access import Access
from durably.server.app import make_app
from durably.server.attached import FunctionSettings
from durably.server.functions import EngineFunctions, FunctionCall, FunctionInfo, FunctionReply
from durably.server.listening import bound_socket, listening, port_of
from durably.server.serving import Serving, Source
from durably.stores.memory import MemoryStore
from tests.app.functions import ALL, GATES, Gate
from tests.server.wire import answer, head

LONG = timedelta(seconds=20)
PLAIN = FunctionSettings(name="plain", is_durable=False)
RUNTIME_SCRIPT = Path(__file__).with_name("small_runtime.py")


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


# Functions that are not durable


class _Target:
    """An address that takes invocations, and answers them when a test lets it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self.source = Source(settings=PLAIN, where="")

    async def __aenter__(self) -> Self:
        bound = bound_socket()
        self._server = await asyncio.start_server(self._take, sock=bound)
        self.source = Source(settings=PLAIN, where=f"http://127.0.0.1:{port_of(bound)}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.opened.set()
        self._server.close()
        await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.reached.set()
        await self.opened.wait()
        with suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7")
            await writer.drain()
        writer.close()


async def test_what_a_function_works_on_has_the_grace_to_be_answered() -> None:
    async with _Target() as target, door(target.source) as opened:
        asking = opened.invoke("plain", b"1")
        await target.reached.wait()
        assert opened.serving.running == 1
        closing = asyncio.create_task(opened.serving.close(LONG))
        refused, _, _ = await opened.invoke("echo", b"1")  # it has begun to end
        target.opened.set()
        status, _, body = await asking
        await closing

    assert (refused, status, body) == (500, 200, b"7")
    assert opened.serving.running == 0


async def test_who_has_called_a_function_is_told_that_it_may_have_been_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with _Target() as target, door(target.source) as opened:
        asking = opened.invoke("plain", b"1")
        await target.reached.wait()
        await opened.serving.close(timedelta(0))
        status, headers, body = await asking

    assert (status, headers["x-amzn-errortype"]) == (409, "resourceconflictexception")
    assert b"may have been called" in body
    assert not caplog.records


@pytest.mark.process
async def test_what_no_process_has_taken_may_be_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    where = f"{sys.executable} {RUNTIME_SCRIPT}"
    async with door(Source(settings=PLAIN, where=where)) as opened:
        first = opened.invoke("plain", b'{"do": "hang"}')
        while not opened.serving.running:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        second = opened.invoke("plain", b'{"do": "pid"}')
        await opened.invoke("echo", b"1")  # by then, the second waits for the process
        await opened.serving.close(timedelta(0))
        statuses = [(await one)[0] for one in (first, second)]
        body = (await second)[2]

    assert statuses == [409, 500]
    assert b"has started nothing" in body
    assert not caplog.records


# Requests that are cut off, whatever they do


class _Stuck(EngineFunctions):
    """Functions of which nobody ever hears."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.asked = asyncio.Event()

    async def call(self, call: FunctionCall) -> FunctionReply:
        call.on_taken()
        return FunctionReply(payload=await self._never())

    async def post(self, call: FunctionCall) -> None:
        await self._never()

    def find(self, name: str, qualifier: str | None) -> FunctionInfo | None:
        return FunctionInfo(name=name, is_durable=False)

    async def _never(self) -> bytes:
        self.asked.set()
        await asyncio.Event().wait()
        return b""


@pytest.mark.parametrize(
    ("kind", "length", "status", "error"),
    [
        ("RequestResponse", 1, 409, "resourceconflictexception"),
        ("Event", 1, 409, "resourceconflictexception"),
        ("RequestResponse", 2, 500, "serviceexception"),  # of which one byte never comes
    ],
)
async def test_a_request_that_is_cut_off_is_answered_in_the_shape_of_the_service(
    kind: str, length: int, status: int, error: str
) -> None:
    async with Engine("memory:", ALL, grace=0) as engine:
        functions = _Stuck(engine)
        api = bound_socket()
        async with listening(
            make_app(engine, functions=functions), [api], grace_seconds=0
        ) as crowd:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
            first = "POST /2015-03-31/functions/plain/invocations HTTP/1.1"
            invocation = f"X-Amz-Invocation-Type: {kind}"
            writer.write(head(first, invocation, f"Content-Length: {length}") + b"1")
            if length == 1:
                await functions.asked.wait()
            while not len(crowd):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        said, headers, _ = answer(await reader.read())
        writer.close()

    assert (said, headers["x-amzn-errortype"]) == (status, error)
