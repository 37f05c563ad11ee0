"""A state that comes in pages is read as one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from durably.drivers.paging import (
    await_state,
    checkpoint_and_await_pages,
    checkpoint_with_all_pages,
    load_state,
)
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.invocation import ExecutionState, InvocationInput
from durably.wire.operation import Operation, OperationStatus, OperationType


def operations(names: str) -> tuple[Operation, ...]:
    return tuple(
        Operation(id=name, type=OperationType.STEP, status=OperationStatus.STARTED)
        for name in names
    )


NEXT = "t2"
PAGES = {"2": ("cd", "3"), "3": ("", "4"), "4": ("e", "")}


class Client:
    """Gives pages, and notes with which token each was asked for."""

    def __init__(self, token: str | None = NEXT, marker: str | None = "2") -> None:
        self.state = ExecutionState(operations=operations("ab"), next_marker=marker)
        self.token = token
        self.asked: list[tuple[str, str | None]] = []

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        return CheckpointResponse(checkpoint_token=self.token, new_execution_state=self.state)

    def get_execution_state(self, request: GetExecutionStateRequest) -> GetExecutionStateResponse:
        self.asked.append((request.checkpoint_token, request.marker))
        names, marker = PAGES[request.marker or ""]
        return GetExecutionStateResponse(operations=operations(names), next_marker=marker)


class Awaited(Client):
    async def checkpoint(  # type: ignore[override]  # the same, to be awaited
        self, request: CheckpointRequest
    ) -> CheckpointResponse:
        return super().checkpoint(request)

    async def get_execution_state(  # type: ignore[override]  # the same, to be awaited
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        return super().get_execution_state(request)


REQUEST = CheckpointRequest(durable_execution_arn="arn", checkpoint_token="t1")


def blocking(client: Client) -> CheckpointResponse:
    return checkpoint_with_all_pages(client, REQUEST)


def awaited(client: Client) -> CheckpointResponse:
    async def work() -> CheckpointResponse:
        twin = Awaited(client.token, client.state.next_marker)
        response = await checkpoint_and_await_pages(twin, REQUEST)
        client.asked = twin.asked
        return response

    return asyncio.run(work())


BOTH = pytest.mark.parametrize("send", [blocking, awaited])


@BOTH
def test_the_pages_of_a_reply_are_joined_and_asked_for_with_its_token(
    send: Callable[[Client], CheckpointResponse],
) -> None:
    client = Client()

    response = send(client)

    assert response.new_execution_state.operations == operations("abcde")
    assert response.new_execution_state.next_marker is None
    assert response.checkpoint_token == "t2"
    assert client.asked == [("t2", "2"), ("t2", "3"), ("t2", "4")]


@BOTH
def test_the_pages_of_a_reply_without_a_token_are_asked_for_with_the_last_one(
    send: Callable[[Client], CheckpointResponse],
) -> None:
    client = Client(None)

    assert send(client).checkpoint_token is None
    assert client.asked[0] == ("t1", "2")


@BOTH
@pytest.mark.parametrize("marker", ["", None])
def test_a_reply_of_one_page_is_taken_as_it_is(
    send: Callable[[Client], CheckpointResponse], marker: str | None
) -> None:
    client = Client(marker=marker)

    assert send(client).new_execution_state.operations == operations("ab")
    assert client.asked == []


def load_awaited(kind: type[Client]) -> Callable[[InvocationInput], Any]:
    return lambda invocation: asyncio.run(await_state(kind(), invocation))


@pytest.mark.parametrize(
    "load",
    [
        lambda invocation: load_state(Client(), invocation),
        load_awaited(Client),
        load_awaited(Awaited),
    ],
)
@pytest.mark.parametrize(("marker", "names"), [("2", "abcde"), ("", "ab"), (None, "ab")])
def test_the_state_that_an_invocation_begins_with_is_read_to_its_end(
    load: Callable[[InvocationInput], Any], marker: str | None, names: str
) -> None:
    state = ExecutionState(operations=operations("ab"), next_marker=marker)
    invocation = InvocationInput(
        durable_execution_arn="arn", checkpoint_token="t1", initial_execution_state=state
    )

    assert tuple(load(invocation)) == operations(names)
