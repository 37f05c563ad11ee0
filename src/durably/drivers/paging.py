"""Reading a state that a backend gives in pages, as one."""

from __future__ import annotations

import inspect
from functools import partial
from typing import cast

from durably.drivers.client import AnyClient, AsyncDurableExecutionClient, DurableExecutionClient
from durably.errors import DurableExecutionClientError
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.invocation import ExecutionState, InvocationInput
from durably.wire.operation import Operation


class _Pages:
    """The pages of one state so far.

    Attributes:
        operations: those of all pages.
        marker: of the page to read next; nothing after the last.
    """

    __slots__ = ("_followed", "marker", "operations")

    def __init__(self, first: ExecutionState) -> None:
        self.operations = list(first.operations)
        self.marker = first.next_marker
        self._followed = {self.marker}

    def add(self, page: GetExecutionStateResponse) -> None:
        """Take the page that `marker` has led to.

        Raises:
            DurableExecutionClientError: it leads back to one that was read: there is no end.
        """
        self.operations += page.operations
        self.marker = page.next_marker
        if self.marker and self.marker in self._followed:
            text = f"the pages of the state have no end: marker {self.marker!r} came twice"
            raise DurableExecutionClientError(text, scope="invocation")
        self._followed.add(self.marker)


def checkpoint_with_all_pages(
    client: DurableExecutionClient, request: CheckpointRequest
) -> CheckpointResponse:
    """Send *request*, and read the pages that its reply points to."""
    response = client.checkpoint(request)
    if not response.new_execution_state.next_marker:
        return response
    pages = _Pages(response.new_execution_state)
    while pages.marker:
        pages.add(client.get_execution_state(_page(request, response, pages.marker)))
    return _joined(response, pages.operations)


async def checkpoint_and_await_pages(
    client: AsyncDurableExecutionClient, request: CheckpointRequest
) -> CheckpointResponse:
    """As `checkpoint_with_all_pages`, awaited."""
    response = await client.checkpoint(request)
    if not response.new_execution_state.next_marker:
        return response
    pages = _Pages(response.new_execution_state)
    while pages.marker:
        pages.add(await client.get_execution_state(_page(request, response, pages.marker)))
    return _joined(response, pages.operations)


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
    pages = _Pages(invocation.initial_execution_state)
    while pages.marker:
        pages.add(client.get_execution_state(_first_page(invocation, pages.marker)))
    return pages.operations


async def await_state(client: AnyClient, invocation: InvocationInput) -> list[Operation]:
    """As `load_state`, in an event loop; a client that blocks does so in a thread."""
    pages = _Pages(invocation.initial_execution_state)
    while pages.marker:
        pages.add(await _read(client, _first_page(invocation, pages.marker)))
    return pages.operations


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
