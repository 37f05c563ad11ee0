"""What is read of a request before and after somebody has looked at it. Over real sockets."""

from __future__ import annotations

import asyncio
import json

import h11
import pytest

from durably.server import connections
from durably.server.access import Access, AccessKey
from tests.app.functions import GATES, Gate
from tests.server.wire import FUNCTIONS, INVOKE, Wire, answer, head, serving

ONLY_KNOWN = Access(keys=(AccessKey("AKIDEXAMPLE", "a-secret-that-is-long"),))
CHUNKED = head(f"POST {INVOKE} HTTP/1.1", "Transfer-Encoding: chunked")
SMALL = b"1\r\n1\r\n"


class Counted(connections._Parser):
    """Counts what is read."""

    heads = 0
    chunks = 0
    most = 0

    def begin_turn(self) -> None:
        super().begin_turn()
        self._now = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        event = super().next_event()
        Counted.heads += isinstance(event, h11.Request)
        if isinstance(event, h11.Data):
            self._now += 1
            Counted.chunks += 1
            Counted.most = max(Counted.most, self._now)
        return event


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    Counted.heads = Counted.chunks = Counted.most = 0
    monkeypatch.setattr(connections, "_Parser", Counted)


async def said_to(wire: Wire, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await wire.connect()
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)  # so that they come one by one
        return answer(await reader.read())
    finally:
        writer.close()


async def test_nothing_is_read_of_the_body_of_an_unknown_caller() -> None:
    async with serving(access=ONLY_KNOWN) as wire:
        assert (await said_to(wire, CHUNKED + SMALL * 1000))[0] == 403
        assert Counted.chunks == 0


async def test_a_body_in_small_chunks_lets_others_have_their_turn() -> None:
    async with serving() as wire:
        spaces = b"1\r\n \r\n" * 20_000
        last = b"1\r\n7\r\n0\r\n\r\n"
        parts = (CHUNKED + spaces[:50_000], spaces[50_000:], last)
        status, _, said = await said_to(wire, *parts)
        assert (status, said.strip()) == (200, b"7")
        assert Counted.chunks == 20_001
        assert Counted.most <= 100


@pytest.mark.parametrize("extra", [(b"\r\n",), (b"X",), (b"X" * 99, b"Y")], ids=len)
async def test_what_follows_the_last_request_changes_nothing(extra: tuple[bytes, ...]) -> None:
    async with serving() as wire:
        gate = GATES["last"] = Gate()
        body = b'"last"'
        path = "/2015-03-31/functions/gated/invocations"
        reader, writer = await wire.connect()
        writer.write(head(f"POST {path} HTTP/1.1", f"Content-Length: {len(body)}") + body)
        await gate.reached.wait()
        for part in extra:
            writer.write(part)
            await asyncio.sleep(0.01)
        gate.opened.set()
        assert answer(await reader.read())[::2] == (200, b'"through"')
        writer.close()


@pytest.mark.parametrize(
    ("size", "status"), [(20_000, 200), (31_000, 200), (40_000, 431), (70_000, 431)]
)
@pytest.mark.parametrize("cut", [None, 5000, 18_000], ids=str)
async def test_how_a_head_is_cut_changes_nothing(size: int, status: int, cut: int | None) -> None:
    async with serving() as wire:
        sent = head(FUNCTIONS, f"X-Filler: {'a' * size}")
        parts = [sent] if cut is None else [sent[:cut], sent[cut:]]
        got, headers, body = await said_to(wire, *parts)
        assert got == status
        assert Counted.heads == (size < 65_536)  # one that is so long costs too much to read
        if status == 431:
            assert headers["x-amzn-errortype"] == "requestheadersectiontoolargeexception"
            assert json.loads(body)["Type"] == "User"
