"""A proxy before a PostgreSQL server that does to its clients what networks and poolers do.

It understands the protocol as far as it must: where a request begins and ends, which statement it
is, and when the server has committed it.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Self, TypeAlias
from urllib.parse import parse_qs, urlencode, urlsplit

_ENCRYPTION = (80877103, 80877104)  # a client asks whether it may
_CANCEL = 80877102
_LENGTH = struct.Struct("!I")
_BROKEN = (ConnectionError, asyncio.IncompleteReadError, OSError)

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Fault(Enum):
    """What becomes of one request."""

    BEFORE = "the connection breaks before the server has it"
    UNCOMMITTED = "the connection breaks when the server has run it, and has not committed it"
    AFTER = "the connection breaks when it is committed, and nothing is answered"
    HOLE = "nothing is heard of it, or of the connection, any more"
    SILENCE = "likewise, when it is committed"


class Proxy:
    """Listens on this machine, as long as its block lasts.

    Args:
        server: the address of the server.
        pools: whether a client has a connection of the server for one transaction only, as behind
            PgBouncer in its mode `transaction`; it is shared with all others.

    Attributes:
        fault: asked for each request what is to become of it, by the text of its statement.
        fired: what became of how many requests.
        rejected: how many of those the server has refused.
    """

    def __init__(self, server: str, *, pools: bool = False) -> None:
        self._server = server
        self._pools = pools
        self._shared: list[_Shared] = []
        self._sockets: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self.fault: Callable[[str], Fault | None] = lambda _: None
        self.fired: Counter[Fault] = Counter()
        self.rejected = 0

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        if self._pools:
            self._shared = [_Shared(), _Shared()]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listening is not None
        self._listening.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The address to use in place of the server's."""
        assert self._listening is not None
        host, port = self._listening.sockets[0].getsockname()
        parts = urlsplit(self._server)
        pairs = {key: one[-1] for key, one in parse_qs(parts.query).items() if key != "host"}
        user = parts.username or "postgres"
        return f"postgresql://{user}@{host}:{port}{parts.path}?{urlencode(pairs)}"

    def cut(self) -> None:
        """Break every connection."""
        for socket in list(self._sockets):
            socket.transport.abort()

    async def connect(self) -> Streams:
        """Connect to the server."""
        parts = urlsplit(self._server)
        folder = parse_qs(parts.query).get("host")
        if folder is not None:
            streams = await asyncio.open_unix_connection(
                f"{folder[0]}/.s.PGSQL.{parts.port or 5432}"
            )
        else:
            streams = await asyncio.open_connection(parts.hostname, parts.port or 5432)
        self._sockets.add(streams[1])
        return streams

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sockets.add(writer)
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = None
        try:
            startup = await _read_startup(reader, writer)
            if _LENGTH.unpack_from(startup, 4)[0] == _CANCEL:
                _, other = await self.connect()
                other.write(startup)
                other.close()
            elif self._pools:
                await self._serve_pooled(reader, writer, startup)
            else:
                session = _Session(self, (reader, writer), await self.connect())
                await session.run(startup)
        except _BROKEN:
            pass
        finally:
            writer.transport.abort()
            self._sockets.discard(writer)
            if session is not None:
                session.end()

    async def _serve_pooled(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, startup: bytes
    ) -> None:
        """Give each transaction a connection that is free. What is told unasked reaches nobody."""
        for shared in self._shared:
            await shared.connect(self, startup)
        writer.write(self._shared[0].greeting)
        while True:
            request = await _read_request(reader)
            if request.startswith(b"X"):
                return
            self._shared.append(shared := self._shared.pop(0))  # the other one, the next time
            async with shared.lock:
                writer.write(await shared.carry_out(request))
                while shared.is_in_transaction:
                    request = await _read_request(reader)
                    writer.write(await shared.carry_out(request))


