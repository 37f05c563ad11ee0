"""Functions: how they are found, and how they are invoked."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from botocore.exceptions import ClientError
from starlette.types import ASGIApp

from durably import Engine
from durably.engine.views import Standing
from durably.server.app import make_app
from durably.server.functions import EngineFunctions, FunctionCall, FunctionInfo, FunctionReply
from tests.app.functions import ALL, GATES, Gate, reach
from tests.server.served import boto_client, check_reply, engine_app, http_client, served


class WithPlain(EngineFunctions):
    """Beside the engine's functions, one that is not durable."""

    plain = FunctionInfo(name="plain", is_durable=False, timeout_seconds=3, memory_mb=256)

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.posted: list[FunctionCall] = []

    def find(self, name: str, qualifier: str | None) -> FunctionInfo | None:
        return self.plain if name == "plain" else super().find(name, qualifier)

    async def call(self, call: FunctionCall) -> FunctionReply:
        if call.payload == b"null":
            return FunctionReply(payload=b'{"errorType":"No"}', error="Unhandled")
        return FunctionReply(payload=call.payload)

    async def post(self, call: FunctionCall) -> None:
        self.posted.append(call)


@asynccontextmanager
async def with_plain() -> AsyncIterator[tuple[Engine, ASGIApp]]:
    async with Engine("memory:", ALL, region="us-east-1", grace=0) as engine:
        yield engine, make_app(engine, functions=WithPlain(engine))


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with served(with_plain) as address:
        client = boto_client(address)
        yield client
        client.close()


def test_functions_are_listed_in_pages(client: Any) -> None:
    whole = client.list_functions()
    check_reply("ListFunctions", whole)
    names = [one["FunctionName"] for one in whole["Functions"]]
    assert names == sorted(function.name for function in ALL)
    paged = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 5})
    assert [one["FunctionName"] for page in paged for one in page["Functions"]] == names


def test_a_marker_that_the_list_of_functions_has_not_given_is_refused(client: Any) -> None:
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="Marker"):
        client.list_functions(Marker="nobody")


def test_a_function_is_described(client: Any) -> None:
    reply = client.get_function(FunctionName="gated", Qualifier="$LATEST")
    check_reply("GetFunction", reply)
    described = reply["Configuration"]
    bare = client.get_function_configuration(
        FunctionName="arn:aws:lambda:us-east-1:000000000000:function:gated"
    )
    check_reply("GetFunctionConfiguration", bare)
    arn = described.pop("FunctionArn")
    assert arn == bare.pop("FunctionArn") + ":$LATEST"
    del bare["ResponseMetadata"]
    assert described == bare
    assert described["DurableConfig"] == {
        "ExecutionTimeout": 31_622_400,
        "RetentionPeriodInDays": 14,
    }
    assert described["Description"].startswith("Has one effect")
    plain = client.get_function_configuration(FunctionName="plain")
    assert (plain["Timeout"], plain["MemorySize"]) == (3, 256)
    assert "DurableConfig" not in plain


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"FunctionName": "nobody"}, "ResourceNotFoundException"),
        ({"FunctionName": "echo", "Qualifier": "7"}, "ResourceNotFoundException"),
        ({"FunctionName": "echo:$LATEST", "Qualifier": "7"}, "InvalidParameterValueException"),
        ({"FunctionName": "a/b"}, "InvalidParameterValueException"),
    ],
)
def test_what_is_not_there_is_refused(client: Any, members: dict[str, Any], code: str) -> None:
    for operation in (client.get_function, client.get_function_configuration, client.invoke):
        with pytest.raises(ClientError) as caught:
            operation(**members)
        assert caught.value.response["Error"]["Code"] == code


def test_a_failure_is_told_in_the_body(client: Any) -> None:
    reply = client.invoke(FunctionName="fail", Payload=b'"bad luck"')
    check_reply("Invoke", reply)
    assert reply["FunctionError"] == "Unhandled"
    said = json.loads(reply["Payload"].read())
    assert said["errorType"] == "StepError"
    assert "bad luck" in said["errorMessage"]


def test_a_function_is_called_without_being_durable(client: Any) -> None:
    reply = client.invoke(FunctionName="plain", Payload=b'{"a":  1}', TenantId="t")
    check_reply("Invoke", reply)
    assert reply["Payload"].read() == b'{"a":  1}'
    assert reply["ExecutedVersion"] == "$LATEST"
    assert "DurableExecutionArn" not in reply
    failed = client.invoke(FunctionName="plain", Payload=b"null")
    assert failed["FunctionError"] == "Unhandled"
    posted = client.invoke(FunctionName="plain", Payload=b"1", InvocationType="Event")
    assert posted["StatusCode"] == 202


