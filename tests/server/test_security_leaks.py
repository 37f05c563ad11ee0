"""What must not get out, and what must not get in: S07, S12, S13."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from durably import Engine
from durably.engine.service import Service
from durably.errors import StoreFullError
from durably.server.access import Access, AccessKey, BearerToken
from durably.server.app import make_app
from tests.app.functions import ALL
from tests.server.hostile import MIB, Target, check_refusal, target
from tests.server.served import http_client

CANARY = "canary-7f3a"
INVOKE = "/2015-03-31/functions/echo/invocations"


@pytest.fixture
async def api() -> AsyncIterator[Target]:
    async with target() as made:
        yield made


def with_canaries(api: Target) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give requests that are refused, with a canary in each place that a caller fills."""
    quoted = f'"{CANARY}'
    step = {"Id": "a", "Type": "STEP", "Action": "START"}
    for verb in ("/checkpoint", "/stop", "/pause", "/resume"):
        yield "POST", api.execution(verb=verb), {"content": quoted}
        yield "POST", api.execution(CANARY, verb), {"json": {"CheckpointToken": CANARY}}
        yield "POST", api.execution(verb=verb), {"json": [CANARY]}
    for field, value in (
        ("Type", CANARY),
        ("Action", CANARY),
        ("ParentId", CANARY),
        ("Payload", [CANARY]),
        ("Error", {"ErrorType": [CANARY], CANARY: CANARY}),
        ("Name", f"{CANARY}\n"),
        ("Id", f"{CANARY} "),
        ("StepOptions", {"NextAttemptDelaySeconds": CANARY}),
    ):
        updates = [{**step, field: value}]
        body = {"CheckpointToken": api.token, "Updates": updates}
        yield "POST", api.execution(verb="/checkpoint"), {"json": body}
    yield "POST", api.callback("succeed", CANARY), {"content": CANARY}
    yield "POST", api.callback("fail", CANARY), {"json": {"ErrorMessage": CANARY}}
    yield "GET", api.execution(CANARY, "/history"), {}
    yield "GET", api.execution(verb="/history") + f"?Marker={CANARY}", {}
    yield "GET", api.execution(verb="/history") + f"?MaxItems={CANARY}", {}
    yield "GET", api.execution(verb="/state") + f"?CheckpointToken={CANARY}", {}
    yield "GET", f"/2025-12-01/functions/echo/durable-executions?Statuses={CANARY}", {}
    yield "GET", f"/{CANARY}", {}
    for name in ("X-Amz-Invocation-Type", "X-Amz-Durable-Execution-Name", "X-Amz-Tenant-Id"):
        yield "POST", INVOKE, {"content": "1", "headers": {name: f"{CANARY}\t!"}}
    yield "POST", INVOKE, {"content": quoted}
    yield "POST", INVOKE, {"content": CANARY, "headers": {"Content-Type": f"text/plain; {CANARY}"}}
    yield "GET", "/2015-03-31/functions", {"headers": {"Host": CANARY}}
    yield "GET", "/2015-03-31/functions", {"headers": {"Origin": f"https://{CANARY}"}}


