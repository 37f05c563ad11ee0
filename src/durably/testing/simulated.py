"""Invocations of `def` handlers in one thread, whose every choice is drawn from a seed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from durably.core.effects import Err, Ok, Outcome
from durably.drivers.paging import checkpoint_with_all_pages, load_state
from durably.errors import classify_checkpoint_error
from durably.handler import DurableFunction, validate_durable_execution_event

if TYPE_CHECKING:
    from durably.drivers.client import DurableExecutionClient
    from durably.wire.api import CheckpointRequest, CheckpointResponse
    from durably.wire.invocation import InvocationOutput


def simulate(
    function: DurableFunction, event: Any, client: DurableExecutionClient, seed: int
) -> InvocationOutput:
    """Run one invocation of a `def` handler in this thread, the same way each time for a *seed*.

    Which branch of a fan-out goes on, where one gives way to another, and how much is done before
    the next request are drawn from the seed, so that some hundred seeds show a handler in most of
    the orders that threads may give it. No thread is started: whoever has to wait is unwound, and
    driven again by replay, so the code between the operations runs many times.

    Args:
        function: a durable function whose handler is a `def`.
        event: that of an invocation, such as `InMemoryClient.event` gives.
        client: the backend.
        seed: any number.

    Raises:
        ValidationError: *event* is not one of a durable execution, or the handler is an
            `async def`. Nothing was run.
        UnrecoverableInvocationError: this invocation failed, and is to be tried again.
    """
    invocation = validate_durable_execution_event(event)
    try:
        operations = load_state(client, invocation)
    except Exception as error:
        raise classify_checkpoint_error(error) from error
    random = Random(seed)  # noqa: S311 - so that it can be repeated
    exchange = function.simulate(invocation, operations, random)
    try:
        request = next(exchange)
        while True:
            request = exchange.send(_sent(client, request))
    except StopIteration as end:
        output: InvocationOutput = end.value
        return output


def _sent(
    client: DurableExecutionClient, request: CheckpointRequest
) -> Outcome[CheckpointResponse]:
    try:
        return Ok(checkpoint_with_all_pages(client, request))
    except Exception as error:  # noqa: BLE001 - the driver classifies it
        return Err(error)
