"""A backend of AWS Lambda whose replies a test writes byte for byte, and functions that call it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from durably import DurableContext, SyncDurableContext
from durably.clients.aws_lambda import AwsDurableExecutionClient
from durably.handler import DurableFunction
from tests.server.served import boto_client

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST/durable-execution/n/i"
WELL: dict[str, Any] = {"CheckpointToken": "bmV4dA==", "NewExecutionState": {}}


def blocking(event: object, ctx: SyncDurableContext) -> int:
    return ctx.step("one", lambda: 7)


async def awaiting(event: object, ctx: DurableContext) -> int:
    return await ctx.step("one", lambda: 7)


def event(marker: str = "") -> dict[str, Any]:
    """Give what the service invokes a function with; the rest of the state is at *marker*."""
    root = {"Id": "i", "Type": "EXECUTION", "Status": "STARTED", "StartTimestamp": 1}
    state = {"Operations": [root], "NextMarker": marker}
    return {"DurableExecutionArn": ARN, "CheckpointToken": "bm93", "InitialExecutionState": state}


class Backend(ThreadingHTTPServer):
    """Gives the replies of a test in turn, and then the last one for ever.

    Attributes:
        posted: the checkpoints that it was asked to accept.
        pages: how often it was asked for a page of the state.
    """

    daemon_threads = True

    def __init__(self, posts: list[bytes], page: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.posts = posts
        self.page = page
        self.posted: list[dict[str, Any]] = []
        self.pages = 0

    def function(self, handler: Any) -> DurableFunction:
        """Give *handler* as a function that has this backend."""
        client = boto_client(f"http://127.0.0.1:{self.server_port}")
        return DurableFunction(handler, client=AwsDurableExecutionClient(client))


class _Asked(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        backend = cast("Backend", self.server)
        backend.pages += 1
        self.wfile.write(backend.page)

    def do_POST(self) -> None:
        backend = cast("Backend", self.server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        place = min(len(backend.posted), len(backend.posts) - 1)
        backend.posted.append(json.loads(body))
        self.wfile.write(backend.posts[place])

    def log_message(self, *args: object) -> None:
        pass


def reply(value: object, *, more_bytes: int = 0) -> bytes:
    """Give *value* as a reply whose head promises *more_bytes* than come."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body) + more_bytes, body)


@contextmanager
def backend(posts: list[bytes], page: bytes = b"") -> Iterator[Backend]:
    """Serve a backend."""
    with Backend(posts, page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