async def test_s07_refusals_and_logs_repeat_nothing(
    api: Target, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for method, path, sent in with_canaries(api):
        reply = await api.client.request(method, path, **sent)
        check_refusal(reply)
        assert CANARY not in reply.text
        assert CANARY not in str(reply.headers)
    assert CANARY not in _logged(caplog)


def _logged(caplog: pytest.LogCaptureFixture) -> str:
    formatter = logging.Formatter()
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    return "\n".join(formatter.format(record) + repr(record.__dict__) for record in ours)


@pytest.mark.parametrize("error", [ValueError(CANARY), StoreFullError(CANARY)])
async def test_s07_a_defect_tells_where_it_is_and_nothing_else(
    api: Target,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def break_down(self: Service, arn: str) -> None:
        raise error

    monkeypatch.setattr(Service, "get", break_down)
    reply = await api.client.get(api.execution())
    assert reply.status_code == 500
    assert reply.json() == {
        "__type": "ServiceException",
        "Type": "Service",
        "Message": reply.json()["Message"],
    }
    assert CANARY not in reply.text
    assert CANARY not in _logged(caplog)
    assert type(error).__name__ in _logged(caplog)


async def test_s07_credentials_are_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = f"{CANARY}-and-more-of-it"
    access = Access(keys=(AccessKey("AKID", secret),), tokens=(BearerToken(secret),))
    async with (
        Engine("memory:", ALL, grace=0) as engine,
        http_client(make_app(engine, access=access)) as client,
    ):
        for said in (f"Bearer {secret}x", f"Basic {CANARY}", CANARY, f"Bearer {secret}"):
            reply = await client.get("/2015-03-31/functions", headers={"Authorization": said})
            assert CANARY not in reply.text
        assert reply.status_code == 200
    assert CANARY not in _logged(caplog)
    assert CANARY not in repr(access)


PATHS = (
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\win.ini",
    "....//....//etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%252f..%252fetc%252fpasswd",
    "..%c0%af..%c0%afetc/passwd",
    "file:///etc/passwd",
    "/proc/self/environ",
    "/dev/zero",
    "\x00/etc/passwd",
    "passwd\x00.json",
    "~root/.ssh/id_rsa",
    "CON:",
    "a" * 300 + "/passwd",
)
TOUCHED: list[str] = []
_watching: list[bool] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and (event == "open" or event.startswith(("os.", "shutil.", "sqlite3."))):
        TOUCHED.extend(str(one) for one in arguments if isinstance(one, str | bytes | Path))


@contextmanager
def watched() -> Iterator[list[str]]:
    """Take note of every file that anything in this process touches."""
    if not getattr(sys, "_noting", False):  # a hook cannot be taken out again
        sys.addaudithook(_note)
        sys._noting = True  # type: ignore[attr-defined]
    TOUCHED.clear()
    _watching.append(True)
    try:
        yield TOUCHED
    finally:
        _watching.clear()


async def test_s12_no_id_becomes_a_path(tmp_path: Path) -> None:
    database = tmp_path / "data" / "durably.db"
    database.parent.mkdir()
    async with (
        Engine(f"sqlite:{database}", ALL, grace=0) as engine,
        http_client(make_app(engine)) as client,
    ):
        await client.post(INVOKE, content=b"1")
        with watched() as touched:
            for path in PATHS:
                label = quote(path, safe="")
                headers = {"X-Amz-Durable-Execution-Name": path.replace("\x00", "0")}
                for method, where in (
                    ("GET", f"/2025-12-01/durable-executions/{label}"),
                    ("POST", f"/2025-12-01/durable-execution-callbacks/{label}/succeed"),
                    ("GET", f"/2025-12-01/functions/echo/durable-executions?Marker={label}"),
                    ("GET", f"/2015-03-31/functions/{label}"),
                    ("POST", f"/2015-03-31/functions/{label}/invocations"),
                    ("POST", INVOKE),
                ):
                    content = b"1" if method == "POST" else None
                    sent = headers if where == INVOKE else {}
                    check_refusal(
                        await client.request(method, where, content=content, headers=sent)
                    )
        installed = (sys.prefix, sys.base_prefix, str(database.parent))
        searched = set(map(os.path.abspath, sys.path))  # by imports that come late
        outside = [one for one in touched if "/" in one and not one.startswith(installed)]
        assert set(outside) <= searched


BOMBS: tuple[tuple[str, Callable[[Target], str], dict[str, Any]], ...] = (
    ("packed", lambda api: INVOKE, {"headers": {"Content-Encoding": "gzip"}, "content": b"\x1f"}),
    ("packed twice", lambda api: INVOKE, {"headers": {"Content-Encoding": "gzip, gzip"}}),
    ("deep", lambda api: INVOKE, {"content": b"[" * MIB}),
    ("deep objects", lambda api: INVOKE, {"content": b'{"a":' * (MIB // 5)}),
    ("digits", lambda api: INVOKE, {"content": b"9" * (5 * MIB)}),
    ("exponent", lambda api: INVOKE, {"content": b'{"a": 1e' + b"9" * MIB + b"}"}),
    ("backslashes", lambda api: INVOKE, {"content": b'"' + b"\\" * MIB}),
    ("colons in keys", lambda api: INVOKE, {"content": b'{"' + b":\\u003a" * 10**5 + b'": 1'}),
    ("arn", lambda api: api.execution("arn:" + "a-" * 5000 + ":"), {}),
    ("host", lambda api: "/2015-03-31/functions", {"headers": {"Host": "a." * 15_000 + ":"}}),
    ("media", lambda api: INVOKE, {"headers": {"Content-Type": "text/plain" + ";" * 20_000}}),
    ("instant", lambda api: _listing("StartedAfter=" + "1" * 15_000), {}),
    ("query", lambda api: _listing("&" * 15_000 + "MaxItems=x"), {}),
)


def _listing(query: str) -> str:
    return f"/2025-12-01/functions/echo/durable-executions?{query}"


@pytest.mark.parametrize(("path", "sent"), [one[1:] for one in BOMBS], ids=[b[0] for b in BOMBS])
async def test_s13_a_bomb_is_refused(
    api: Target, path: Callable[[Target], str], sent: dict[str, Any]
) -> None:
    """What takes more than linear time at such sizes runs into the time limit of the test."""
    method = "POST" if path(api) == INVOKE else "GET"
    async with asyncio.timeout(8):  # what is taken may wait for ever
        check_refusal(await api.client.request(method, path(api), **sent))
