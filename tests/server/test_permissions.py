"""What credentials are for: payloads, deleting; who has done what; how fast; and TLS alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from durably import Engine, Execution
from durably.server.access import Access, AccessKey, BearerToken, Permission
from durably.server.app import make_app
from durably.server.guards import Limits
from durably.testing.clock import ManualClock
from tests.app.functions import ALL, ASKED
from tests.server.served import http_client
from tests.server.test_security_auth import signed

CANARY = "canary-9b1e"
FUNCTIONS = "/2015-03-31/functions"


def token(*permissions: Permission) -> BearerToken:
    name = "-".join(permissions)
    return BearerToken(f"the-secret-token-to-{name}", frozenset(permissions), name)


READER = token(Permission.READ)
AUDITOR = token(Permission.READ, Permission.READ_PAYLOAD)
STOPPER = token(Permission.STOP)
DELETER = token(Permission.DELETE)
SENDER = token(Permission.CALLBACK)
KEY = AccessKey("AKIDOPERATOR", "a-secret-access-key-of-length")
ALL_OF_THEM = Access(keys=(KEY,), tokens=(READER, AUDITOR, STOPPER, DELETER, SENDER))


@asynccontextmanager
async def api(
    access: Access = ALL_OF_THEM, limits: Limits | None = None
) -> AsyncIterator[tuple[Engine, httpx.AsyncClient]]:
    async with (
        Engine("memory:", ALL, grace=0) as engine,
        http_client(make_app(engine, access=access, limits=limits)) as client,
    ):
        yield engine, client


def of(arn: str, verb: str = "") -> str:
    return f"/2025-12-01/durable-executions/{quote(arn, safe='')}{verb}"


def by(who: BearerToken) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {who.secret}"}}


@pytest.mark.parametrize("verb", ["", "/history"])
async def test_payloads_are_for_those_who_may_read_them(verb: str) -> None:
    async with api() as (engine, client):
        run = await engine.start("echo", CANARY)
        await run.result()
        path = of(run.arn, verb)

        for asked in ("", "?IncludeExecutionData=true"):
            denied = await client.get(path + asked, **by(READER))
            assert denied.status_code == 403
            assert denied.json()["__type"] == "AccessDeniedException"
            assert "read-payload" in denied.json()["message"]
            assert CANARY not in denied.text
            told = await client.get(path + asked, **by(AUDITOR))
            assert told.status_code == 200
            assert CANARY in told.text
        without = await client.get(path + "?IncludeExecutionData=false", **by(READER))
        assert without.status_code == 200
        assert CANARY not in without.text


async def test_whoever_may_stop_may_not_delete_and_the_other_way_round() -> None:
    async with api() as (engine, client):
        run = await engine.start("long_sleep", "x")
        assert (await client.post(of(run.arn, "/stop"), **by(DELETER))).status_code == 403
        assert (await client.post(of(run.arn, "/stop"), **by(STOPPER))).status_code == 200
        assert (await client.delete(of(run.arn), **by(STOPPER))).status_code == 403
        assert (await client.delete(of(run.arn), **by(DELETER))).status_code == 202


async def test_what_somebody_has_to_answer_for_is_on_record_without_what_was_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "durably.audit")
    callbacks = "/2025-12-01/durable-execution-callbacks/"
    async with api() as (engine, client):
        (first, run), (second, other) = [await asking(engine, f"run-{one}") for one in range(2)]
        said = {"content": f'"{CANARY}"', **by(SENDER)}
        await client.post(f"{callbacks}{first}/succeed", **said)
        await client.post(f"{callbacks}{second}/fail", json={"ErrorMessage": CANARY}, **by(SENDER))
        await client.post(f"{callbacks}{first}/succeed", **said)  # too late, so nothing was done
        await run.result()
        await client.get(of(run.arn), **by(AUDITOR))
        await client.get(of(run.arn, "/history"), **by(AUDITOR))
        await client.get(of(run.arn) + "?IncludeExecutionData=false", **by(READER))
        stopped = await engine.start("long_sleep", CANARY, name="run-2")
        url = "http://127.0.0.1:9000" + of(stopped.arn, "/stop")
        await client.post(of(stopped.arn, "/stop"), headers=signed(url=url, body=b"", key=KEY))
        await client.delete(of(stopped.arn), **by(READER))
        await client.delete(of(stopped.arn), **by(DELETER))

    records = [record for record in caplog.records if record.name == "durably.audit"]
    assert [record.getMessage() for record in records] == [
        "ask/run-0: a callback answered by callback",
        "ask/run-1: a callback failed by callback",
        "ask/run-0: payloads read by read-read-payload",
        "ask/run-0: payloads read by read-read-payload",
        "long_sleep/run-2: a stop was asked for by AKIDOPERATOR",
        "long_sleep/run-2: deleted by delete",
    ]
    arns = [one.arn for one in (run, other, run, run, stopped, stopped)]
    assert [vars(record)["executionArn"] for record in records] == arns
    everything = repr([vars(record) for record in records])
    for unspeakable in (CANARY, first, second, KEY.secret, SENDER.secret, AUDITOR.secret):
        assert unspeakable not in everything


async def asking(engine: Engine, name: str) -> tuple[str, Execution]:
    """Start an execution that asks the outside, and give the id of its callback."""
    event = f"{CANARY}-{name}"
    asked = ASKED[event] = asyncio.get_running_loop().create_future()
    run = await engine.start("ask", event, name=name)
    return await asked, run


async def test_where_nobody_is_asked_who_he_is_the_record_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "durably.audit")
    async with api(Access()) as (engine, client):
        run = await engine.start("echo", 1, name="one")
        await run.result()
        assert (await client.get(of(run.arn))).status_code == 200

    assert "echo/one: payloads read by anybody on this machine" in caplog.messages


async def test_a_credential_makes_so_many_requests_a_second_and_no_more() -> None:
    async with api(limits=Limits(max_per_second=2)) as (engine, client):
        clock = engine.service.clock = ManualClock(engine.service.clock.now())

        async def statuses(who: BearerToken, times: int) -> list[int]:
            return [(await client.get(FUNCTIONS, **by(who))).status_code for _ in range(times)]

        assert await statuses(READER, 4) == [200, 200, 429, 429]
        refused = await client.get(FUNCTIONS, **by(READER))
        assert refused.headers["Retry-After"] == "1"
        assert refused.json()["__type"] == "TooManyRequestsException"
        assert await statuses(AUDITOR, 1) == [200]
        clock.advance(0.5)
        assert await statuses(READER, 2) == [200, 429]
        clock.advance(1)
        assert await statuses(READER, 3) == [200, 200, 429]


async def test_nobody_uses_up_the_requests_of_a_key_that_is_not_his() -> None:
    url = "http://127.0.0.1:9000" + FUNCTIONS
    async with api(limits=Limits(max_per_second=1)) as (_, client):
        headers = signed("GET", url, b"", key=AccessKey(KEY.key_id, "a-secret-that-was-guessed"))
        for _ in range(3):
            assert (await client.get(FUNCTIONS, headers=headers)).status_code == 403
        mine = signed("GET", url, b"", key=KEY)
        assert (await client.get(FUNCTIONS, headers=mine)).status_code == 200


@pytest.mark.parametrize(
    ("scheme", "is_behind_proxy", "is_told"),
    [("http", False, False), ("http", True, True), ("https", False, True)],
)
async def test_browsers_are_told_to_come_by_tls_only_where_it_is_spoken(
    scheme: str,
    is_behind_proxy: bool,  # noqa: FBT001 - pytest passes it by name
    is_told: bool,  # noqa: FBT001 - as above
) -> None:
    access = Access(is_behind_proxy=is_behind_proxy)
    async with Engine("memory:", ALL, grace=0) as engine:
        transport = httpx.ASGITransport(make_app(engine, access=access))
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://localhost") as one:
            for path in (FUNCTIONS, "/nowhere"):
                said = (await one.get(path)).headers.get("Strict-Transport-Security")
                assert said == ("max-age=31536000" if is_told else None)
