"""The ASGI application: the API of AWS Lambda's durable functions, over an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

try:
    from starlette.datastructures import MutableHeaders
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route as StarletteRoute
    from starlette.routing import Router
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ModuleNotFoundError as missing:
    needed = "durably.server needs `pip install 'durably[server]'`, or '.[server]' in a clone"
    raise ModuleNotFoundError(needed, name=missing.name) from missing

from durably.app.assembly import Assembly
from durably.app.engine import Engine
from durably.errors import ApiError, ServiceException
from durably.seams import RandomIds
from durably.server.access import Access
from durably.server.auth import Authenticator, Caller
from durably.server.calls import GONE, Call, Query
from durably.server.errors import (
    api_error_of,
    cut_off,
    not_begun,
    refusal,
    reply_headers,
    unknown_operation,
)
from durably.server.functions import EngineFunctions, Functions
from durably.server.guards import Gate, Limits, Rates, check_head, check_media
from durably.server.routes import METRICS, ROUTES, Body, Route


def make_app(
    engine: Engine | Assembly,
    *,
    functions: Functions | None = None,
    access: Access | None = None,
    limits: Limits | None = None,
) -> ASGIApp:
    """Make the API of *engine*, to be served by uvicorn or mounted in a program of your own.

    Args:
        engine: whose executions. It must be open, in the event loop that serves the application,
            before the first request comes.
        functions: those that can be found and invoked; by default, the engine's own.
        access: who may use it; by default, this machine without credentials.
        limits: how much of it may be used at once.
    """
    return _Application(
        engine,
        functions or EngineFunctions(engine),
        access or Access(),
        limits or Limits(),
        ROUTES,
    )


def make_metrics_app(engine: Engine | Assembly, access: Access) -> ASGIApp:
    """Make what tells of *engine* as `make_app` does, but its metrics and nothing else."""
    return _Application(engine, EngineFunctions(engine), access, Limits(), (METRICS,))


class _Application:
    """Reads requests, has them answered, and lets nothing out that has not the service's shape."""

    def __init__(
        self,
        engine: Engine | Assembly,
        functions: Functions,
        access: Access,
        limits: Limits,
        routes: Sequence[Route],
    ) -> None:
        self._engine = engine
        self._functions = functions
        self._access = access
        self._authenticator = Authenticator(access)
        self._gate = Gate(limits)
        self._rates = Rates(limits)
        self._ids = RandomIds()
        self._router = Router(
            [
                StarletteRoute(route.path, partial(self._answer, route), methods=[route.method])
                for route in routes
            ],
            redirect_slashes=False,
            default=_refuse_unknown,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _refuse_other(scope, send)
            return
        send = self._with_headers(scope, send)
        # A router that reads the decoded path would take an encoded slash for a real one. With an
        # application in its scope, it raises what is to be said of a wrong method.
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        inner = {**scope, "path": raw.decode("latin-1"), "app": self}
        try:
            check_head(scope, self._access, self._gate.limits)
            await self._router(inner, receive, send)
        except HTTPException as error:
            response = _unread(unknown_operation(error.status_code))
            response.headers.update(error.headers or {})
            await response(scope, receive, send)
        except ApiError as error:
            await _unread(error)(scope, receive, send)

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        is_secure = self._access.is_behind_proxy or scope["scheme"] == "https"

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(reply_headers(self._ids, is_secure=is_secure))
            await send(message)

        return sending

    async def _answer(self, route: Route, request: Request) -> Response:
        is_read = False
        try:
            caller, body = await self._read(route, request)
            is_read = True
            self._rates.count(caller, self._engine.service.clock.monotonic())
            call = self._call(request, caller, body)
            waits_for = None if route.waits_for is None else route.waits_for(call)
            # Not before: whoever sends his body slowly must not keep others out.
            with self._gate.passed(body, waits_for):
                return await route.answer(call)
        except ClientDisconnect:
            return Response(status_code=GONE)
        except asyncio.CancelledError:  # the server ends, and waits for requests no longer
            return _unread(_interrupted(route, is_read=is_read))
        except Exception as error:  # noqa: BLE001 - the last line: the caller must get an answer
            said = api_error_of(error)
            return refusal(said) if is_read else _unread(said)

    async def _read(self, route: Route, request: Request) -> tuple[Caller | None, bytes]:
        """Say who makes a request that is allowed what it asks for, and read its body."""
        headers = request.headers
        now = self._engine.service.clock.now()
        caller = self._authenticator.identify(headers, route.permission, now)
        check_media(headers, is_json=route.body is Body.JSON)
        body = await self._gate.read(request, route.max_bytes)
        self._authenticator.verify(caller, request.scope, headers, body)
        return caller, body

    def _call(self, request: Request, caller: Caller | None, body: bytes) -> Call:
        return Call(
            service=self._engine.service,
            functions=self._functions,
            caller=caller,
            labels=request.path_params,
            query=Query(request.scope["query_string"]),
            headers=request.headers,
            body=body,
            gone=partial(_gone, request.receive),
        )


def _interrupted(route: Route, *, is_read: bool) -> ApiError:
    """Say that the server has ended meanwhile. Only what may have called a function is not safe."""
    if not is_read:
        return not_begun()
    if route.waits_for is not None:
        return cut_off()
    return ServiceException("The server ends before it could answer. Ask again when it is back.")


def _unread(error: ApiError) -> Response:
    """Refuse a request without having read it to its end: nothing may follow it."""
    return refusal(error, {"Connection": "close"})


async def _refuse_unknown(scope: Scope, receive: Receive, send: Send) -> None:
    await _unread(unknown_operation())(scope, receive, send)


async def _refuse_other(scope: Scope, send: Send) -> None:
    """Refuse what is not HTTP: there is no lifespan here, and there are no web sockets."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})


async def _gone(receive: Receive) -> None:
    message: Mapping[str, Any] = {}
    while message.get("type") != "http.disconnect":
        message = await receive()
