"""Clients that send nothing, too little or too slowly, or do not read. Over real sockets."""

import asyncio
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from starlette.types import Receive, Scope, Send

from durably.server.connections import (
    ConnectionLimits,
    Crowd,
    allow_open_files,
    open_files_limit,
)
from durably.server.guards import Limits
from durably.server.listening import bound_socket, listening, port_of
from tests.app.functions import GATES, Gate
from tests.server.wire import FUNCTIONS, INVOKE, Wire, answer, head, serving

IDLE = 3000
HALF_A_HEAD = b"GET /2015-03-31/func"
AT_ONCE = ConnectionLimits(head_seconds=0.05, reply_seconds=0.05)
KEPT = b"GET /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\n\r\n"


def few(count: int) -> ConnectionLimits:
    """Let there be *count* connections, for as long as they like."""
    return ConnectionLimits(max_connections=count, head_seconds=600, reply_seconds=600)


async def is_hung_up(reader: asyncio.StreamReader) -> bool:
    """Wait until the server has ended a connection, and say whether it did so without a word."""
    with suppress(ConnectionError):
        return await reader.read() == b""
    return True


async def until_empty(crowd: Crowd) -> None:
    while len(crowd):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)


async def gated(wire: Wire, name: str, **how: object) -> asyncio.Task[bytes]:
    """Invoke a function that waits for its gate; return when it does."""
    gate = GATES[name] = Gate()
    said = f'"{name}"'.encode()
    path = "/2015-03-31/functions/gated/invocations"
    reader, writer = await wire.connect(**how)
    writer.write(head(f"POST {path} HTTP/1.1", f"Content-Length: {len(said)}") + said)
    await gate.reached.wait()

    async def read() -> bytes:
        try:
            return await reader.read()
        finally:
            writer.close()

    return asyncio.create_task(read())


# Time


@pytest.mark.parametrize("sent", [b"", b"G", HALF_A_HEAD, KEPT[:-2]], ids=len)
async def test_a_head_that_never_ends_is_not_waited_for(sent: bytes) -> None:
    async with serving(connections=AT_ONCE) as wire:
        reader, writer = await wire.connect()
        writer.write(sent)
        assert await is_hung_up(reader)
        await until_empty(wire.crowd)
        writer.close()


async def test_a_head_that_trickles_is_cut_off() -> None:
    async with serving(connections=AT_ONCE) as wire:
        reader, writer = await wire.connect()

        async def trickle() -> None:
            writer.write(HALF_A_HEAD)
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        assert await is_hung_up(reader)
        trickling.cancel()
        writer.close()


async def test_the_head_of_a_later_request_is_not_waited_for_either() -> None:
    async with serving(connections=ConnectionLimits(head_seconds=0.5)) as wire:
        reader, writer = await wire.connect()
        writer.write(KEPT)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.write(HALF_A_HEAD)  # with that, uvicorn waits for ever
        await reader.read()
        await until_empty(wire.crowd)
        writer.close()


async def test_many_requests_on_one_connection_have_their_time_each() -> None:
    async with serving(connections=ConnectionLimits(head_seconds=5)) as wire:
        reader, writer = await wire.connect()
        for number in range(20):
            writer.write(KEPT * 2 if number % 2 else KEPT[:30])
            await asyncio.sleep(0)
            writer.write(b"" if number % 2 else KEPT[30:])
            for _ in range(1 + number % 2):
                top = (await reader.readuntil(b"\r\n\r\n")).decode()
                assert top.startswith("HTTP/1.1 200")
                length = next(one for one in top.split("\r\n") if "content-length" in one)
                await reader.readexactly(int(length.rpartition(" ")[2]))
        assert len(wire.crowd) == 1
        writer.close()
        await until_empty(wire.crowd)


@contextmanager
def client_with_small_buffers() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.settimeout(9)
        yield made


LARGE = b'"' + b"x" * 5_000_000 + b'"'
ECHO_LARGE = head(f"POST {INVOKE} HTTP/1.1", f"Content-Length: {len(LARGE)}") + LARGE


async def test_a_reply_that_is_not_read_is_not_kept() -> None:
    patient = ConnectionLimits(head_seconds=60, reply_seconds=0.05)
    with client_with_small_buffers() as silent:
        async with serving(connections=patient) as wire:
            await asyncio.to_thread(silent.connect, ("127.0.0.1", wire.port))
            await asyncio.to_thread(silent.sendall, ECHO_LARGE)
            await until_empty(wire.crowd)


async def test_a_reply_that_is_read_slowly_has_a_time_of_its_own() -> None:
    with client_with_small_buffers() as slow:
        async with serving(connections=ConnectionLimits(head_seconds=0.5)) as wire:
            await asyncio.to_thread(slow.connect, ("127.0.0.1", wire.port))
            await asyncio.to_thread(slow.sendall, ECHO_LARGE)
            begun = await asyncio.to_thread(slow.recv, 1)
            reader, writer = await wire.connect()
            assert await is_hung_up(reader)  # so long would it have had as a head
            writer.close()
            with slow.makefile("rb") as rest:
                status, _, body = answer(begun + await asyncio.to_thread(rest.read))
    assert status == 200
    assert len(body) == len(LARGE)


