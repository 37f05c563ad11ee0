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
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from durably.engine.invokers import FunctionError
from durably.engine.limits import MAX_SYNCHRONOUS_PAYLOAD_BYTES
from durably.server.runtimes import Runtime, Taken, lost

log = logging.getLogger("durably.server")

MAX_ANSWER_BYTES = MAX_SYNCHRONOUS_PAYLOAD_BYTES + 100
MAX_ASKING = 100
"""How many runtimes of one function may wait for its next invocation."""

_ERROR_TYPE_HEADER = "Lambda-Runtime-Function-Error-Type"
_PREFIX = "/2018-06-01/runtime"


def runtime_app(runtimes: Mapping[int, Runtime]) -> Starlette:
    """Serve *runtimes*, by the ports they are served at. They may change while it is in use."""

    def route(path: str, method: str, handle: Handle) -> Route:
        async def endpoint(request: Request) -> Response:
            runtime = runtimes.get(request.scope["server"][1])
            if runtime is None or _is_from_browser(request):
                return _refused(403, "InvalidStateTransition", "This port serves no function.")
            return await handle(runtime, request)

        made = Route(f"{_PREFIX}{path}", endpoint, methods=[method])
        made.methods = {method}  # HEAD is no other way to write GET: it would take an invocation
        return made

    return Starlette(
        routes=[
            route("/invocation/next", "GET", _next),
            route("/invocation/{request_id}/response", "POST", _response),
            route("/invocation/{request_id}/error", "POST", _error),
            route("/init/error", "POST", _init_error),
        ],
        exception_handlers={HTTPException: _unknown},
    )


Handle = Callable[[Runtime, Request], Awaitable[Response]]


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

    Nobody else would ever answer it.
    """

    def __init__(self, runtime: Runtime, taken: Taken) -> None:
        super().__init__(taken.body, media_type="application/json")
        self._runtime = runtime
        self._taken = taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.headers.update(self._taken.headers)
            await super().__call__(scope, receive, send)
        except BaseException as error:
            text = f"It could not be handed out: {type(error).__name__}"
            self._runtime.answer(self._taken.request_id, lost(text))
            raise


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


async def _response(runtime: Runtime, request: Request) -> Response:
    request_id = request.path_params["request_id"]
    body = await _body_of(request)
    if body is None:
        text = f"Response payload size exceeded maximum allowed payload size ({MAX_ANSWER_BYTES})."
        too_large = FunctionError(text, error_type="Function.ResponseSizeTooLarge")
        if not runtime.answer(request_id, too_large):
            return _no_such_call()
        return _refused(413, "RequestEntityTooLarge", text)
    return _accepted() if runtime.answer(request_id, body) else _no_such_call()


async def _error(runtime: Runtime, request: Request) -> Response:
    error = await _error_of(request)
    is_known = runtime.answer(request.path_params["request_id"], error)
    return _accepted() if is_known else _no_such_call()


async def _init_error(runtime: Runtime, request: Request) -> Response:
    if runtime.is_busy:
        text = "The runtime has taken an invocation already."
        return _refused(403, "InvalidStateTransition", text)
    error = await _error_of(request)
    extra = {"function": runtime.settings.name, "error": error.error_type}
    log.warning("a function could not be initialised", extra=extra)
    runtime.end(error, with_waiting=True)
    return _accepted()


async def _error_of(request: Request) -> FunctionError:
    said_type = request.headers.get(_ERROR_TYPE_HEADER, "Unhandled")
    body = await _body_of(request)
    return FunctionError.read(body or b"{}", said_type)


async def _body_of(request: Request) -> bytes | None:
    """Read the body, or what is too much of it away."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= MAX_ANSWER_BYTES:
            chunks.append(chunk)
    return b"".join(chunks) if size <= MAX_ANSWER_BYTES else None


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
