"""Reading a state that a backend gives in pages, as one."""

from __future__ import annotations

import inspect
from functools import partial
from typing import cast

from durably.drivers.client import AnyClient, AsyncDurableExecutionClient, DurableExecutionClient
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.invocation import ExecutionState, InvocationInput
from durably.wire.operation import Operation


def checkpoint_with_all_pages(
    client: DurableExecutionClient, request: CheckpointRequest
) -> CheckpointResponse:
    """Send *request*, and read the pages that its reply points to."""
    response = client.checkpoint(request)
    marker = response.new_execution_state.next_marker
    if not marker:
        return response
    operations = list(response.new_execution_state.operations)
    while marker:
        page = client.get_execution_state(_page(request, response, marker))
        operations += page.operations
        marker = page.next_marker
    return _joined(response, operations)


async def checkpoint_and_await_pages(
    client: AsyncDurableExecutionClient, request: CheckpointRequest
) -> CheckpointResponse:
    """As `checkpoint_with_all_pages`, awaited."""
    response = await client.checkpoint(request)
    marker = response.new_execution_state.next_marker
    if not marker:
        return response
    operations = list(response.new_execution_state.operations)
    while marker:
        page = await client.get_execution_state(_page(request, response, marker))
        operations += page.operations
        marker = page.next_marker
    return _joined(response, operations)


def _page(
    request: CheckpointRequest, response: CheckpointResponse, marker: str
) -> GetExecutionStateRequest:
    return GetExecutionStateRequest(
        durable_execution_arn=request.durable_execution_arn,
        checkpoint_token=response.checkpoint_token or request.checkpoint_token,
        marker=marker,
    )


def _joined(response: CheckpointResponse, operations: list[Operation]) -> CheckpointResponse:
    return CheckpointResponse(
        checkpoint_token=response.checkpoint_token,
        new_execution_state=ExecutionState(operations=tuple(operations)),
    )


def load_state(client: DurableExecutionClient, invocation: InvocationInput) -> list[Operation]:
    """Read every operation that *invocation* begins with: its first page, and the rest."""
    state = invocation.initial_execution_state
    operations = list(state.operations)
    marker = state.next_marker
    while marker:
        page = client.get_execution_state(_first_page(invocation, marker))
        operations += page.operations
        marker = page.next_marker
    return operations


async def await_state(client: AnyClient, invocation: InvocationInput) -> list[Operation]:
    """As `load_state`, in an event loop; a client that blocks does so in a thread."""
    state = invocation.initial_execution_state
    operations = list(state.operations)
    marker = state.next_marker
    while marker:
        request = _first_page(invocation, marker)
        page = await _read(client, request)
        operations += page.operations
        marker = page.next_marker
    return operations


async def _read(client: AnyClient, request: GetExecutionStateRequest) -> GetExecutionStateResponse:
    if inspect.iscoroutinefunction(client.get_execution_state):
        return await cast("AsyncDurableExecutionClient", client).get_execution_state(request)
    from durably.drivers.beside import in_thread  # noqa: PLC0415 - brings asyncio

    blocking = cast("DurableExecutionClient", client)
    return await in_thread(partial(blocking.get_execution_state, request), "durably state")


def _first_page(invocation: InvocationInput, marker: str) -> GetExecutionStateRequest:
    return GetExecutionStateRequest(
        durable_execution_arn=invocation.durable_execution_arn,
        checkpoint_token=invocation.checkpoint_token,
        marker=marker,
    )
