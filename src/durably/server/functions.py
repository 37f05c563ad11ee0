"""Functions, as the API tells of them and calls them."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from durably.app.assembly import Assembly
from durably.app.engine import Engine
from durably.engine.arns import LATEST
from durably.errors import ServiceException
from durably.handler import DurableFunction

_MAX_DESCRIPTION = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionInfo:
    """A function. What is `None` is not known, and not told.

    Attributes:
        is_durable: it is run by executions; any other is only called.
        timeout_seconds: how long one call of it may take.
        memory_mb: what it is said to have.
    """

    name: str
    version: str = LATEST
    is_durable: bool = True
    runtime: str | None = None
    handler: str | None = None
    description: str | None = None
    timeout_seconds: int | None = None
    memory_mb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall:
    """One call of a function that is not durable.

    Attributes:
        payload: what it is called with: JSON, or nothing.
        client_context: the header of that name, as it came.
        on_taken: told when whoever runs the function is given the call. From then on it is made
            whatever becomes of the caller; before, it may be given up by cancelling it.
    """

    function: FunctionInfo
    payload: bytes
    tenant_id: str | None = None
    trace_id: str | None = None
    client_context: str | None = None
    on_taken: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionReply:
    """What a function answered.

    Attributes:
        error: how it failed, in the words of Lambda: `Unhandled` when it raised or broke. The
            payload then tells of the error.
    """

    payload: bytes
    error: str | None = None


class Functions(Protocol):
    """The functions that the API knows. Where they are is configured, never asked for."""

    def known(self) -> Sequence[FunctionInfo]:
        """Give all of them, by name."""
        ...

    def find(self, name: str, qualifier: str | None) -> FunctionInfo | None:
        """Give the function of that name and version, alias or none; `None`: there is none."""
        ...

    async def call(self, call: FunctionCall) -> FunctionReply:
        """Call a function that is not durable, and wait for its answer."""
        ...

    async def post(self, call: FunctionCall) -> None:
        """Take a call of a function that is not durable, to be made soon."""
        ...


class EngineFunctions:
    """The functions that are registered with an engine. All of them are durable."""

    def __init__(self, engine: Engine | Assembly) -> None:
        self._functions = engine.functions

    def known(self) -> Sequence[FunctionInfo]:
        """Give all of them, by name."""
        return [info_of(self._functions[name]) for name in sorted(self._functions)]

    def find(self, name: str, qualifier: str | None) -> FunctionInfo | None:
        """Give the function of that name. There is one version."""
        function = self._functions.get(name)
        if function is None or qualifier not in (None, LATEST):
            return None
        return info_of(function)

    async def call(self, call: FunctionCall) -> FunctionReply:
        """Refuse: what is registered here is durable."""
        raise ServiceException(f"{call.function.name} is run by executions only.")

    async def post(self, call: FunctionCall) -> None:
        """Refuse: what is registered here is durable."""
        raise ServiceException(f"{call.function.name} is run by executions only.")


def info_of(function: DurableFunction) -> FunctionInfo:
    """Say what is known of a function of this process."""
    handler = function.handler
    doc = inspect.getdoc(handler)
    return FunctionInfo(
        name=function.name,
        runtime="python" + ".".join(platform.python_version_tuple()[:2]),
        handler=f"{handler.__module__}.{handler.__qualname__}",
        description=None if doc is None else doc.partition("\n")[0][:_MAX_DESCRIPTION],
    )
