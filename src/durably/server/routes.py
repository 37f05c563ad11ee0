"""Every operation of the API: where it is, and what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from starlette.responses import Response

from durably.engine.limits import MAX_PAYLOAD_BYTES, MAX_SYNCHRONOUS_PAYLOAD_BYTES
from durably.server import routes_executions, routes_functions, routes_metrics, routes_sdk
from durably.server.access import Permission
from durably.server.calls import Call
from durably.server.invoke import invoke, invoked

Answer: TypeAlias = Callable[[Call], Awaitable[Response]]


class Body(StrEnum):
    """What a request carries."""

    NONE = "none"
    JSON = "json"
    BYTES = "bytes"


_MIB = 1024 * 1024
_MAX_CHECKPOINT_BYTES = 16 * _MIB
"""The largest result, and half as much again twice over for escaping it and what is around it."""

_MAX_ERROR_BYTES = 8 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation.

    Attributes:
        permission: what its caller must be allowed to do.
        waits_for: gives the function, if any, that it waits for, for as long as that takes.
    """

    method: str
    path: str
    answer: Answer
    permission: Permission
    body: Body = Body.NONE
    max_bytes: int = 0
    waits_for: Callable[[Call], str | None] | None = None


_EXECUTION = "/2025-12-01/durable-executions/{DurableExecutionArn}"
_CALLBACK = "/2025-12-01/durable-execution-callbacks/{CallbackId}"
_LISTING = "/2025-12-01/functions/{FunctionName}/durable-executions"
_FUNCTIONS = "/2015-03-31/functions"
_FUNCTION = _FUNCTIONS + "/{FunctionName}"


def _read(path: str, answer: Answer, permission: Permission = Permission.READ) -> Route:
    return Route(method="GET", path=path, answer=answer, permission=permission)


def _post(path: str, answer: Answer, permission: Permission, max_bytes: int) -> Route:
    return Route(
        method="POST",
        path=path,
        answer=answer,
        permission=permission,
        body=Body.JSON,
        max_bytes=max_bytes,
    )


METRICS = _read("/metrics", routes_metrics.metrics, Permission.METRICS)

ROUTES = (
    _post(
        _EXECUTION + "/checkpoint",
        routes_sdk.checkpoint,
        Permission.CHECKPOINT,
        _MAX_CHECKPOINT_BYTES,
    ),
    _read(_EXECUTION + "/state", routes_sdk.state, Permission.CHECKPOINT),
    _read(_EXECUTION, routes_executions.get),
    _read(_EXECUTION + "/history", routes_executions.history),
    _read(_LISTING, routes_executions.list_by_function),
    _post(_EXECUTION + "/stop", routes_executions.stop, Permission.STOP, _MAX_ERROR_BYTES),
    _post(_EXECUTION + "/pause", routes_executions.pause, Permission.STOP, _MIB),
    _post(_EXECUTION + "/resume", routes_executions.resume, Permission.STOP, _MIB),
    Route(
        method="DELETE",
        path=_EXECUTION,
        answer=routes_executions.delete,
        permission=Permission.DELETE,
    ),
    Route(
        method="POST",
        path=_CALLBACK + "/succeed",
        answer=routes_sdk.callback_succeed,
        permission=Permission.CALLBACK,
        body=Body.BYTES,
        max_bytes=MAX_PAYLOAD_BYTES,
    ),
    _post(_CALLBACK + "/fail", routes_sdk.callback_fail, Permission.CALLBACK, _MAX_ERROR_BYTES),
    _post(_CALLBACK + "/heartbeat", routes_sdk.callback_heartbeat, Permission.CALLBACK, _MIB),
    Route(
        method="POST",
        path=_FUNCTION + "/invocations",
        answer=invoke,
        permission=Permission.START,
        body=Body.BYTES,
        max_bytes=MAX_SYNCHRONOUS_PAYLOAD_BYTES,
        waits_for=invoked,
    ),
    _read(_FUNCTIONS, routes_functions.list_functions),
    _read(_FUNCTION, routes_functions.get_function),
    _read(_FUNCTION + "/configuration", routes_functions.get_configuration),
    METRICS,
)
