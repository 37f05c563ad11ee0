"""Serving an application at sockets of this process, for as long as a block runs."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import uvicorn

from durably.seams import RandomIds
from durably.server.connections import Connection, ConnectionLimits, Crowd
from durably.server.errors import reply_headers

LOOPBACK = "127.0.0.1"


def bound_socket(port: int = 0, host: str = LOOPBACK) -> socket.socket:
    """Give a socket that is bound to an address of its own, 0 to a port that is free.

    Raises:
        OSError: the address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol's number asyncio does not know it for TCP, and leaves Nagle's algorithm
    # on: the body of a reply would wait 40 ms for its head to be acknowledged.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except BaseException:
        made.close()
        raise
    return made


def port_of(bound: socket.socket) -> int:
    """Say which port a socket is bound to."""
    return int(bound.getsockname()[1])


class _Server(uvicorn.Server):
    """Leaves the signals of the process to whoever runs it, and says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def listening(
    app: Any,
    sockets: Sequence[socket.socket],
    *,
    limits: ConnectionLimits | None = None,
    is_secure: bool = False,
    grace_seconds: int = 1,
) -> AsyncGenerator[Crowd]:
    """Serve *app* at *sockets*; at the end, requests under way have *grace_seconds* to end.

    The sockets are closed with it. It gives the connections that there are. *is_secure*: clients
    come to them by TLS.
    """
    headers = partial(reply_headers, RandomIds(), is_secure=is_secure)
    crowd = Crowd(limits or ConnectionLimits(), headers)
    connect: Any = partial(Connection, crowd)  # uvicorn only calls it, and says that it is a class
    config = uvicorn.Config(
        app,
        backlog=crowd.backlog,
        http=connect,
        lifespan="off",
        log_config=None,
        log_level=logging.ERROR,  # below that it tells of whatever strangers send
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=grace_seconds,
        ws="none",
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=list(sockets)), name="durably server")
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait((serving, ready), return_when=asyncio.FIRST_COMPLETED)
        yield crowd
    finally:
        ready.cancel()
        server.should_exit = True
        await serving
