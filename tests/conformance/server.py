"""The server under test: an engine with the handlers, and the API over it, in one thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from durably import DurableFunction, Engine
from durably.app.assembly import Assembly
from durably.app.settings import EngineSettings, make_store
from durably.clients.aws_lambda import AwsDurableExecutionClient
from durably.engine.arns import Home
from durably.server.app import make_app
from durably.server.attached import Attached
from durably.server.listening import LOOPBACK, bound_socket, listening, port_of
from tests.conformance.hosting import HostedFunction

REGION = "us-west-2"
INVOKE_TIMEOUT_SECONDS = 300
MAX_AT_ONCE = 32


class ServerUnderTest:
    """`with ServerUnderTest(store, functions) as server:` gives its `endpoint`.

    Args:
        store: the URL of the store.
        functions: that it has.
        is_remote: whether they are attached to it and come in over HTTP, or are registered with
            the engine and call it.
    """

    def __init__(
        self, store: str, functions: Sequence[DurableFunction], *, is_remote: bool
    ) -> None:
        self._store = store
        self._functions = functions
        self._is_remote = is_remote
        self._socket = bound_socket()
        self.endpoint = f"http://{LOOPBACK}:{port_of(self._socket)}"
        self._failure: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._is_over = asyncio.Event()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="server under test")

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:  # noqa: BLE001 - raised where the server is used
            self._failure = error
        finally:
            self._is_ready.set()

    async def _serve(self) -> None:
        opened = self._attached() if self._is_remote else self._registered()
        async with opened as app, listening(app, [self._socket]):
            self._is_ready.set()
            await self._is_over.wait()

    @asynccontextmanager
    async def _registered(self) -> AsyncGenerator[Any]:
        async with Engine(self._store, self._functions, grace=0) as engine:
            yield make_app(engine)

    @asynccontextmanager
    async def _attached(self) -> AsyncGenerator[Any]:
        connect = cache(lambda: AwsDurableExecutionClient(lambda_client(self.endpoint)))
        settings = EngineSettings(store_url=self._store)
        with ThreadPoolExecutor(MAX_AT_ONCE) as threads:
            hosted = [HostedFunction(function, connect, threads) for function in self._functions]
            attached = Attached({}, hosted, Home(settings.region, settings.account))
            store = make_store(self._store)
            assembly = Assembly(store, {}, settings, elsewhere=attached.elsewhere)
            await assembly.open()
            try:
                yield make_app(assembly, functions=attached)
            finally:
                await attached.close()
                await assembly.close(timedelta(0))


def lambda_client(endpoint: str) -> Any:
    """Make a client of the service `lambda` at *endpoint*."""
    return boto3.client(
        "lambda",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(
            read_timeout=INVOKE_TIMEOUT_SECONDS,
            max_pool_connections=MAX_AT_ONCE,
            retries={"total_max_attempts": 1},  # an Invoke that is repeated starts another one
        ),
    )
