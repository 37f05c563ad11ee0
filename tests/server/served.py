"""An engine behind its API, as clients meet it: through boto3 on loopback, or in this process."""

import asyncio
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, TypeAlias

import boto3
import botocore.session
import httpx
from botocore.config import Config
from botocore.model import ListShape, Shape, StructureShape
from starlette.types import ASGIApp

from durably import Engine
from durably.server.app import make_app
from durably.server.listening import bound_socket, listening, port_of
from tests.app.functions import ALL

KEY, SECRET = "AKIDEXAMPLE", "a-secret"


@asynccontextmanager
async def engine_app(
    *, max_concurrency: int = 100, region: str = "us-east-1"
) -> AsyncIterator[tuple[Engine, ASGIApp]]:
    engine = Engine("memory:", ALL, region=region, grace=0, max_concurrency=max_concurrency)
    async with engine:
        yield engine, make_app(engine)


Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[tuple[Engine, ASGIApp]]]


@contextmanager
def served(opened: Opened = engine_app) -> Iterator[str]:
    """Serve an application from a thread of its own, and give its address."""
    bound = bound_socket()
    ended = asyncio.Event()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    thread = threading.Thread(target=_serve, args=(opened, bound, loop, ready, ended))
    thread.start()
    try:
        ready.wait()
        yield f"http://127.0.0.1:{port_of(bound)}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def _serve(
    opened: Opened,
    bound: socket.socket,
    loop: asyncio.AbstractEventLoop,
    ready: threading.Event,
    ended: asyncio.Event,
) -> None:
    async def work() -> None:
        async with opened() as (_, app), listening(app, [bound]):
            ready.set()
            await ended.wait()

    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(work())
    finally:
        ready.set()


def boto_client(
    address: str, key: str = KEY, secret: str = SECRET, *, max_attempts: int = 1
) -> Any:
    client: Any = boto3.client(
        "lambda",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(
            retries={"total_max_attempts": max_attempts}, connect_timeout=5, read_timeout=20
        ),
    )
    return client


@asynccontextmanager
async def http_client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9000") as client:
        yield client


SERVICE = botocore.session.get_session().get_service_model("lambda")


def check_reply(operation: str, reply: dict[str, Any]) -> None:
    """Hold a reply, as boto3 has read it, to the model: members, kinds, limits, what must be."""
    for shape, value, place in leaves_of(operation, reply):
        _check_kind(shape, value, place)
        assert matches(shape, value), f"{place} is {value!r}"


def leaves_of(operation: str, reply: dict[str, Any]) -> Iterator[tuple[Shape, Any, str]]:
    """Give the values in a reply that have no members, each with its shape and its place."""
    shape = SERVICE.operation_model(operation).output_shape
    assert shape is not None
    said = {name: value for name, value in reply.items() if name != "ResponseMetadata"}
    return _leaves(shape, said, operation)


def _leaves(shape: Shape, value: Any, place: str) -> Iterator[tuple[Shape, Any, str]]:
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            assert name in value, f"{place} lacks {name}"
        for name, member in value.items():
            assert name in shape.members, f"{place} has {name}, which the model does not know"
            yield from _leaves(shape.members[name], member, f"{place}.{name}")
    elif isinstance(shape, ListShape):
        for index, item in enumerate(value):
            yield from _leaves(shape.member, item, f"{place}[{index}]")
    else:
        yield shape, value, place


def matches(shape: Shape, value: Any) -> bool:
    """Whether *value* is as the pattern of its shape says, if it has one."""
    pattern = shape.metadata.get("pattern")
    return pattern is None or re.fullmatch(pattern, value) is not None


_KINDS: dict[str, type | tuple[type, ...]] = {
    "boolean": bool,
    "integer": int,
    "long": int,
    "map": dict,
    "string": str,
    "timestamp": datetime,
}


def _check_kind(shape: Shape, value: Any, place: str) -> None:
    if shape.type_name == "blob":
        assert hasattr(value, "read") or isinstance(value, bytes), place
        return
    assert isinstance(value, _KINDS[shape.type_name]), f"{place} is {value!r}"
    choices = getattr(shape, "enum", [])
    assert not choices or value in choices, f"{place} is {value!r}"
    if isinstance(value, datetime | bool | dict):
        return
    size = len(value) if isinstance(value, str) else value
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    assert low is None or size >= low, f"{place} is {value!r}"
    assert high is None or size <= high, f"{place} is {value!r}"
