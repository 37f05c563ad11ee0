"""Servers in processes of their own, ours and the official one, and a function that they invoke.

The function is in this process: it takes an invocation as Lambda sends it, and answers when it is
told to. So whoever measures has its token, and both servers do the same for the same client.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

from durably.server.listening import bound_socket, port_of

HOST = "127.0.0.1"
NAME = "bench"
PENDING = {"Status": "PENDING"}
SUCCEEDED = {"Status": "SUCCEEDED", "Result": "1"}
_PATIENCE_SECONDS = 20
_PAUSE_SECONDS = 0.05
_ANY_KEY = {
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "any",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of the function, which waits for its answer."""

    arn: str
    token: str
    came_at: float
    _answer: queue.Queue[dict[str, str]] = field(default_factory=queue.Queue)

    def answer(self, said: dict[str, str]) -> None:
        """End it."""
        self._answer.put(said)

    def wait(self) -> dict[str, str]:
        """Give the answer, once there is one; if nobody answers, that of a function that waits."""
        try:
            return self._answer.get(timeout=3 * _PATIENCE_SECONDS)
        except queue.Empty:
            return PENDING


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a server that is ended breaks off what it has asked."""


class Function:
    """A function behind an address; its invocations come in the order they were made."""

    def __init__(self) -> None:
        self._came: queue.Queue[Invocation] = queue.Queue()
        self._server = _Quiet((HOST, 0), self._answering())
        self.url = f"http://{HOST}:{self._server.server_address[1]}"

    def next(self) -> Invocation:
        """Give the next invocation, once there is one.

        Raises:
            TimeoutError: there is none.
        """
        try:
            return self._came.get(timeout=_PATIENCE_SECONDS)
        except queue.Empty:
            raise TimeoutError(f"it was not invoked for {_PATIENCE_SECONDS} s") from None

    @contextmanager
    def served(self) -> Generator[Function]:
        """Take invocations meanwhile."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.socket.close()

    def _answering(self) -> type[BaseHTTPRequestHandler]:
        came = self._came

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body leave together

            def do_POST(self) -> None:
                now = perf_counter()
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                call = Invocation(event["DurableExecutionArn"], event["CheckpointToken"], now)
                came.put(call)
                body = json.dumps(call.wait()).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                pass

        return Answering


class Client:
    """One connection to a server: requests as small as they can be, and no SDK."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=_PATIENCE_SECONDS)

    def post(self, path: str, body: Any, **headers: str) -> dict[str, Any]:
        """Post *body*, and give what is answered."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._ask("POST", path, raw, {"Content-Type": "application/json", **headers})

    def get(self, path: str) -> dict[str, Any]:
        """Give what is there."""
        return self._ask("GET", path, None, {})

    def _ask(
        self, method: str, path: str, raw: bytes | None, headers: dict[str, str]
    ) -> dict[str, Any]:
        self._connection.request(method, path, raw, headers)
        reply = self._connection.getresponse()
        said = reply.read()
        if reply.status >= http.client.MULTIPLE_CHOICES:
            raise ConnectionError(f"status {reply.status}: {said[:60]!r}")
        answer: dict[str, Any] = json.loads(said or b"{}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class Steps:
    """Checkpoints of one invocation, one after the other: each is the end of a step."""

    def __init__(self, client: Client, call: Invocation) -> None:
        self._client = client
        self._path = f"/2025-12-01/durable-executions/{quote(call.arn, safe='')}/checkpoint"
        self._token = call.token
        self._count = 0

    def make(self, count: int) -> None:
        """Make *count* of them."""
        for _ in range(count):
            self._count += 1
            self.send(
                {
                    "Id": f"{self._count:016x}",
                    "Type": "STEP",
                    "SubType": "Step",
                    "Action": "SUCCEED",
                    "Name": "add",
                    "Payload": str(self._count),
                }
            )

    def send(self, update: dict[str, Any]) -> list[dict[str, Any]]:
        """Send one update, and give what it has changed."""
        said = self._client.post(self._path, {"CheckpointToken": self._token, "Updates": [update]})
        self._token = said["CheckpointToken"]
        changed: list[dict[str, Any]] = said["NewExecutionState"]["Operations"]
        return changed


@dataclass(frozen=True, slots=True)
class Server:
    """A server at work.

    Attributes:
        function: what it invokes.
        is_ours: not the official one.
    """

    port: int
    function: Function
    is_ours: bool

    def start(self, name: str) -> Invocation:
        """Start an execution, and give its first invocation."""
        client = Client(self.port)
        if self.is_ours:
            path = f"/2015-03-31/functions/{NAME}/invocations"
            kind = {"X-Amz-Invocation-Type": "Event", "X-Amz-Durable-Execution-Name": name}
            client.post(path, 1, **kind)
        else:
            body = {
                "AccountId": "123456789012",
                "FunctionName": NAME,
                "FunctionQualifier": "$LATEST",
                "ExecutionName": name,
                "ExecutionTimeoutSeconds": 3600,
                "ExecutionRetentionPeriodDays": 1,
                "Input": "1",
            }
            client.post("/start-durable-execution", body)
        client.close()
        return self.function.next()


@contextmanager
def our_server(function: Function, database: Path | None) -> Generator[Server]:
    """Run `durably serve` on *database*, or in memory."""
    store = "memory:" if database is None else f"sqlite:{database}"
    options = ["--store", store, "--function", f"{NAME}={function.url}"]
    with _running(["durably", "serve", *options], function, is_ours=True) as server:
        yield server


@contextmanager
def official_server(function: Function, database: Path | None) -> Generator[Server]:
    """Run the official local runner likewise."""
    options = ["--host", HOST, "--lambda-endpoint", function.url, "--log-level", "CRITICAL"]
    if database is not None:
        options += ["--store-type", "sqlite", "--store-path", str(database)]
    module = "aws_durable_execution_sdk_python_testing.cli"
    with _running([module, "start-server", *options], function, is_ours=False) as server:
        yield server


@contextmanager
def _running(words: list[str], function: Function, *, is_ours: bool) -> Generator[Server]:
    with bound_socket() as bound:
        port = port_of(bound)
    process = subprocess.Popen(  # noqa: S603 - a server to be measured
        [sys.executable, "-m", *words, "--port", str(port)],
        env={**os.environ, **_ANY_KEY},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield Server(port, function, is_ours)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = perf_counter() + _PATIENCE_SECONDS
    while process.poll() is None and perf_counter() < until:
        connection = http.client.HTTPConnection(HOST, port)
        try:
            connection.request("GET", "/health")
            connection.getresponse().read()
        except OSError:
            threading.Event().wait(_PAUSE_SECONDS)
        else:
            return
        finally:
            connection.close()
    raise ConnectionError(f"the server does not come up (exit code {process.poll()})")
