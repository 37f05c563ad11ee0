"""A service with functions elsewhere, and runtimes for them written out in plain requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from durably.app.assembly import Assembly
from durably.app.settings import EngineSettings
from durably.clock import SystemClock
from durably.engine.invokers import RemoteFunction
from durably.engine.policy import DispatcherPolicy
from durably.engine.service import Service
from durably.handler import DurableFunction
from durably.server.attached import FunctionSettings
from durably.server.guards import Limits
from durably.server.listening import bound_socket, listening, port_of
from durably.server.runtime_api import runtime_app
from durably.server.runtimes import Runtime
from durably.stores.memory import MemoryStore
from durably.wire.history import Event

RUNTIME = "/2018-06-01/runtime"


@asynccontextmanager
async def service_with(
    elsewhere: Mapping[str, RemoteFunction],
    here: Mapping[str, DurableFunction] | None = None,
    max_concurrency: int = 100,
) -> AsyncIterator[Service]:
    """Give a service that works, with these functions."""
    settings = EngineSettings(store_url="memory:")
    # It is told of everything at once, and never finds anything by looking again.
    worker = DispatcherPolicy(max_concurrency=max_concurrency, poll_interval=timedelta(hours=1))
    assembly = Assembly(MemoryStore(), here or {}, settings, worker=worker, elsewhere=elsewhere)
    await assembly.open()
    try:
        yield assembly.service
    finally:
        await assembly.close(timedelta(0))


@dataclass
class RuntimeClient:
    """What a Lambda runtime does, by hand."""

    http: httpx.AsyncClient

    async def next(self) -> httpx.Response:
        reply = await self.http.get(f"{RUNTIME}/invocation/next")
        assert reply.status_code == 200, reply.text
        return reply

    async def say(self, request_id: str, kind: str, said: object, **how: Any) -> httpx.Response:
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        path = f"{RUNTIME}/invocation/{request_id}/{kind}"
        return await self.http.post(path, content=body, **how)

    async def answer(self, said: object) -> httpx.Response:
        """Take the next invocation, and answer it."""
        taken = await self.next()
        reply = await self.say(request_id_of(taken), "response", said)
        assert reply.status_code == 202, reply.text
        return taken


def request_id_of(taken: httpx.Response) -> str:
    return taken.headers["Lambda-Runtime-Aws-Request-Id"]


@asynccontextmanager
async def runtimes(
    *settings: FunctionSettings, limits: Limits | None = None
) -> AsyncIterator[list[tuple[Runtime, RuntimeClient]]]:
    """Serve functions behind the Runtime API; give each with a client at its port."""
    async with AsyncExitStack() as opened:
        sockets = [bound_socket() for _ in settings]
        served = [Runtime(one, SystemClock()) for one in settings]
        ports = [port_of(one) for one in sockets]
        app = runtime_app(dict(zip(ports, served, strict=True)), limits)
        await opened.enter_async_context(listening(app, sockets))
        clients: list[RuntimeClient] = []
        for port in ports:
            http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=9)
            clients.append(RuntimeClient(await opened.enter_async_context(http)))
        yield list(zip(served, clients, strict=True))


async def events_of(service: Service, arn: str) -> tuple[Event, ...]:
    return (await service.history(arn, max_items=1000)).events


async def story(service: Service, arn: str) -> list[str]:
    return [event.event_type.value for event in await events_of(service, arn)]


async def wait_for_event(service: Service, arn: str, event_type: str) -> Event:
    """Give the first such event, once it is there."""
    while True:
        for event in await events_of(service, arn):
            if event.event_type.value == event_type:
                return event
        await asyncio.sleep(0.02)
