"""Callers that go away while what they have asked for waits for a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from durably import Engine
from durably.engine.arns import Home
from durably.engine.invokers import Call
from durably.server.app import make_app
from durably.server.attached import Attached, FunctionSettings
from durably.server.guards import Limits
from durably.server.listening import bound_socket, listening, port_of
from durably.server.runtimes import Runtime
from tests.app.functions import ALL
from tests.server.support import RuntimeClient, request_id_of, runtimes
from tests.server.wire import answer, head

INVOKE = "POST /2015-03-31/functions/plain/invocations HTTP/1.1"
PLAIN = FunctionSettings(name="plain", is_durable=False)


class Door:
    """The API of a server with one function that is not durable."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(
        self, body: bytes, *headers: str, is_kept: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        said = head(INVOKE, f"Content-Length: {len(body)}", *headers)
        writer.write((said.replace(b"Connection: close\r\n", b"") if is_kept else said) + body)
        return reader, writer

    async def status_of(self, body: bytes) -> int:
        reader, writer = await self.ask(body)
        try:
            return answer(await reader.read())[0]
        finally:
            writer.close()


@asynccontextmanager
async def served(limits: Limits) -> AsyncIterator[tuple[Door, Runtime, RuntimeClient]]:
    async with runtimes(PLAIN) as [(plain, worker)], Engine("memory:", ALL, grace=0) as engine:
        bound = bound_socket()
        app = make_app(engine, functions=Attached({}, [plain], Home()), limits=limits)
        async with listening(app, [bound]):
            yield Door(port_of(bound)), plain, worker


async def taken_by(worker: RuntimeClient) -> tuple[str, bytes]:
    taken = await worker.next()
    return request_id_of(taken), taken.content


@pytest.mark.parametrize("limits", [Limits(max_waiting=1), Limits(max_waiting_bytes=8)], ids=str)
async def test_who_goes_away_before_a_process_has_the_call_frees_its_place(limits: Limits) -> None:
    async with served(limits) as (door, plain, worker):
        _, first = await door.ask(b"1111")
        while not plain._waiting:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        assert await door.status_of(b"22222") == 429
        first.close()
        while plain._waiting:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)

        asked = asyncio.create_task(door.status_of(b"3333"))
        request_id, content = await taken_by(worker)
        assert content == b"3333"
        await worker.say(request_id, "response", 3)
        assert await asked == 200


async def test_who_goes_away_later_does_not_take_the_call_from_the_process() -> None:
    async with served(Limits(max_waiting=1)) as (door, _, worker):
        _, first = await door.ask(b"1111")
        request_id, _ = await taken_by(worker)
        first.close()
        for _ in range(20):
            assert await door.status_of(b"2222") == 429  # the process is still at work on it

        assert (await worker.say(request_id, "response", 1)).status_code == 202


async def pipelined(writer: asyncio.StreamWriter, *bursts: bytes) -> None:
    """Send more before there is an answer, so that each burst is read apart, and hang up."""
    for burst in bursts:
        writer.write(burst)
        await asyncio.sleep(0.02)
    writer.close()


async def test_who_asks_for_more_before_the_answer_and_goes_away_frees_his_place() -> None:
    async with served(Limits(max_waiting=1)) as (door, plain, worker):
        _, first = await door.ask(b"1111", is_kept=True)
        while not plain._waiting:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        await pipelined(first, b"G", b"ET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"x")
        while plain._waiting:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)

        asked = asyncio.create_task(door.status_of(b"3333"))
        request_id, content = await taken_by(worker)
        assert content == b"3333"
        await worker.say(request_id, "response", 3)
        assert await asked == 200


@pytest.mark.parametrize("headers", [(), ("Upgrade: h2c", "Connection: Upgrade")], ids=len)
async def test_who_sends_too_much_before_the_answer_is_hung_up_on(headers: tuple[str, ...]) -> None:
    async with served(Limits(max_waiting=1)) as (door, plain, _):
        reader, first = await door.ask(b"1111", *headers, is_kept=True)
        while not plain._waiting:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        first.write(b"x" * 70_000)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        first.close()
        while plain._waiting:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_a_runtime_that_asks_again_and_again_and_goes_away_takes_no_call() -> None:
    async with runtimes(PLAIN) as [(plain, worker)]:
        port = worker.http.base_url.port
        asks = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: localhost:1\r\n\r\n"
        _, ghost = await asyncio.open_connection("127.0.0.1", port)
        await pipelined(ghost, asks, asks, asks)
        while plain.asking:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)

        calling = asyncio.create_task(
            plain.call(Call(request_id="one", function_arn="arn", payload=lambda: b"1"))
        )
        await worker.answer(2)
        assert await calling == b"2"
