"""A server at a port of its own, and requests written out byte by byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from durably import Engine
from durably.server.access import Access
from durably.server.app import make_app
from durably.server.connections import ConnectionLimits, Crowd
from durably.server.guards import Limits
from durably.server.listening import bound_socket, listening, port_of
from tests.app.functions import ALL

INVOKE = "/2015-03-31/functions/echo/invocations"
FUNCTIONS = "GET /2015-03-31/functions HTTP/1.1"


@dataclass
class Wire:
    """A server at a port of its own."""

    engine: Engine
    port: int
    crowd: Crowd

    async def connect(self, **how: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, **how)

    async def say(self, *lines: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Send a request as it is given, and read what comes back until the server hangs up."""
        reader, writer = await self.connect()
        try:
            writer.write(head(*lines) + body)
            return answer(await reader.read())
        finally:
            writer.close()


def head(*lines: str) -> bytes:
    return "\r\n".join((*lines, "Host: localhost", "Connection: close", "", "")).encode("latin-1")


def answer(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    top, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers, body


@asynccontextmanager
async def serving(
    limits: Limits | None = None,
    connections: ConnectionLimits | None = None,
    access: Access | None = None,
) -> AsyncIterator[Wire]:
    async with Engine("memory:", ALL, grace=0) as engine:
        bound = bound_socket()
        app = make_app(engine, limits=limits, access=access)
        is_secure = access is not None and access.is_behind_proxy
        async with listening(app, [bound], limits=connections, is_secure=is_secure) as crowd:
            yield Wire(engine, port_of(bound), crowd)
