"""The Lambda Runtime API: functions that ask for their next invocation, in any language.

A runtime client takes no more than a host and a port, so each function has a port of its own, and
the port a request comes in by says which function it is for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from durably.engine.invokers import FunctionError
from durably.engine.limits import MAX_SYNCHRONOUS_PAYLOAD_BYTES
from durably.engine.reports import logged
from durably.engine.rules import INVALID_RESPONSE_TYPE
from durably.errors import ApiError, error_object
from durably.server.calls import GONE
from durably.server.guards import Gate, Limits
from durably.server.runtimes import Runtime, Taken, lost

log = logging.getLogger("durably.server")

MAX_ANSWER_BYTES = MAX_SYNCHRONOUS_PAYLOAD_BYTES + 100
MAX_ASKING = 100
"""How many runtimes of one function may wait for its next invocation."""

_ERROR_TYPE_HEADER = "Lambda-Runtime-Function-Error-Type"
_PREFIX = "/2018-06-01/runtime"
_CALL = "/invocation/{request_id}"
_TOO_LARGE = 413


Handle = Callable[[Runtime, Request], Awaitable[Response]]
Take = Callable[[Runtime, Request, bytes], Response]


def runtime_app(runtimes: Mapping[int, Runtime], limits: Limits | None = None) -> Starlette:
    """Serve *runtimes*, by the ports they are served at. They may change while it is in use.

    Of the *limits* those of bodies that are arriving hold here.
    """
    gate = Gate(limits or Limits())
    return Starlette(
        routes=[
            _route("/invocation/next", "GET", runtimes, _next),
            _route(f"{_CALL}/response", "POST", runtimes, _reading(gate, _response)),
            _route(f"{_CALL}/error", "POST", runtimes, _reading(gate, _error)),
            _route("/init/error", "POST", runtimes, _reading(gate, _init_error)),
        ],
        exception_handlers={HTTPException: _unknown},
    )


def _route(path: str, method: str, runtimes: Mapping[int, Runtime], handle: Handle) -> Route:
    async def endpoint(request: Request) -> Response:
        runtime = runtimes.get(request.scope["server"][1])
        if runtime is None or _is_from_browser(request):
            return _refused(403, "InvalidStateTransition", "This port serves no function.")
        return await handle(runtime, request)

    made = Route(f"{_PREFIX}{path}", endpoint, methods=[method])
    made.methods = {method}  # HEAD is no other way to write GET: it would take an invocation
    return made


def _reading(gate: Gate, take: Take) -> Handle:
    async def handle(runtime: Runtime, request: Request) -> Response:
        try:
            seconds = runtime.settings.timeout_seconds  # beyond it, nobody waits for the answer
            body = await gate.read(request, MAX_ANSWER_BYTES, seconds)
        except ClientDisconnect:
            return Response(status_code=GONE)
        except ApiError as error:
            return _unread(runtime, request, error)
        return take(runtime, request, body)

    return handle


def _unread(runtime: Runtime, request: Request, error: ApiError) -> Response:
    """Fail the call whose answer has not been read, and hang up: no better one will come."""
    if error.status_code == _TOO_LARGE:
        kind, error_type = "RequestEntityTooLarge", "Function.ResponseSizeTooLarge"
        text = f"Response payload size exceeded maximum allowed payload size ({MAX_ANSWER_BYTES})."
    else:
        kind, error_type = error.code.removesuffix("Exception"), INVALID_RESPONSE_TYPE
        text = error.message
    request_id = request.path_params.get("request_id")
    refused = _refused(error.status_code, kind, text)
    if request_id and not runtime.answer(request_id, FunctionError(text, error_type=error_type)):
        refused = _no_such_call()
    refused.headers["Connection"] = "close"
    return refused


def _is_from_browser(request: Request) -> bool:
    """Whether a web page is behind it: no runtime sends these, nor calls us by another name."""
    host = request.headers.get("host", "").rpartition(":")[0]
    is_ours = host in ("127.0.0.1", "localhost", "[::1]")
    return not is_ours or "origin" in request.headers or "sec-fetch-site" in request.headers


async def _next(runtime: Runtime, request: Request) -> Response:
    if runtime.asking >= MAX_ASKING:
        return _refused(429, "TooManyRequests", f"{MAX_ASKING} runtimes wait already.")
    with runtime.asked():
        while await _is_still_there(request, runtime.wait_for_call()):
            taken = runtime.take()
            if taken is not None:
                return _HandOut(runtime, taken)
    return Response()  # to nobody


class _HandOut(Response):
    """Sends a call to whoever has asked for one. If that cannot be done, the call has failed.

    Nobody else would ever answer it. What fits into the buffers counts as sent.
    """

    def __init__(self, runtime: Runtime, taken: Taken) -> None:
        super().__init__(taken.body, media_type="application/json")
        self._runtime = runtime
        self._taken = taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.headers.update(self._taken.headers)
            head = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **head})
            await send(_part_of(self._taken.body))
            await send(_part_of(b""))  # comes back when the buffers are free, or the client is gone
            if await Request(scope, receive).is_disconnected():
                self._fail("its runtime is gone")
            else:
                await send({"type": "http.response.body"})
        except BaseException as error:
            self._fail(type(error).__name__)
            raise

    def _fail(self, why: str) -> None:
        self._runtime.answer(self._taken.request_id, lost(f"It could not be handed out: {why}"))


def _part_of(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _is_still_there(request: Request, waiting: Awaitable[None]) -> bool:
    """Await *waiting* for as long as the client of *request* does."""
    leaving = asyncio.ensure_future(_left(request))
    arrival = asyncio.ensure_future(waiting)
    try:
        await asyncio.wait((leaving, arrival), return_when=asyncio.FIRST_COMPLETED)
        return not leaving.done()
    finally:
        leaving.cancel()
        arrival.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _response(runtime: Runtime, request: Request, body: bytes) -> Response:
    is_known = runtime.answer(request.path_params["request_id"], body)
    return _accepted() if is_known else _no_such_call()


def _error(runtime: Runtime, request: Request, body: bytes) -> Response:
    is_known = runtime.answer(request.path_params["request_id"], _error_of(request, body))
    return _accepted() if is_known else _no_such_call()


def _init_error(runtime: Runtime, request: Request, body: bytes) -> Response:
    if runtime.is_busy:
        text = "The runtime has taken an invocation already."
        return _refused(403, "InvalidStateTransition", text)
    error = _error_of(request, body)
    said = logged(error_object(error))
    log.warning("%s could not be initialised: %s", runtime.settings.name, said)
    runtime.end_unready(error)
    return _accepted()


def _error_of(request: Request, body: bytes) -> FunctionError:
    return FunctionError.read(body, request.headers.get(_ERROR_TYPE_HEADER, "Unhandled"))


def _accepted() -> Response:
    return JSONResponse({"status": "OK"}, status_code=202)


def _no_such_call() -> Response:
    return _refused(400, "InvalidRequestID", "Invalid request ID")


async def _unknown(_: Request, error: Exception) -> Response:
    said = cast("HTTPException", error)
    refused = _refused(said.status_code, "UnknownOperation", "There is no such operation.")
    refused.headers.update(said.headers or {})
    return refused


def _refused(status: int, error_type: str, text: str) -> Response:
    return JSONResponse({"errorMessage": text, "errorType": error_type}, status_code=status)
