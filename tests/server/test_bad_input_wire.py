"""What goes wrong below a request: cut off, slow, endless, lying. Over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from durably import TooManyRequestsException
from durably.engine.views import Standing
from durably.server.access import Access, AccessKey
from durably.server.app import make_app
from durably.server.guards import Gate as Door
from durably.server.guards import Limits
from tests.app.functions import GATES, Gate, reach
from tests.server.test_security_auth import signed
from tests.server.wire import FUNCTIONS, INVOKE, Wire, answer, head, serving


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with serving() as made:
        yield made


async def untouched(wire: Wire) -> bool:
    return not (await wire.engine.list()).executions


@pytest.mark.parametrize("label", [".", "..", "%2e%2e", "%00", "%2F", "..%2F..", "%c0%af", "a%"])
async def test_what_leads_elsewhere_in_a_path_is_a_name_here(wire: Wire, label: str) -> None:
    for line in (
        f"GET /2015-03-31/functions/{label} HTTP/1.1",
        f"POST /2015-03-31/functions/{label}/invocations HTTP/1.1",
        f"GET /2025-12-01/durable-executions/{label}/history HTTP/1.1",
    ):
        status, headers, body = await wire.say(line)
        assert status == 400
        assert headers["x-amzn-errortype"] == "invalidparametervalueexception"
        assert json.loads(body)["Type"] == "User"


@pytest.mark.parametrize(
    "line",
    [
        "GET //2015-03-31/functions HTTP/1.1",
        "GET /2015-03-31//functions HTTP/1.1",
        "GET http://evil.example/2015-03-31/functions HTTP/1.1",
        "GET /2015-03-31/functions/a/../../functions HTTP/1.1",
        "OPTIONS * HTTP/1.1",
    ],
)
async def test_other_ways_to_write_a_path_lead_nowhere(wire: Wire, line: str) -> None:
    status, headers, _ = await wire.say(line)
    assert status == 404
    assert headers["x-amzn-errortype"] == "unknownoperationexception"


async def test_a_body_shorter_than_was_said_does_nothing(wire: Wire) -> None:
    reader, writer = await wire.connect()
    writer.write(head(f"POST {INVOKE} HTTP/1.1", "Content-Length: 100") + b'{"a":')
    writer.write_eof()
    await reader.read()
    writer.close()
    assert await untouched(wire)


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: -1",),
        ("Content-Length: x",),
        ("Content-Length: 1", "Content-Length: 2"),
        ("Content-Length: 1", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked, chunked",),
        (" folded: header",),
        ("no colon",),
    ],
    ids=str,
)
async def test_a_head_that_lies_starts_nothing(wire: Wire, lines: tuple[str, ...]) -> None:
    status, headers, body = await wire.say(f"POST {INVOKE} HTTP/1.1", *lines, body=b"zz\r\n")
    assert 400 <= status < 500
    check_shape(headers, body)
    assert await untouched(wire)


def check_shape(headers: dict[str, str], body: bytes) -> None:
    """See that a refusal is the service's, whoever has made it."""
    said = json.loads(body)
    assert said["__type"].lower() == headers["x-amzn-errortype"]
    assert said["Type"] == "User"
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert headers["connection"] == "close"
    assert len(headers["x-amzn-requestid"]) == 36


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00", b"GET", b"GET / HTTP/x", b"x" * 9_999], ids=len
)
async def test_what_is_no_request_is_refused_in_the_shape_of_the_service(
    wire: Wire, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await wire.connect()
    writer.write(raw + b"\r\n\r\n")
    status, headers, body = answer(await reader.read())
    writer.close()
    assert status == 400
    check_shape(headers, body)
    assert not caplog.records  # strangers fill no log


@pytest.mark.parametrize("is_behind_proxy", [False, True])
async def test_what_is_no_request_is_told_to_come_by_tls_only_where_it_is_spoken(
    *, is_behind_proxy: bool
) -> None:
    async with serving(access=Access(is_behind_proxy=is_behind_proxy)) as wire:
        reader, writer = await wire.connect()
        writer.write(b"no request\r\n\r\n")
        status, headers, body = answer(await reader.read())
        writer.close()

    assert status == 400
    check_shape(headers, body)
    assert ("strict-transport-security" in headers) == is_behind_proxy


async def test_a_chunk_that_is_none_starts_nothing(wire: Wire) -> None:
    line = f"POST {INVOKE} HTTP/1.1"
    said = await wire.say(line, "Transfer-Encoding: chunked", body=b"zz\r\nx\r\n")
    check_shape(*said[1:])
    assert await untouched(wire)


async def test_a_body_with_two_lengths_is_refused_and_nothing_after_it_is_read(wire: Wire) -> None:
    lines = (f"POST {INVOKE} HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked")
    kept = head(*lines).replace(b"Connection: close\r\n", b"")
    reader, writer = await wire.connect()
    writer.write(kept + b"1\r\n1\r\n0\r\n\r\n" + head(FUNCTIONS))
    raw = await reader.read()
    writer.close()

    assert raw.count(b"HTTP/1.1") == 1
    status, headers, body = answer(raw)
    assert status == 400
    check_shape(headers, body)
    assert await untouched(wire)


async def test_endless_chunks_are_cut_off(wire: Wire) -> None:
    reader, writer = await wire.connect()
    writer.write(head(f"POST {INVOKE} HTTP/1.1", "Transfer-Encoding: chunked"))
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"

    async def flood() -> None:
        while True:
            writer.write(chunk)
            await writer.drain()

    flooding = asyncio.create_task(flood())
    said = await reader.readline()
    assert said.split(b" ")[1] == b"413"
    with pytest.raises(ConnectionError):
        await flooding
    writer.close()
    assert await untouched(wire)


async def test_a_body_that_trickles_is_cut_off() -> None:
    async with serving(Limits(body_seconds=0.05)) as wire:
        reader, writer = await wire.connect()
        writer.write(head(f"POST {INVOKE} HTTP/1.1", "Content-Length: 100") + b"1")
        status, headers, body = answer(await reader.read())
        writer.close()
        assert status == 408
        assert headers["connection"] == "close"
        assert json.loads(body)["__type"] == "RequestTimeoutException"
        assert await untouched(wire)


async def test_more_invokes_than_allowed_are_sent_away() -> None:
    async with serving(Limits(max_requests=1, max_waiting=1)) as wire:
        gate = GATES["slow"] = Gate()
        said = b'"slow"'
        waiting = asyncio.create_task(
            wire.say(
                "POST /2015-03-31/functions/gated/invocations HTTP/1.1",
                f"Content-Length: {len(said)}",
                body=said,
            )
        )
        await gate.reached.wait()

        one = (f"POST {INVOKE} HTTP/1.1", "Content-Length: 1")
        status, headers, body = await wire.say(*one, body=b"1")

        assert status == 429
        assert headers["retry-after"] == "1"
        assert json.loads(body)["Reason"] == "CallerRateLimitExceeded"
        # Who waits for executions is counted apart: a function must be able to checkpoint.
        assert (await wire.say(FUNCTIONS))[0] == 200
        # So is who waits for nothing.
        for kind, accepted in (("Event", 202), ("DryRun", 204)):
            lines = (*one, f"X-Amz-Invocation-Type: {kind}")
            assert (await wire.say(*lines, body=b"1"))[0] == accepted
        gate.opened.set()
        assert (await waiting)[0] == 200
        assert (await wire.say(*one, body=b"1"))[0] == 200


@pytest.mark.parametrize("waits_for", [None, "one"])
def test_there_is_room_again_when_a_request_has_ended(waits_for: str | None) -> None:
    door = Door(Limits(max_requests=1, max_waiting=1))
    for _ in range(2):
        with door.passed(b"", waits_for):
            with pytest.raises(TooManyRequestsException), door.passed(b"", waits_for):
                pass
            with door.passed(b"", None if waits_for else "one"):
                pass


def test_a_body_of_nothing_takes_nothing() -> None:
    door = Door(Limits(max_waiting_bytes=5))
    with door.passed(b"1111", "one"), door.passed(b"", "one"):
        pass


async def test_too_much_at_the_same_time_is_sent_away() -> None:
    async with serving(Limits(max_buffered_bytes=1000)) as wire:
        said = b'"' + b"x" * 2000 + b'"'
        lines = (f"POST {INVOKE} HTTP/1.1", f"Content-Length: {len(said)}")
        for _ in range(3):
            assert (await wire.say(*lines, body=said))[0] == 429
        small = (f"POST {INVOKE} HTTP/1.1", "Content-Length: 1")
        assert (await wire.say(*small, body=b"1"))[0] == 200


async def test_bodies_that_trickle_make_room_for_those_that_arrive() -> None:
    async with serving(Limits(max_buffered_bytes=1000)) as wire:
        first, *slow = [await wire.connect() for _ in range(3)]
        for _, writer in (first, *slow):
            writer.write(head(f"POST {INVOKE} HTTP/1.1", "Content-Length: 5000") + b"1" * 400)

        status, headers, body = answer(await first[0].read())

        assert (status, headers["connection"]) == (429, "close")
        assert json.loads(body)["message"].startswith("Too much arrives")
        large = (f"POST {INVOKE} HTTP/1.1", "Content-Length: 900")
        for _ in range(2):  # what made room is not counted any more
            assert (await wire.say(*large, body=b"1" * 900))[0] == 200
        assert [answer(await reader.read())[0] for reader, _ in slow] == [429, 429]
        for _, writer in (first, *slow):
            writer.close()


async def test_a_body_is_not_waited_for_where_the_credentials_cannot_be_known() -> None:
    access = Access(keys=(AccessKey("AKIDEXAMPLE", "a-secret-access-key-of-length"),))
    stranger = AccessKey("AKIDSTRANGER", "a-secret-access-key-of-length")
    said = signed(url=f"http://localhost{INVOKE}", key=stranger, headers={"Host": "localhost"})
    async with serving(access=access) as wire:
        for credentials in (said["Authorization"], "Bearer a-token-that-is-guessed"):
            status, headers, _ = await wire.say(
                f"POST {INVOKE} HTTP/1.1",
                "Content-Length: 100",
                f"X-Amz-Date: {said['X-Amz-Date']}",
                f"Authorization: {credentials}",
            )
            assert status == 403
            assert headers["x-amzn-errortype"] == "unrecognizedclientexception"
            assert headers["connection"] == "close"


async def test_a_caller_that_vanishes_stops_nothing(wire: Wire) -> None:
    gate = GATES["vanished"] = Gate()
    said = b'"vanished"'
    lines = ("POST /2015-03-31/functions/gated/invocations HTTP/1.1",)
    _, writer = await wire.connect()
    writer.write(head(*lines, f"Content-Length: {len(said)}") + said)
    await gate.reached.wait()
    writer.transport.abort()
    (listed,) = (await wire.engine.list()).executions
    gate.opened.set()
    await reach(wire.engine, listed.arn, Standing.CLOSED)
    assert (await wire.engine.describe(listed.arn)).result == '"through"'


async def test_a_caller_that_vanishes_takes_no_room() -> None:
    async with serving(Limits(max_waiting=1)) as wire:
        gate = GATES["room"] = Gate()
        said = b'"room"'
        lines = ("POST /2015-03-31/functions/gated/invocations HTTP/1.1",)
        _, writer = await wire.connect()
        writer.write(head(*lines, f"Content-Length: {len(said)}") + said)
        await gate.reached.wait()
        writer.transport.abort()
        status = 429
        while status == 429:
            ask = (f"POST {INVOKE} HTTP/1.1", "Content-Length: 1")
            status, _, _ = await wire.say(*ask, body=b"1")
        assert status == 200
        gate.opened.set()


@pytest.mark.parametrize(
    ("kind", "said"), [("websocket", [{"type": "websocket.close", "code": 1008}]), ("lifespan", [])]
)
async def test_what_is_not_http_is_refused(wire: Wire, kind: str, said: list[object]) -> None:
    sent: list[object] = []

    async def receive() -> dict[str, str]:
        return {"type": f"{kind}.connect"}

    async def send(message: object) -> None:
        sent.append(message)

    await make_app(wire.engine)({"type": kind}, receive, send)
    assert sent == said
