"""The in-memory client: the examples that every user starts from, and what tests drive it with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from durably import DurableContext, SyncDurableContext, durable_execution
from durably.clients.in_memory import InMemoryClient
from durably.errors import CallbackTimeoutException, ResourceNotFoundException
from durably.handler import DurableFunction
from durably.testing.clock import ManualClock
from durably.wire.api import GetExecutionStateRequest
from durably.wire.operation import ErrorObject, OperationStatus


async def greeting(name: str) -> str:
    return f"hello {name}"


@durable_execution
async def greet(event: dict[str, Any], ctx: DurableContext) -> str:
    return await ctx.step("greet", greeting, event["name"])


@durable_execution
async def sleep(event: dict[str, Any], ctx: DurableContext) -> str:
    await ctx.wait("sleep", 30)
    return "awake"


@durable_execution
async def double(event: list[int], ctx: DurableContext) -> dict[str, Any]:
    async def twice(_: DurableContext, item: int) -> int:
        return item * 2

    batch = await ctx.map("double", event, twice)
    return {"success": batch.success_count, "total": batch.total_count, "values": batch.results()}


@durable_execution
def ask(event: dict[str, Any], ctx: SyncDurableContext) -> Any:
    callback = ctx.create_callback("answer")
    return callback.result()


@durable_execution
def call(event: dict[str, Any], ctx: SyncDurableContext) -> Any:
    return ctx.invoke("call", "other", {"n": 1})


def invoke(function: DurableFunction, client: InMemoryClient) -> dict[str, Any]:
    function._client = client
    return function(client.event(), None)


def test_the_greeting_step() -> None:
    client = InMemoryClient({"name": "alice"})

    assert invoke(greet, client) == {"Status": "SUCCEEDED", "Result": '"hello alice"'}


def test_a_wait_of_thirty_seconds_is_pending_and_is_over_when_they_have_passed() -> None:
    clock = ManualClock()
    client = InMemoryClient({}, clock=clock)

    assert invoke(sleep, client) == {"Status": "PENDING"}

    clock.advance(30)

    assert invoke(sleep, client) == {"Status": "SUCCEEDED", "Result": '"awake"'}


def test_the_doubling_map() -> None:
    client = InMemoryClient([1, 2, 3])

    output = invoke(double, client)

    assert json.loads(output["Result"]) == {"success": 3, "total": 3, "values": [2, 4, 6]}


def test_a_callback_has_the_id_of_its_operation_and_is_answered_by_it() -> None:
    client = InMemoryClient({})
    invoke(ask, client)
    [callback] = [one for one in client.operations() if one.name == "answer"]
    assert callback.callback_details is not None
    assert callback.callback_details.callback_id == callback.id

    client.complete_callback(callback.id, "yes")

    assert invoke(ask, client) == {"Status": "SUCCEEDED", "Result": '"yes"'}
    with pytest.raises(CallbackTimeoutException):
        client.complete_callback(callback.id, "too late")


def test_a_callback_fails_with_the_error_that_is_sent() -> None:
    client = InMemoryClient({})
    invoke(ask, client)
    [callback] = [one for one in client.operations() if one.name == "answer"]

    client.fail_callback(callback.id, ErrorObject(error_type="No", error_message="not approved"))

    output = invoke(ask, client)
    assert output["Status"] == "FAILED"
    assert output["Error"]["ErrorMessage"] == "not approved"


def test_a_callback_can_be_made_to_time_out() -> None:
    client = InMemoryClient({})
    invoke(ask, client)
    [callback] = [one for one in client.operations() if one.name == "answer"]

    client.fail_callback(callback.id, timed_out=True)

    output = invoke(ask, client)
    assert output["Error"]["ErrorType"] == "CallbackTimeoutError"
    assert output["Error"]["ErrorMessage"] == "Callback timed out"


def test_only_a_callback_can_time_out() -> None:
    with pytest.raises(ResourceNotFoundException):
        InMemoryClient({}).fail_callback("nothing", timed_out=True)


def test_an_invoke_succeeds_at_once_and_gives_its_payload_back() -> None:
    assert invoke(call, InMemoryClient({})) == {"Status": "SUCCEEDED", "Result": '{"n":1}'}


def test_an_operation_stays_as_it_was_set() -> None:
    client = InMemoryClient({"name": "alice"})
    invoke(greet, client)
    [step] = [one for one in client.operations() if one.name == "greet"]
    assert step.step_details is not None
    failed = replace(
        step,
        status=OperationStatus.FAILED,
        step_details=replace(
            step.step_details, result=None, error=ErrorObject(error_message="as set")
        ),
    )

    client.set_operation(failed)

    assert invoke(greet, client)["Error"]["ErrorMessage"] == "as set"


def test_every_answer_holds_every_operation_sorted_by_id() -> None:
    client = InMemoryClient({"name": "alice"})
    invoke(greet, client)

    request = GetExecutionStateRequest(durable_execution_arn="any", checkpoint_token="any")
    ids = [operation.id for operation in client.get_execution_state(request).operations]

    assert ids == sorted(ids)
    assert len(ids) == 2