async def test_what_is_written_leaves_at_once() -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_once = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        accepted.set_result(at_once)
        writer.close()

    bound = bound_socket()
    async with await asyncio.start_server(note, sock=bound):
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(bound))
        assert await accepted
        writer.close()


# Numbers


@pytest.mark.timeout(60)
async def test_thousands_of_idle_sockets_keep_nobody_out_and_leave_nothing() -> None:
    allow_open_files()
    count = min(IDLE, open_files_limit() // 2)
    async with serving(connections=few(100)) as wire:
        idle = [await wire.connect() for _ in range(count)]
        for number, (_, writer) in enumerate(idle):
            writer.write(HALF_A_HEAD[: number % 20])
        assert (await wire.say(FUNCTIONS))[0] == 200
        assert len(wire.crowd) <= 100
        for _, writer in idle:
            writer.close()
        await until_empty(wire.crowd)


async def test_slow_bodies_keep_nobody_out() -> None:
    async with serving(Limits(max_requests=1, max_waiting=1), few(20)) as wire:
        for path in (INVOKE, "/2025-12-01/durable-executions/a/stop"):
            slow = [await wire.connect() for _ in range(50)]
            for _, writer in slow:
                writer.write(head(f"POST {path} HTTP/1.1", "Content-Length: 9") + b"1")
            assert (await wire.say(FUNCTIONS))[0] == 200
            one = (f"POST {INVOKE} HTTP/1.1", "Content-Length: 1")
            assert (await wire.say(*one, body=b"1"))[0] == 200
            for _, writer in slow:
                writer.close()
        await until_empty(wire.crowd)


async def test_the_connection_that_was_waited_for_longest_makes_room() -> None:
    async with serving(connections=few(4)) as wire:
        working = await gated(wire, "works")  # the oldest, but it is at work
        first, writer = await wire.connect()
        writers = [writer, *[(await wire.connect())[1] for _ in range(2)]]
        assert await is_hung_up(first)
        GATES["works"].opened.set()
        assert answer(await working)[0] == 200
        for one in writers:
            one.close()


@pytest.mark.skipif(sys.platform != "linux", reason="has one loopback address")
async def test_one_client_never_has_all_connections() -> None:
    async with serving(connections=few(4)) as wire:
        tasks = [await gated(wire, f"greedy {number}") for number in range(3)]
        reader, writer = await wire.connect()
        assert await is_hung_up(reader)
        writer.close()

        tasks.append(await gated(wire, "other", local_addr=("127.0.0.2", 0)))
        reader, writer = await wire.connect(local_addr=("127.0.0.3", 0))
        assert await is_hung_up(reader)  # there are four
        writer.close()

        for name in ("greedy 0", "greedy 1", "greedy 2", "other"):
            GATES[name].opened.set()
        assert [answer(await task)[0] for task in tasks] == [200] * 4
        await until_empty(wire.crowd)
        assert (await wire.say(FUNCTIONS))[0] == 200


@pytest.mark.skipif(sys.platform != "linux", reason="has one loopback address")
async def test_a_client_makes_room_for_itself_and_not_at_the_cost_of_others() -> None:
    async with serving(connections=few(4)) as wire:
        reader, other = await wire.connect(local_addr=("127.0.0.2", 0))
        first, writer = await wire.connect()
        writers = [writer, *[(await wire.connect())[1] for _ in range(9)]]
        assert await is_hung_up(first)
        other.write(KEPT)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for one in (other, *writers):
            one.close()


def test_connections_leave_files_for_everything_else() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        few = Crowd(ConnectionLimits(), dict)
        allow_open_files()
        more = Crowd(ConnectionLimits(), dict)
        allowed = open_files_limit()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert (few.max_connections, few.max_of_client, few.backlog) == (100, 75, 50)
    assert (allowed, more.max_connections) == (10_240, 4000) or allowed == hard


async def test_what_breaks_off_a_request_is_not_answered_within_the_reply_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def begin_to_reply(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    bound = bound_socket()
    port = port_of(bound)
    async with listening(begin_to_reply, [bound]):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(f"POST {INVOKE} HTTP/1.1", "Transfer-Encoding: chunked"))
        async with asyncio.timeout(5):
            said = await reader.readuntil(b"begun")
            writer.write(b"no length of a chunk\r\n")
            said += await reader.read()
        writer.close()

    assert said.count(b"HTTP/1.1") == 1
    assert said.rstrip().endswith(b"begun")
    assert not [record.message for record in caplog.records if record.levelname == "ERROR"]
