"""How much functions behind the Runtime API may hold: places of others, calls, connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import quote

import httpx
import pytest

from durably import Engine, TooManyRequestsException
from durably.engine.arns import Home
from durably.engine.invokers import Call, FunctionError
from durably.server.app import make_app
from durably.server.attached import MAX_POSTED, Attached, FunctionSettings
from durably.server.functions import FunctionCall, FunctionInfo
from durably.server.guards import Limits
from durably.server.runtime_api import MAX_ASKING
from tests.app.functions import ALL
from tests.server.served import http_client
from tests.server.support import (
    RUNTIME,
    RuntimeClient,
    request_id_of,
    runtimes,
    service_with,
    wait_for_event,
)
from tests.server.wire import answer

DURABLE = FunctionSettings(name="slow")
PLAIN = FunctionSettings(name="plain", is_durable=False)
OTHER = FunctionSettings(name="other", is_durable=False)
DONE = {"Status": "SUCCEEDED", "Result": "1"}
HERE = {function.name: function for function in ALL}


async def test_what_waits_for_a_slow_process_takes_no_place_of_another_function() -> None:
    async with (
        runtimes(DURABLE) as [(runtime, client)],
        service_with({"slow": runtime}, HERE, max_concurrency=2) as service,
    ):
        slow = [await service.start("slow", "1") for _ in range(5)]
        taken = await client.next()

        closed = await service.wait_closed(await service.start("echo", "2"))

        assert closed.result == "2"
        await client.say(request_id_of(taken), "response", DONE)
        for _ in slow[1:]:
            await client.answer(DONE)
        assert [(await service.wait_closed(arn)).result for arn in slow] == ["1"] * 5


async def test_a_call_of_which_a_runtime_reads_no_more_than_the_head_fails_at_once() -> None:
    payload = b'"' + b"x" * 32 * 1024 * 1024 + b'"'  # more than a system buffers
    async with runtimes(DURABLE) as [(runtime, client)]:
        call = Call(request_id="r", function_arn="arn", payload=lambda: payload)
        called = asyncio.create_task(runtime.call(call))
        with socket.socket() as asking:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or all of it fits in
            asking.connect((client.http.base_url.host, client.http.base_url.port))
            asking.sendall(
                f"GET {RUNTIME}/invocation/next HTTP/1.1\r\nHost: localhost:1\r\n\r\n".encode()
            )
            head = await asyncio.to_thread(asking.recv, 1024)

        assert b"HTTP/1.1 200 OK" in head
        with pytest.raises(FunctionError, match="could not be handed out"):
            await called


async def test_a_function_has_as_many_invocations_as_runtimes_that_ask() -> None:
    async with (
        runtimes(DURABLE) as [(runtime, client)],
        service_with({"slow": runtime}, max_concurrency=2) as service,
    ):
        asking = [asyncio.create_task(client.next()) for _ in range(3)]
        while runtime.asking < 3:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        for _ in range(3):
            await service.start("slow", "1")

        first, *_ = taken = [await one for one in asyncio.as_completed(asking[:2])]

        assert len({request_id_of(one) for one in taken}) == 2
        assert runtime.capacity == 3
        await client.say(request_id_of(first), "response", DONE)
        await asking[2]


async def test_a_runtime_that_asks_again_beside_one_at_work_is_given_the_next_at_once() -> None:
    async with (
        runtimes(DURABLE) as [(runtime, client)],
        service_with({"slow": runtime}) as service,
    ):
        long = await service.start("slow", "1")
        at_work = await client.next()
        arns = [await service.start("slow", "1") for _ in range(4)]

        for _ in arns:
            await client.answer(DONE)

        assert [(await service.wait_closed(arn)).result for arn in arns] == ["1"] * 4
        assert not (await service.get(long)).is_closed
        await client.say(request_id_of(at_work), "response", DONE)
        await service.wait_closed(long)


async def test_functions_elsewhere_leave_a_place_to_what_is_due_before_their_next() -> None:
    a, b = FunctionSettings(name="a"), FunctionSettings(name="b")
    async with (
        runtimes(a, b) as [(runtime_a, client_a), (runtime_b, client_b)],
        service_with({"a": runtime_a, "b": runtime_b}, HERE, max_concurrency=2) as service,
    ):
        for name in ("a", "b") * 2:
            await service.start(name, "1")
        here = await service.start("echo", "2")
        later = [await service.start(name, "1") for name in ("a", "b") * 10]

        async def work(client: RuntimeClient) -> None:
            while True:
                await client.answer(DONE)

        workers = [asyncio.create_task(work(client)) for client in (client_a, client_b)]
        await service.wait_closed(here)

        assert not (await service.get(later[-1])).is_closed
        for arn in later:
            await service.wait_closed(arn)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/invocation/next", 405),
        ("POST", "/invocation/next", 405),
        ("GET", "/init/error", 405),
        ("GET", "/nowhere", 404),
    ],
)
async def test_an_invocation_is_taken_in_one_way(method: str, path: str, status: int) -> None:
    async with runtimes(DURABLE) as [(runtime, client)]:
        call = Call(request_id="r", function_arn="arn", payload=lambda: b"{}")
        answered = asyncio.create_task(runtime.call(call))
        await runtime.wait_for_call()

        reply = await client.http.request(method, f"{RUNTIME}{path}")

        assert reply.status_code == status
        assert reply.headers["content-type"] == "application/json"
        if method != "HEAD":
            assert reply.json()["errorType"] == "UnknownOperation"
        assert not runtime.is_busy
        await client.answer("yes")
        assert await answered == b'"yes"'


async def test_only_so_many_runtimes_wait_for_one_function() -> None:
    async with runtimes(DURABLE, OTHER) as [(runtime, client), (other, stranger)]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=client.http.base_url, limits=limits) as many:
            path = f"{RUNTIME}/invocation/next"
            asking = [asyncio.create_task(many.get(path, timeout=None)) for _ in range(MAX_ASKING)]
            while runtime.asking < MAX_ASKING:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)

            refused = await client.http.get(path)

            assert (refused.status_code, refused.json()["errorType"]) == (429, "TooManyRequests")
            allowed = asyncio.create_task(stranger.next())
            asking.pop().cancel()
            while runtime.asking == MAX_ASKING or not other.asking:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            for one in (*asking, allowed):
                one.cancel()
            await asyncio.gather(*asking, allowed, return_exceptions=True)


async def test_calls_that_are_posted_are_bounded() -> None:
    async with AsyncExitStack() as opened:
        [(plain, worker), (other, _)] = await opened.enter_async_context(runtimes(PLAIN, OTHER))
        attached = Attached({}, [plain, other], Home())
        opened.push_async_callback(attached.close)
        engine = await opened.enter_async_context(Engine("memory:", ALL, grace=0))
        client = await opened.enter_async_context(http_client(make_app(engine, functions=attached)))

        async def post(name: str) -> httpx.Response:
            path = f"/2015-03-31/functions/{name}/invocations"
            return await client.post(path, content=b"1", headers={"X-Amz-Invocation-Type": "Event"})

        for _ in range(MAX_POSTED):
            assert (await post("plain")).status_code == 202
        refused = await post("plain")

        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert refused.json()["__type"] == "TooManyRequestsException"
        assert (await post("other")).status_code == 202
        await worker.answer(1)
        while (again := await post("plain")).status_code == 429:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        assert again.status_code == 202


async def test_what_posted_calls_carry_is_bounded_and_leaves_room_to_other_functions() -> None:
    async with runtimes(PLAIN, OTHER) as [(plain, _), (other, _)]:
        attached = Attached({}, [plain, other], Home())
        large = b" " * 64 * 1024 * 1024  # one, told again and again

        async def post(name: str, payload: bytes) -> None:
            await attached.post(FunctionCall(function=FunctionInfo(name=name), payload=payload))

        for _ in range(2):
            await post("plain", large)
        with pytest.raises(TooManyRequestsException):
            await post("plain", large)
        await post("other", large)
        with pytest.raises(TooManyRequestsException):
            await post("other", large)
        await attached.close()


@pytest.mark.parametrize("limits", [Limits(max_waiting=4), Limits(max_waiting_bytes=16)], ids=str)
async def test_whoever_waits_for_one_function_leaves_places_to_the_others(limits: Limits) -> None:
    async with AsyncExitStack() as opened:
        served = await opened.enter_async_context(runtimes(PLAIN, OTHER))
        [(plain, worker), (_, other_worker)] = served
        attached = Attached({}, [one for one, _ in served], Home())
        engine = await opened.enter_async_context(Engine("memory:", ALL, grace=0))
        app = make_app(engine, functions=attached, limits=limits)
        client = await opened.enter_async_context(http_client(app))

        async def ask(name: str) -> httpx.Response:
            async with asyncio.timeout(5):
                path = f"/2015-03-31/functions/{name}/invocations"
                return await client.post(path, content=b"1111")

        waiting = [asyncio.create_task(ask("plain")) for _ in range(2)]
        while len(plain._waiting) < 2:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        arn = quote(Home().function_arn("plain", "$LATEST"), safe="")
        for spelling in ("plain", "plain:$LATEST", "%70lain", arn):
            assert (await ask(spelling)).status_code == 429, spelling

        other = asyncio.create_task(ask("other"))
        await other_worker.answer(2)
        assert (await other).status_code == 200
        for _ in waiting:
            await worker.answer(1)
        assert [(await one).status_code for one in waiting] == [200, 200]


async def trickle(client: RuntimeClient, path: str) -> tuple[int, dict[str, str], bytes]:
    """Send one byte of a body that was to be longer, and wait for what is said of it."""
    port = client.http.base_url.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (f"POST {RUNTIME}{path} HTTP/1.1", f"Host: localhost:{port}", "Content-Length: 100")
    writer.write("\r\n".join((*lines, "", "1")).encode())
    try:
        async with asyncio.timeout(5):
            return answer(await reader.read())
    finally:
        writer.close()


async def test_what_is_sent_to_a_runtime_is_made_when_one_takes_it() -> None:
    made: list[int] = []

    def payload() -> bytes:
        made.append(runtime.asking)
        return b"1"

    async with runtimes(PLAIN) as [(runtime, client)]:
        asking = [asyncio.create_task(client.next()) for _ in range(3)]
        while runtime.asking < 3:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)

        call = Call(request_id="r", function_arn="arn", payload=payload)
        answered = asyncio.create_task(runtime.call(call))
        done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        await client.say("r", "response", 2)

        assert await answered == b"2"
        assert len(made) == 1
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_an_answer_that_is_too_much_to_build_is_no_answer() -> None:
    settings = FunctionSettings(name="durable")
    async with (
        runtimes(settings) as [(runtime, client)],
        service_with({"durable": runtime}) as service,
    ):
        arn = await service.start("durable", "1")
        crowded = {"Status": "SUCCEEDED", "Result": "1", "more": [0] * 200_000}
        await client.answer(crowded)

        event = await wait_for_event(service, arn, "InvocationCompleted")
        assert "more than 100,000 lists, objects and commas" in str(event)


@pytest.mark.parametrize("kind", ["response", "error"])
async def test_an_answer_that_trickles_is_not_waited_for(kind: str) -> None:
    limits = Limits(body_seconds=0.05)
    async with runtimes(PLAIN, limits=limits) as [(runtime, client)]:
        call = Call(request_id="r", function_arn="arn", payload=lambda: b"{}")
        answered = asyncio.create_task(runtime.call(call))
        await client.next()

        status, headers, body = await trickle(client, f"/invocation/r/{kind}")

        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(body)["errorType"] == "RequestTimeout"
        with pytest.raises(FunctionError, match="took too long to arrive") as caught:
            await asyncio.wait_for(answered, 5)
        assert caught.value.error_type == "Runtime.InvalidResponse"
        assert not runtime.is_busy
        for path, expected in ((f"/invocation/r/{kind}", 400), ("/init/error", 408)):
            assert (await trickle(client, path))[0] == expected


async def test_an_answer_that_is_streamed_may_take_longer_than_each_part_of_it() -> None:
    async with runtimes(PLAIN, limits=Limits(body_seconds=1)) as [(runtime, client)]:
        call = Call(request_id="r", function_arn="arn", payload=lambda: b"{}")
        answered = asyncio.create_task(runtime.call(call))
        await client.next()

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(13):
                yield b"1"
                await asyncio.sleep(0.1)

        reply = await client.http.post(f"{RUNTIME}/invocation/r/response", content=parts())

        assert reply.status_code == 202
        assert await answered == b"1" * 13


async def test_no_answer_may_take_longer_than_its_function() -> None:
    hasty = FunctionSettings(name="hasty", timeout_seconds=0.2)
    async with runtimes(hasty) as [(_, client)]:
        assert (await trickle(client, "/init/error"))[0] == 408


async def test_an_answer_that_is_broken_off_may_be_sent_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with runtimes(PLAIN) as [(runtime, client)]:
        call = Call(request_id="r", function_arn="arn", payload=lambda: b"{}")
        answered = asyncio.create_task(runtime.call(call))
        await client.next()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await trickle(client, "/invocation/r/response")

        assert (await client.say("r", "response", 7)).status_code == 202
        assert await answered == b"7"
    assert not [record.message for record in caplog.records if record.levelname == "ERROR"]
