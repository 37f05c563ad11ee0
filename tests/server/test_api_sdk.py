"""What running functions and outside systems call, by the real boto3, over a real socket."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from botocore.exceptions import ClientError

from durably import Engine
from durably.engine.sessions import Session
from durably.engine.views import Standing
from durably.server.listening import bound_socket, listening, port_of
from tests.app.functions import ASKED, GATES, Gate, reach
from tests.server.served import boto_client, check_reply, engine_app, http_client


@dataclass
class Api:
    engine: Engine
    client: Any

    async def ask(self, operation: str, **members: Any) -> dict[str, Any]:
        name = "".join("_" + c.lower() if c.isupper() else c for c in operation).lstrip("_")
        reply: dict[str, Any] = await asyncio.to_thread(getattr(self.client, name), **members)
        check_reply(operation, reply)
        return reply

    async def refused(self, operation: str, **members: Any) -> tuple[str, int, str]:
        with pytest.raises(ClientError) as caught:
            await self.ask(operation, **members)
        response: Any = caught.value.response
        error = response["Error"]
        return error["Code"], response["ResponseMetadata"]["HTTPStatusCode"], error["Message"]

    async def begin(self) -> Session:
        """Begin an invocation as a worker elsewhere does, and keep its token."""
        service = self.engine.service
        arn = await service.start("echo", '"in"')
        claims = await service.store.claim(
            "elsewhere", ["echo"], service.clock.now(), timedelta(seconds=60), 1
        )
        assert [claim.arn for claim in claims] == [arn]
        session = await service.begin(claims[0])
        assert session is not None
        return session


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Give an API whose engine is busy for as long as the test is."""
    async with engine_app(max_concurrency=1) as (engine, app):
        gate = GATES["busy"] = Gate()
        await engine.start("gated", "busy")
        await gate.reached.wait()
        bound = bound_socket()
        async with listening(app, [bound]):
            client = boto_client(f"http://127.0.0.1:{port_of(bound)}")
            yield Api(engine, client)
            client.close()


def step(update_id: str, action: str, **members: Any) -> dict[str, Any]:
    return {"Id": update_id, "Type": "STEP", "SubType": "Step", "Action": action, **members}


async def test_a_function_elsewhere_checkpoints(api: Api) -> None:
    session = await api.begin()
    said = {"DurableExecutionArn": session.arn}
    first = await api.ask(
        "CheckpointDurableExecution",
        CheckpointToken=session.token,
        ClientToken="once",
        Updates=[step("s1", "START", Name="a / b : c"), step("s1", "SUCCEED", Payload='"ä"')],
        **said,
    )
    operation = first["NewExecutionState"]["Operations"][0]
    assert operation["StepDetails"]["Result"] == '"ä"'
    repeated = await api.ask(
        "CheckpointDurableExecution",
        CheckpointToken=session.token,
        ClientToken="once",
        Updates=[step("s1", "START", Name="a / b : c"), step("s1", "SUCCEED", Payload='"ä"')],
        **said,
    )
    assert repeated["CheckpointToken"] == first["CheckpointToken"]
    last = await api.ask(
        "CheckpointDurableExecution",
        CheckpointToken=first["CheckpointToken"],
        Updates=[{"Id": "end", "Type": "EXECUTION", "Action": "SUCCEED", "Payload": "1"}],
        **said,
    )
    assert "CheckpointToken" not in last
    found = await api.ask("GetDurableExecution", **said)
    assert (found["Status"], found["Result"]) == ("SUCCEEDED", "1")


async def test_the_path_says_which_execution_it_is(api: Api) -> None:
    session = await api.begin()
    async with httpx.AsyncClient(base_url=api.client.meta.endpoint_url) as client:
        label = quote(session.arn, safe="")
        body = {"DurableExecutionArn": "another", "CheckpointToken": session.token}
        reply = await client.post(f"/2025-12-01/durable-executions/{label}/checkpoint", json=body)
    assert reply.status_code == 200


async def test_a_stale_token_is_refused_in_the_words_that_sdks_look_for(api: Api) -> None:
    session = await api.begin()
    said = {"DurableExecutionArn": session.arn, "CheckpointToken": session.token}
    await api.ask("CheckpointDurableExecution", **said)
    for operation in ("CheckpointDurableExecution", "GetDurableExecutionState"):
        assert await api.refused(operation, **said) == (
            "InvalidParameterValueException",
            400,
            "Invalid checkpoint token",
        )


async def test_the_state_comes_in_pages(api: Api) -> None:
    session = await api.begin()
    said = {"DurableExecutionArn": session.arn}
    ids = [hashlib.md5(str(n).encode()).hexdigest()[:16] for n in range(5)]  # noqa: S324 - as SDKs do
    reply = await api.ask(
        "CheckpointDurableExecution",
        CheckpointToken=session.token,
        Updates=[step(one, "SUCCEED", Payload="1") for one in ids],
        **said,
    )
    pages = api.client.get_paginator("get_durable_execution_state").paginate(
        CheckpointToken=reply["CheckpointToken"], PaginationConfig={"PageSize": 2}, **said
    )
    found = await asyncio.to_thread(list, pages)
    assert [len(page["Operations"]) for page in found] == [2, 2, 2]
    assert [one["Id"] for page in found for one in page["Operations"]][1:] == ids
    whole = await api.ask(
        "GetDurableExecutionState", CheckpointToken=reply["CheckpointToken"], **said
    )
    assert len(whole["Operations"]) == 6


async def callback_of(api: Api, key: str) -> tuple[str, str]:
    ASKED[key] = asyncio.get_running_loop().create_future()
    GATES["busy"].opened.set()
    started = await api.engine.start("ask", key)
    return await ASKED[key], started.arn


async def test_a_callback_is_answered_byte_for_byte(api: Api) -> None:
    callback_id, arn = await callback_of(api, "yes")
    await api.ask("SendDurableExecutionCallbackHeartbeat", CallbackId=callback_id)
    answer = b'{"status":  "\xc3\xa4"}'
    await api.ask("SendDurableExecutionCallbackSuccess", CallbackId=callback_id, Result=answer)
    code, status, _ = await api.refused(
        "SendDurableExecutionCallbackSuccess", CallbackId=callback_id
    )
    assert (code, status) == ("CallbackTimeoutException", 400)
    await reach(api.engine, arn, Standing.CLOSED)
    events = (await api.ask("GetDurableExecutionHistory", DurableExecutionArn=arn))["Events"]
    details = [event.get("CallbackSucceededDetails") for event in events]
    assert {"Result": {"Payload": answer.decode(), "Truncated": False}} in details


async def test_a_callback_fails_with_what_was_said(api: Api) -> None:
    callback_id, arn = await callback_of(api, "no")
    error = {"ErrorType": "No", "ErrorMessage": "not approved", "ErrorData": "{}"}
    await api.ask("SendDurableExecutionCallbackFailure", CallbackId=callback_id, Error=error)
    await reach(api.engine, arn, Standing.CLOSED)
    found = await api.ask("GetDurableExecution", DurableExecutionArn=arn)
    assert found["Status"] == "FAILED"
    assert found["Error"]["ErrorMessage"] == "not approved"


async def test_the_id_of_a_callback_is_looked_at_before_what_was_sent() -> None:
    async with engine_app() as (_, app), http_client(app) as client:
        path = "/2025-12-01/durable-execution-callbacks/nope/fail"
        refused = await client.post(path, content=b"[" * 1000)
        assert refused.status_code == 404
        assert refused.json()["__type"] == "ResourceNotFoundException"
