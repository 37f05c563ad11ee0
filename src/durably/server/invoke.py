"""Invoke: start an execution of a function, or call it, and wait for the end or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from contextlib import suppress
from enum import StrEnum
from typing import TypeVar

from starlette.responses import Response

from durably.engine.limits import (
    MAX_PAYLOAD_BYTES,
    MAX_SYNCHRONOUS_PAYLOAD_BYTES,
    check_tenant,
    check_trace_id,
)
from durably.engine.policy import StartOptions
from durably.engine.views import Description
from durably.errors import (
    ApiError,
    InvalidStateError,
    ResourceConflictException,
    SerdesError,
)
from durably.serdes_json import read_json
from durably.server.calls import GONE, Call, refuse
from durably.server.errors import JSON, cut_off, not_begun, refusal, too_large
from durably.server.functions import FunctionCall
from durably.server.routes_executions import qualified
from durably.server.routes_functions import find_function
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject

T = TypeVar("T")

_ARN = "X-Amz-Durable-Execution-Arn"
_VERSION = "X-Amz-Executed-Version"
_ERROR = "X-Amz-Function-Error"
_UNHANDLED = "Unhandled"
_NULL = b"null"
_ENDS_BEFORE = (
    "The server ends before the execution does. It goes on when a server works on its store again:"
    " ask for it by its arn, {}."
)


class InvocationType(StrEnum):
    """How a function is invoked."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


def invoked(call: Call) -> str | None:
    """Give the name of the function whose answer is waited for, in whatever way it was written.

    Raises:
        InvalidParameterValueException: it is none, or the invocation type is none.
    """
    return qualified(call)[0] if _kind(call) is InvocationType.REQUEST_RESPONSE else None


async def invoke(call: Call) -> Response:
    """Invoke a function."""
    kind = _kind(call)
    info = find_function(call, *qualified(call))
    payload = _payload(call, kind)
    if kind is InvocationType.DRY_RUN:
        return Response(status_code=204)
    name = _header(call, "X-Amz-Durable-Execution-Name")
    tenant_id, trace_id = _header(call, "X-Amz-Tenant-Id"), _header(call, "X-Amzn-Trace-Id")
    check_tenant(tenant_id)
    check_trace_id(trace_id)
    if not info.is_durable:
        if name is not None:
            raise refuse("DurableExecutionName", "is for durable functions")
        taken = asyncio.Event()
        asked = FunctionCall(
            function=info,
            payload=call.body,
            tenant_id=tenant_id,
            trace_id=trace_id,
            client_context=_header(call, "X-Amz-Client-Context"),
            on_taken=taken.set,
        )
        if kind is InvocationType.EVENT:
            await call.functions.post(asked)
            return Response(status_code=202)
        return await _call_plain(call, asked, taken)
    if kind is InvocationType.REQUEST_RESPONSE and call.service.waiters.is_ending:
        raise not_begun()
    # The version that was found is the one to run, whatever alias has led to it.
    arn = await call.service.start(
        f"{info.name}:{info.version}",
        payload,
        name=name,
        options=StartOptions(
            is_synchronous=kind is InvocationType.REQUEST_RESPONSE,
            tenant_id=tenant_id,
            trace_id=trace_id,
        ),
    )
    if kind is InvocationType.EVENT:
        return Response(status_code=202, headers={_ARN: arn})
    return await _answer(call, arn)


def _kind(call: Call) -> InvocationType:
    text = _header(call, "X-Amz-Invocation-Type")
    if text is None:
        return InvocationType.REQUEST_RESPONSE
    for kind in InvocationType:
        if text == kind:
            return kind
    raise refuse("InvocationType", f"must be among {', '.join(InvocationType)}")


def _header(call: Call, name: str) -> str | None:
    values = call.headers.getlist(name)
    if len(values) > 1:
        raise refuse(name, "is given more than once")
    return values[0] if values else None


def _payload(call: Call, kind: InvocationType) -> str | None:
    """Give the payload, which is JSON. It is looked at, and stays as it is."""
    is_event = kind is InvocationType.EVENT
    max_bytes = MAX_PAYLOAD_BYTES if is_event else MAX_SYNCHRONOUS_PAYLOAD_BYTES
    if len(call.body) > max_bytes:
        raise too_large(max_bytes)
    try:
        text = call.body.decode()
        if text:
            read_json(text)
    except (SerdesError, UnicodeDecodeError):
        said = "The payload is not JSON that can be read."
        raise ApiError(400, "InvalidRequestContentException", said) from None
    return text or None


async def _answer(call: Call, arn: str) -> Response:
    """Wait for the end of an execution.

    If the server ends before, the answer is one that no client takes for a reason to invoke again:
    it would start another execution.
    """
    try:
        found = await _unless_gone(call, call.service.wait_closed(arn))
    except InvalidStateError:
        if not call.service.waiters.is_ending:
            raise
        error = ResourceConflictException(_ENDS_BEFORE.format(arn))
        return refusal(error, {_ARN: arn})
    return Response(status_code=GONE) if found is None else _outcome(found)


async def _call_plain(call: Call, asked: FunctionCall, taken: asyncio.Event) -> Response:
    """Call a function. Nobody is kept waiting for a caller that is gone before it was taken.

    If the server ends before there is an answer, it matters to the caller, too, whether it was.
    """
    try:
        answer = await _unless_gone(call, call.functions.call(asked), unless=taken)
    except asyncio.CancelledError:
        raise (cut_off() if taken.is_set() else not_begun()) from None
    if answer is None:
        return Response(status_code=GONE)
    headers = {_VERSION: asked.function.version}
    if answer.error is not None:
        headers[_ERROR] = answer.error
    return Response(answer.payload, headers=headers, media_type=JSON)


async def _unless_gone(
    call: Call, wanted: Awaitable[T], unless: asyncio.Event | None = None
) -> T | None:
    """Await *wanted*. `None`: the caller went away, and *unless* was not set by then."""
    waiting = asyncio.ensure_future(wanted)
    gone = asyncio.ensure_future(call.gone())
    try:
        await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done() or (unless is not None and unless.is_set()):
            return await waiting
        return None
    finally:
        for task in (waiting, gone):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


def _outcome(found: Description) -> Response:
    headers = {_ARN: found.arn, _VERSION: found.version}
    if found.status is ExecutionStatus.SUCCEEDED:
        body = _NULL if found.result is None else found.result.encode()
        return Response(body, headers=headers, media_type=JSON)
    error = found.error or ErrorObject()
    said: dict[str, object] = {
        "errorType": error.error_type or _error_type(found),
        "errorMessage": error.error_message or found.parked_reason or "",
    }
    if error.error_data is not None:
        said["errorData"] = error.error_data
    if error.stack_trace is not None:
        said["stackTrace"] = error.stack_trace
    headers[_ERROR] = _UNHANDLED
    return Response(json.dumps(said), headers=headers, media_type=JSON)


def _error_type(found: Description) -> str:
    if not found.is_closed:
        return "Execution.Parked"
    return "Execution." + "".join(word.capitalize() for word in found.status.split("_"))
