"""Functions behind an HTTP address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from durably.engine.invokers import Call, FunctionError
from durably.engine.policy import StartOptions
from durably.errors import ValidationError
from durably.server.attached import FunctionSettings
from durably.server.http_target import EMULATOR_PATH, HttpTarget
from durably.server.listening import bound_socket, listening, port_of
from durably.server.runtime_api import MAX_ANSWER_BYTES
from tests.network import only_this_machine
from tests.server.support import service_with

DURABLE = FunctionSettings(name="f")
DONE = json.dumps({"Status": "SUCCEEDED", "Result": "1"})
Endpoint = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def target(endpoint: Endpoint, path: str = EMULATOR_PATH) -> AsyncIterator[str]:
    """Serve *endpoint*; give the address of its host."""
    app = Starlette(routes=[Route(path, endpoint, methods=["GET", "POST"])])
    bound = bound_socket()
    async with listening(app, [bound]):
        yield f"http://127.0.0.1:{port_of(bound)}"


def a_call(**changes: Any) -> Call:
    fields: dict[str, Any] = {"request_id": "r", "function_arn": "arn", "payload": lambda: b"{}"}
    return Call(**fields | changes)


async def test_an_execution_is_run_by_posting_its_invocations() -> None:
    got: list[tuple[Any, dict[str, str]]] = []

    async def endpoint(request: Request) -> Response:
        got.append((await request.json(), dict(request.headers)))
        return Response(DONE)

    async with target(endpoint) as url:
        function = HttpTarget(DURABLE, url)
        async with service_with({"f": function}) as service:
            options = StartOptions(trace_id="Root=1-5", tenant_id="acme")
            arn = await service.start("f", "1", options=options)

            assert (await service.wait_closed(arn)).result == "1"

    [(event, headers)] = got
    assert event["DurableExecutionArn"] == arn
    assert headers["content-type"] == "application/json"
    assert headers["x-amzn-trace-id"] == "Root=1-5"
    assert headers["x-amz-tenant-id"] == "acme"
    assert len(headers["x-amzn-requestid"]) == 36


async def test_an_address_with_a_path_is_used_as_it_is() -> None:
    async def endpoint(request: Request) -> Response:
        return Response(request.url.query)

    async with target(endpoint, "/own/path") as url:
        function = HttpTarget(DURABLE, f"{url}/own/path?code=7")

        assert await function.call(a_call()) == b"code=7"


async def test_what_the_function_reports_is_raised() -> None:
    said = b'{"errorType": "E",  "errorMessage": "m"}'

    async def endpoint(request: Request) -> Response:
        return Response(said, headers={"X-Amz-Function-Error": "Unhandled"})

    async with target(endpoint) as url:
        with pytest.raises(FunctionError, match="E: m") as failure:
            await HttpTarget(DURABLE, url).call(a_call())

    assert failure.value.payload == said


async def test_a_redirect_is_not_followed() -> None:
    seen: list[str] = []

    async def endpoint(request: Request) -> Response:
        seen.append(request.url.path)
        return RedirectResponse("/elsewhere")

    async with target(endpoint, "/{path:path}") as url:
        with pytest.raises(FunctionError, match="HTTP status 307"):
            await HttpTarget(DURABLE, url).call(a_call())

    assert seen == [EMULATOR_PATH]


async def test_an_answer_that_is_too_large_is_not_taken() -> None:
    async def endpoint(request: Request) -> Response:
        return Response(b"x" * (MAX_ANSWER_BYTES + 1))

    async with target(endpoint) as url:
        with pytest.raises(FunctionError) as failure:
            await HttpTarget(DURABLE, url).call(a_call())

    assert failure.value.error_type == "Function.ResponseSizeTooLarge"


async def test_a_target_that_never_answers_hits_the_time_out() -> None:
    hasty = FunctionSettings(name="f", timeout_seconds=0.05)
    let_go = asyncio.Event()

    async def endpoint(request: Request) -> Response:
        await let_go.wait()
        return Response(DONE)

    async with target(endpoint) as url:
        with pytest.raises(FunctionError) as failure:
            await HttpTarget(hasty, url).call(a_call())
        let_go.set()

    assert failure.value.error_type == "Sandbox.Timedout"


async def test_a_target_that_is_not_there_is_named() -> None:
    with bound_socket() as nobody:
        url = f"http://127.0.0.1:{port_of(nobody)}"

        with pytest.raises(FunctionError, match="cannot be reached") as failure:
            await HttpTarget(DURABLE, url).call(a_call())

    assert failure.value.error_type == "Runtime.Unreachable"


@pytest.mark.parametrize(
    "said",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"],
)
async def test_an_answer_that_breaks_off_is_none(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(FunctionError) as failure:
            await HttpTarget(DURABLE, f"http://127.0.0.1:{port}").call(a_call())

    assert failure.value.error_type == "Runtime.InvalidResponse"


async def test_an_answer_in_very_many_pieces_is_read_in_turns() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        pieces = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5_000
        writer.write(pieces + b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        target = HttpTarget(DURABLE, f"http://127.0.0.1:{port}")
        answering = asyncio.create_task(target.call(a_call()))
        turns = 0
        while not answering.done():
            await asyncio.sleep(0)
            turns += 1

        assert await answering == b"x" * 5_000
        assert turns > 5_000 / 100


@pytest.mark.parametrize("trace_id", ["Root=1\n", "Root=\u2603"])
async def test_a_call_that_cannot_be_sent_fails_as_any_other(trace_id: str) -> None:
    async def endpoint(request: Request) -> Response:
        return Response(DONE)

    async with target(endpoint) as url:
        with pytest.raises(FunctionError, match="cannot be called") as failure:
            await HttpTarget(DURABLE, url).call(a_call(trace_id=trace_id))

    assert failure.value.error_type == "Runtime.Unreachable"


async def test_what_nobody_wants_any_more_is_not_posted() -> None:
    with pytest.raises(FunctionError, match="ended without an answer"):
        await HttpTarget(DURABLE, "http://127.0.0.1:1").call(a_call(payload=lambda: None))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///etc/passwd",
        "http://",
        "http://u:p@h/",
        "http://h:0",
        "http://h:x",
        "//h",
        "h:80",
        "http://h/a b",
        "http://h/\u00e9",
        "http://h/\n",
    ],
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValidationError):
        HttpTarget(DURABLE, url)


async def test_s15_only_the_configured_address_is_connected_to() -> None:
    async def endpoint(request: Request) -> Response:
        return RedirectResponse("http://169.254.169.254/latest/meta-data", 302)

    async with target(endpoint) as url:
        with only_this_machine() as tried, pytest.raises(FunctionError):
            await HttpTarget(DURABLE, url).call(a_call())

    assert tried == [("127.0.0.1", int(url.rpartition(":")[2]))]