class _Session:
    """One client, and its own connection to the server."""

    def __init__(self, proxy: Proxy, client: Streams, server: Streams) -> None:
        self._proxy = proxy
        self._client, self._answers_to = client
        self._server, self._requests_to = server
        self._fault: Fault | None = None
        self._answers: asyncio.Task[None] | None = None

    async def run(self, startup: bytes) -> None:
        self._requests_to.write(startup)
        self._answers = asyncio.ensure_future(self._hand_back())
        while self._fault is not Fault.BEFORE:
            kind, statement, request = await self._next_request()
            if self._fault is None:  # else nobody hears it
                self._pass_on(kind, statement, request)

    async def _next_request(self) -> tuple[bytes, str, list[bytes]]:
        """Read what belongs together; give how it ends, its statement and its messages."""
        statement = ""
        request: list[bytes] = []
        while True:
            kind, message = await _read(self._client)
            request.append(message)
            if kind in (b"P", b"Q"):
                statement = _statement_of(kind, message)
            if kind not in (b"P", b"B", b"D", b"E", b"C"):
                return kind, statement, request

    def _pass_on(self, kind: bytes, statement: str, request: list[bytes]) -> None:
        if kind in (b"Q", b"S"):
            self._fault = self._proxy.fault(statement)
        if self._fault is Fault.UNCOMMITTED and kind == b"Q":
            self._fault = Fault.BEFORE  # it is one message, and commits at its end
        if self._fault in (Fault.BEFORE, Fault.HOLE):
            self._has_fired()
        elif self._fault is Fault.UNCOMMITTED:
            flush = b"H" + _LENGTH.pack(4)
            self._requests_to.write(b"".join([*request[:-1], flush]))
        else:
            self._requests_to.write(b"".join(request))

    async def _hand_back(self) -> None:
        with suppress(*_BROKEN):
            while True:
                kind, message = await _read(self._server)
                if self._fault is None:
                    self._answers_to.write(message)
                    continue
                self._proxy.rejected += kind == b"E"
                last = b"CE" if self._fault is Fault.UNCOMMITTED else b"Z"
                if kind in last and self._fault is not Fault.HOLE:
                    self._has_fired()
                    if self._fault is not Fault.SILENCE:
                        break
        if self._fault is not Fault.SILENCE:
            self._answers_to.transport.abort()

    def _has_fired(self) -> None:
        assert self._fault is not None
        self._proxy.fired[self._fault] += 1

    def end(self) -> None:
        self._requests_to.transport.abort()
        if self._answers is not None:
            self._answers.cancel()


class _Shared:
    """A connection that all clients use, a transaction each; none leaves one open."""

    def __init__(self) -> None:
        self.is_in_transaction = False
        self.lock = asyncio.Lock()
        self.greeting = b""
        self._streams: Streams | None = None

    async def connect(self, proxy: Proxy, startup: bytes) -> None:
        async with self.lock:
            if self._streams is None:
                self._streams = await proxy.connect()
                self.greeting = await self.carry_out(startup)

    async def carry_out(self, request: bytes) -> bytes:
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(request)
        answers: list[bytes] = []
        while True:
            kind, message = await _read(reader)
            if kind != b"A":  # somebody who listened has long had another connection
                answers.append(message)
            if kind == b"Z":
                self.is_in_transaction = not message.endswith(b"I")
                return b"".join(answers)


async def _read_startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    while True:
        length = await reader.readexactly(4)
        rest = await reader.readexactly(_LENGTH.unpack(length)[0] - 4)
        if _LENGTH.unpack_from(rest)[0] not in _ENCRYPTION:
            return length + rest
        writer.write(b"N")


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one message; give its kind, and all of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(_LENGTH.unpack_from(head, 1)[0] - 4)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    """Read messages up to one that has all of them answered, or that ends the connection."""
    request: list[bytes] = []
    while True:
        kind, message = await _read(reader)
        request.append(message)
        if kind in (b"Q", b"S", b"X"):
            return b"".join(request)


def _statement_of(kind: bytes, message: bytes) -> str:
    text = message[5:] if kind == b"Q" else message[5:].partition(b"\x00")[2]
    return text.partition(b"\x00")[0].decode()