@pytest.mark.parametrize("name", ["plain", "echo"])
@pytest.mark.parametrize("header", ["X-Amzn-Trace-Id", "X-Amz-Tenant-Id"])
def test_what_no_header_could_hand_on_is_refused(client: Any, name: str, header: str) -> None:
    """The functions of the server are told of both in headers of their own."""
    address = client.meta.endpoint_url
    path = f"/2015-03-31/functions/{name}/invocations"
    for value in (b"Root=\xe9", b"Root=1\t2"):
        reply = httpx.post(address + path, headers={header.encode(): value}, content=b"1")
        assert reply.status_code == 400
        assert reply.json()["__type"] == "InvalidParameterValueException"


def test_a_plain_function_has_no_executions_to_name(client: Any) -> None:
    with pytest.raises(ClientError, match="InvalidParameterValueException"):
        client.invoke(FunctionName="plain", DurableExecutionName="one")


def test_a_dry_run_starts_nothing(client: Any) -> None:
    reply = client.invoke(FunctionName="crash", InvocationType="DryRun")
    check_reply("Invoke", reply)
    assert reply["StatusCode"] == 204
    listed = client.list_durable_executions_by_function(FunctionName="crash")
    assert listed["DurableExecutions"] == []


def test_tenant_and_trace_belong_to_the_execution(client: Any) -> None:
    client.meta.events.register(
        "before-sign.lambda.Invoke",
        lambda request, **_: request.headers.add_header("X-Amzn-Trace-Id", "Root=1-2-3"),
        unique_id="trace",
    )
    try:
        reply = client.invoke(FunctionName="echo", Payload=b"1", TenantId="acme / 1")
    finally:
        client.meta.events.unregister("before-sign.lambda.Invoke", unique_id="trace")
    found = client.get_durable_execution(DurableExecutionArn=reply["DurableExecutionArn"])
    assert found["TraceHeader"]["XAmznTraceId"].startswith("Root=1-2-3")


async def test_a_caller_that_goes_away_stops_nothing() -> None:
    async with engine_app() as (engine, app), http_client(app) as client:
        gate = GATES["left"] = Gate()
        asking = asyncio.create_task(
            client.post("/2015-03-31/functions/gated/invocations", json="left")
        )
        await gate.reached.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        (listed,) = (await engine.list()).executions
        gate.opened.set()
        await reach(engine, listed.arn, Standing.CLOSED)
        assert (await engine.describe(listed.arn)).result == '"through"'


async def test_a_stopped_execution_answers_who_waits_for_it() -> None:
    async with engine_app() as (engine, app), http_client(app) as client:
        gate = GATES["stopped"] = Gate()
        asking = asyncio.create_task(
            client.post("/2015-03-31/functions/gated/invocations", json="stopped")
        )
        await gate.reached.wait()
        (listed,) = (await engine.list()).executions
        await engine.stop(listed.arn)
        reply: httpx.Response = await asking
        assert reply.headers["X-Amz-Function-Error"] == "Unhandled"
        assert reply.json()["errorType"] == "Execution.Stopped"


async def test_a_failure_comes_with_all_that_was_said_of_it() -> None:
    async with engine_app() as (engine, app), http_client(app) as client:
        gate = GATES["refused"] = Gate()
        asking = asyncio.create_task(
            client.post("/2015-03-31/functions/gated/invocations", json="refused")
        )
        await gate.reached.wait()
        (listed,) = (await engine.list()).executions
        error = {
            "ErrorType": "No",
            "ErrorMessage": "not now",
            "ErrorData": "{}",
            "StackTrace": ["a"],
        }
        path = f"/2025-12-01/durable-executions/{quote(listed.arn, safe='')}/stop"
        assert (await client.post(path, json=error)).status_code == 200
        assert (await asking).json() == {
            "errorType": "No",
            "errorMessage": "not now",
            "errorData": "{}",
            "stackTrace": ["a"],
        }


async def test_a_header_or_a_version_that_says_two_things_is_refused() -> None:
    async with engine_app() as (engine, app), http_client(app) as client:
        path = "/2015-03-31/functions/echo/invocations"
        for name, values in (
            ("X-Amz-Durable-Execution-Name", ("a", "b")),
            ("X-Amz-Invocation-Type", ("DryRun", "Event")),
            ("X-Amz-Tenant-Id", ("a", "a")),
        ):
            twice = [(name, value) for value in values]
            assert (await client.post(path, content=b"1", headers=twice)).status_code == 400, name
        assert not (await engine.list()).executions
        versions = await client.get("/2015-03-31/functions?FunctionVersion=1")
        assert versions.json()["message"] == "FunctionVersion must be ALL."
