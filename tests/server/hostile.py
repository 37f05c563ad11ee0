"""What hostile or broken clients send, and a running execution for them to send it to."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
from starlette.types import ASGIApp

from durably import Engine
from durably.engine.store import Query
from durably.server.app import make_app
from tests.app.functions import ALL, GATES, Gate
from tests.server.served import http_client

BASE = "/2025-12-01"
MIB = 1024 * 1024

BODIES: dict[str, bytes] = {
    "half an object": b"{",
    "null": b"null",
    "a number": b"7",
    "text": b'"text"',
    "truth": b"true",
    "a list": b"[]",
    "not UTF-8": b'{"Reason": "\xff\xfe"}',
    "UTF-16": '{"Reason": "x"}'.encode("utf-16"),
    "NaN": b'{"Reason": NaN}',
    "infinity": b'{"ExecutionTimeoutPaused": -Infinity}',
    "the same key twice": b'{"Reason": "a", "Reason": "b"}',
    "too deep": b'{"Updates": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and cut off": b"[" * 100_000,
    "too many digits": b'{"Reason": ' + b"1" * 10_000 + b"}",
    "an exponent": b'{"Reason": 1e999999999}',
    "a lone surrogate": b'{"Reason": "\\ud800"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "two objects": b"{}{}",
    "a zero": b'{"Reason": "a\x00b"}',
    "XML": b"<Error/>",
}
"""Bodies that no JSON operation takes."""


@dataclass
class Target:
    """An API with one execution of each kind to attack.

    Attributes:
        running: an execution whose invocation is elsewhere, and holds *token*.
        waiting: one that waits for *callback_id*.
    """

    engine: Engine
    app: ASGIApp
    client: httpx.AsyncClient
    running: str
    token: str
    waiting: str
    callback_id: str

    def execution(self, arn: str | None = None, verb: str = "") -> str:
        return f"{BASE}/durable-executions/{quote(arn or self.running, safe='')}{verb}"

    def callback(self, verb: str, callback_id: str | None = None) -> str:
        label = quote(callback_id or self.callback_id, safe="")
        return f"{BASE}/durable-execution-callbacks/{label}/{verb}"

    async def state(self) -> Any:
        """Give everything that a request could have changed."""
        store = self.engine.service.store
        page = await store.list(Query(limit=1000))
        return [await store.find(one.arn) for one in page.executions]


@asynccontextmanager
async def target() -> AsyncIterator[Target]:
    """Give an API whose one worker is busy, so that nothing changes by itself."""
    async with Engine("memory:", ALL, grace=0, max_concurrency=1) as engine:
        app = make_app(engine)
        async with http_client(app) as client:
            yield await _prepared(engine, app, client)


async def _prepared(engine: Engine, app: ASGIApp, client: httpx.AsyncClient) -> Target:
    gate = GATES["busy"] = Gate()
    await engine.start("gated", "busy")
    await gate.reached.wait()
    running, token = await _begun(engine, "echo")
    waiting, asking = await _begun(engine, "long_sleep")
    target = Target(engine, app, client, running, token, waiting, "")
    update = {"Id": "ask", "Type": "CALLBACK", "Action": "START", "SubType": "Callback"}
    reply = await client.post(
        target.execution(waiting, "/checkpoint"),
        json={"CheckpointToken": asking, "Updates": [update]},
    )
    (operation,) = reply.json()["NewExecutionState"]["Operations"]
    target.callback_id = operation["CallbackDetails"]["CallbackId"]
    return target


async def _begun(engine: Engine, function: str) -> tuple[str, str]:
    """Start an execution, begin its invocation as a worker elsewhere does, and give its token."""
    service = engine.service
    arn = await service.start(function, json.dumps("canary-payload"))
    lease = timedelta(hours=1)
    (claim,) = await service.store.claim("elsewhere", [function], service.clock.now(), lease, 1)
    session = await service.begin(claim)
    assert session is not None
    return arn, session.token


def check_refusal(reply: httpx.Response) -> None:
    """Hold a reply to the shape of a refusal that is the caller's fault."""
    assert 400 <= reply.status_code < 500, reply.text
    if reply.request.method == "HEAD":
        return
    body = reply.json()
    assert body["__type"] == reply.headers["X-Amzn-ErrorType"]
    assert body["Type"] == "User"
    assert isinstance(body.get("message", body.get("Message")), str)
    assert "Traceback" not in reply.text
    assert "canary" not in reply.text
