"""The Lambda Runtime API: functions that ask for their next invocation, in any language.

A runtime client takes no more than a host and a port, so each function has a port of its own, and
the port a request comes in by says which function it is for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from durably.clock import Clock
from durably.engine.invokers import Call, FunctionError
from durably.engine.limits import MAX_SYNCHRONOUS_PAYLOAD_BYTES
from durably.engine.rules import EXIT_ERROR, TIMED_OUT_TYPE
from durably.server.attached import FunctionSettings

log = logging.getLogger("durably.server")

MAX_ANSWER_BYTES = MAX_SYNCHRONOUS_PAYLOAD_BYTES + 100
MAX_ASKING = 100
"""How many runtimes of one function may wait for its next invocation."""

_ERROR_TYPE_HEADER = "Lambda-Runtime-Function-Error-Type"
_PREFIX = "/2018-06-01/runtime"


@dataclass(eq=False, slots=True)
class _Pending:
    """A call on its way: waiting for a runtime, or with one.

    Attributes:
        body: what the runtime is sent.
        taken: done when a runtime has it.
        answer: done when there is one, or nobody waits for it any more.
    """

    call: Call
    taken: asyncio.Future[None]
    answer: asyncio.Future[bytes]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Taken:
    """A call as its runtime is sent it."""

    request_id: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(eq=False, slots=True)
class Runtime:
    """A function behind the Runtime API.

    Any number of runtimes may ask for its invocations; each invocation goes to one of them.

    Attributes:
        settings: what holds for the function.
        clock: where the deadlines that it is told come from.
        on_timeout: told when it has not answered in time, to have its process ended.
        on_change: told when `is_present` may have changed.
        asking: how many runtimes wait for a call.
        has_asked: whether a runtime has asked for an invocation since `begin`.
        has_handed_out: whether one was given one since then.
    """

    settings: FunctionSettings
    clock: Clock
    on_timeout: Callable[[], None] = lambda: None
    on_change: Callable[[], None] = lambda: None
    asking: int = 0
    has_asked: bool = False
    has_handed_out: bool = False
    _waiting: deque[_Pending] = field(default_factory=deque["_Pending"])
    _taken: dict[str, _Pending] = field(default_factory=dict[str, "_Pending"])
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _is_paused: bool = False

    @property
    def is_durable(self) -> bool:
        """See `RemoteFunction`."""
        return self.settings.is_durable

    @property
    def capacity(self) -> int:
        """See `RemoteFunction`. One call may wait for a process that is still to come up."""
        return max(self.asking + len(self._taken), 1)

    @property
    def is_busy(self) -> bool:
        """Whether a runtime works on a call."""
        return bool(self._taken)

    @property
    def is_present(self) -> bool:
        """Whether a runtime waits for a call, or works on one."""
        return self.asking > 0 or self.is_busy

    async def call(self, call: Call) -> bytes:
        """Have a runtime answer *call*. Its time runs from when one has taken it.

        Raises:
            FunctionError: it failed, ended or took too long.
        """
        loop = asyncio.get_running_loop()
        pending = _Pending(call, loop.create_future(), loop.create_future())
        self._waiting.append(pending)
        self._arrived.set()
        try:
            await asyncio.wait((pending.taken, pending.answer), return_when="FIRST_COMPLETED")
            async with asyncio.timeout(self.settings.timeout_seconds):
                return await pending.answer
        except TimeoutError:
            self.on_timeout()
            raise timed_out(self.settings.timeout_seconds) from None
        finally:
            pending.answer.cancel()
            self._taken.pop(call.request_id, None)
            self._idle.set()
            self.on_change()

    def begin(self) -> None:
        """Note that a new process is on its way."""
        self.has_asked = self.has_handed_out = False

    @contextmanager
    def paused(self) -> Generator[None]:
        """Hand nothing out meanwhile."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False
            self._arrived.set()

    async def wait_until_idle(self) -> None:
        """Wait until no runtime works on a call."""
        while self._taken:
            self._idle.clear()
            await self._idle.wait()

    @contextmanager
    def asked(self) -> Generator[None]:
        """Count a runtime among those that wait for a call."""
        self.asking += 1
        self.on_change()
        try:
            yield
        finally:
            self.asking -= 1
            self.on_change()

    async def wait_for_call(self) -> None:
        """Wait until there is a call to take."""
        self.has_asked = True
        while self._is_paused or not self.has_calls:
            self._arrived.clear()
            await self._arrived.wait()

    @property
    def has_calls(self) -> bool:
        """Whether a call waits for a runtime. Those that nobody wants any more are dropped."""
        while self._waiting:
            pending = self._waiting[0]
            if not pending.answer.done():
                try:
                    body = pending.call.payload()
                except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets it
                    pending.answer.set_exception(error)
                    continue
                if body is not None:
                    pending.body = body
                    return True
                pending.answer.set_exception(lost(EXIT_ERROR[1]))
            self._waiting.popleft()
        return False

    def take(self) -> Taken | None:
        """Give the next call, `None` when there is none."""
        if self._is_paused or not self.has_calls:
            return None
        self.has_handed_out = True
        pending = self._waiting.popleft()
        call = pending.call
        self._taken[call.request_id] = pending
        pending.taken.set_result(None)
        deadline = self.clock.now() + timedelta(seconds=self.settings.timeout_seconds)
        headers = {
            "Lambda-Runtime-Aws-Request-Id": call.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline.timestamp() * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": call.function_arn,
        }
        if call.trace_id is not None:
            headers["Lambda-Runtime-Trace-Id"] = call.trace_id
        if call.tenant_id is not None:
            headers["Lambda-Runtime-Aws-Tenant-Id"] = call.tenant_id
        return Taken(call.request_id, pending.body, headers)

    def answer(self, request_id: str, answer: bytes | FunctionError) -> bool:
        """Take what a runtime says of a call. `False`: it has no such call, and nothing changed."""
        pending = self._taken.pop(request_id, None)
        self.on_change()
        if pending is None or pending.answer.done():
            return False
        if isinstance(answer, bytes):
            pending.answer.set_result(answer)
        else:
            pending.answer.set_exception(answer)
        return True

    def end(self, error: FunctionError, *, with_waiting: bool) -> None:
        """Fail what runtimes work on, and with that what waits for one if none comes up."""
        for request_id in tuple(self._taken):
            self.answer(request_id, error)
        while with_waiting and self._waiting:
            pending = self._waiting.popleft()
            if not pending.answer.done():
                pending.answer.set_exception(error)


def timed_out(seconds: float) -> FunctionError:
    """Give what stands for the answer of a function that took too long."""
    return FunctionError(f"Task timed out after {seconds:.2f} seconds", error_type=TIMED_OUT_TYPE)


def lost(message: str) -> FunctionError:
    """Give what stands for the answer of a function whose process ended."""
    return FunctionError(message, error_type=EXIT_ERROR[0])


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
