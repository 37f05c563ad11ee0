"""What running functions and outside systems call."""

from __future__ import annotations

from starlette.responses import Response

from durably.server.calls import Call, empty, reply
from durably.wire.api import CheckpointRequest, GetExecutionStateRequest
from durably.wire.operation import ErrorObject

_ARN = "DurableExecutionArn"
_TOKEN = "CheckpointToken"  # noqa: S105 - the name of a member
_CALLBACK = "CallbackId"


async def checkpoint(call: Call) -> Response:
    """Accept the updates of a function that holds a token."""
    request = call.read(CheckpointRequest, DurableExecutionArn=call.label(_ARN))
    return reply(await call.service.checkpoint(request))


async def state(call: Call) -> Response:
    """Give one page of the state to a function that holds a token."""
    request = GetExecutionStateRequest(
        durable_execution_arn=call.label(_ARN),
        checkpoint_token=call.query.text(_TOKEN) or "",
        marker=call.query.marker(),
        max_items=call.query.count() or 0,
    )
    return reply(await call.service.get_execution_state(request))


async def callback_succeed(call: Call) -> Response:
    """Answer a callback. The body is the answer, byte for byte."""
    arn = await call.service.succeed_callback(call.label(_CALLBACK), call.text("Result"))
    call.record("a callback answered", arn)
    return empty()


async def callback_fail(call: Call) -> Response:
    """Report a failure to a callback."""
    callback_id = call.label(_CALLBACK)
    await call.service.keys.check_callback_id(callback_id)  # before time is spent on what was sent
    arn = await call.service.fail_callback(callback_id, call.read(ErrorObject))
    call.record("a callback failed", arn)
    return empty()


async def callback_heartbeat(call: Call) -> Response:
    """Say that whoever is to answer a callback is alive."""
    await call.service.heartbeat_callback(call.label(_CALLBACK))
    return empty()
