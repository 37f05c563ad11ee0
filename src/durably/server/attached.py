"""Which functions a server has, and how each of them is reached."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from durably.engine.arns import LATEST, Home
from durably.engine.invokers import Call, FunctionError, RemoteFunction
from durably.errors import TooManyRequestsException, ValidationError
from durably.handler import DurableFunction
from durably.seams import IdSource, RandomIds
from durably.server.errors import not_begun
from durably.server.functions import FunctionCall, FunctionInfo, FunctionReply, info_of

log = logging.getLogger("durably.server")

DEFAULT_FUNCTION_SECONDS = 900
DEFAULT_MEMORY_MB = 128
MAX_FUNCTION_SECONDS = 366 * 24 * 60 * 60
MAX_POSTED = 1000
"""How many posted calls of one function may be under way, or wait for it."""

MAX_POSTED_BYTES = 256 * 1024 * 1024
"""What the payloads of all posted calls may take; those of one function no more than is left."""

_UNHANDLED = "Unhandled"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """What holds for one function that does not run in this process.

    Attributes:
        name: what it is called by.
        is_durable: whether it speaks the protocol. A plain one is called once, with its input.
        timeout_seconds: how long one invocation of it may take: more than 0, at most 366 days.
        memory_mb: what it is told that it may use. Nothing holds it to that.
        handler: what its process runs, or its address, for people to read.

    Raises:
        ValidationError: the time is not a legal one.
    """

    name: str
    is_durable: bool = True
    timeout_seconds: float = DEFAULT_FUNCTION_SECONDS
    memory_mb: int = DEFAULT_MEMORY_MB
    handler: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.timeout_seconds <= MAX_FUNCTION_SECONDS:
            raise ValidationError("timeout", "must be more than 0 seconds, and at most 366 days")


class AttachedFunction(RemoteFunction, Protocol):
    """A function that does not run in this process."""

    @property
    def settings(self) -> FunctionSettings:
        """What holds for it."""
        ...


class Attached:
    """The functions of one server, as the API knows them.

    Args:
        here: those that run in this process, by name. They change when files are loaded anew.
        elsewhere: those behind an address, or in a process of their own.
        home: where they are said to live.
        ids: where the ids of calls come from.
    """

    def __init__(
        self,
        here: Mapping[str, DurableFunction],
        elsewhere: Sequence[AttachedFunction],
        home: Home,
        ids: IdSource | None = None,
    ) -> None:
        self._here = here
        self._home = home
        self._ids = ids or RandomIds()
        self._posted: dict[asyncio.Task[None], FunctionCall] = {}
        self._calls: set[asyncio.Task[bytes]] = set()
        self._taken: set[asyncio.Task[bytes]] = set()
        self._is_closed = False
        self.elsewhere = MappingProxyType({one.settings.name: one for one in elsewhere})

    def known(self) -> Sequence[FunctionInfo]:
        """Give all of them, by name."""
        found = (self.find(name, None) for name in sorted({*self._here, *self.elsewhere}))
        return [info for info in found if info is not None]

    def find(self, name: str, qualifier: str | None) -> FunctionInfo | None:
        """Give the function of that name. There is one version."""
        if qualifier not in (None, LATEST):
            return None
        remote = self.elsewhere.get(name)
        if remote is not None:
            return _info_of(remote.settings)
        function = self._here.get(name)
        return None if function is None else info_of(function)

    async def call(self, call: FunctionCall) -> FunctionReply:
        """Call a function that is not durable, and wait for its answer.

        Raises:
            ServiceException: no more calls are made.
            CancelledError: it was given up, by `close` or by whoever waits.
        """
        self._check_open()
        function = self.elsewhere[call.function.name]

        def payload() -> bytes:
            self._taken.add(calling)
            call.on_taken()
            return call.payload or b"null"

        asked = Call(
            request_id=str(self._ids.uuid4()),
            function_arn=self._home.function_arn(call.function.name, call.function.version),
            payload=payload,
            tenant_id=call.tenant_id,
            trace_id=call.trace_id,
        )
        calling = asyncio.create_task(function.call(asked), name=f"durably {call.function.name}")
        self._calls.add(calling)
        try:
            return FunctionReply(payload=await calling)
        except FunctionError as error:
            return FunctionReply(payload=error.payload, error=_UNHANDLED)
        finally:
            self._calls.discard(calling)
            self._taken.discard(calling)

    async def post(self, call: FunctionCall) -> None:
        """Take a call of a function that is not durable, and make it soon, once.

        Nothing records it: it is lost with this process, and when it fails.

        Raises:
            TooManyRequestsException: too many are posted already.
            ServiceException: no more calls are made.
        """
        self._check_open()
        posted = self._posted.values()
        its_own = [one for one in posted if one.function.name == call.function.name]
        left = MAX_POSTED_BYTES - sum(len(one.payload) for one in posted)
        size = sum(len(one.payload) for one in (*its_own, call))
        if len(its_own) >= MAX_POSTED or size > left:
            raise TooManyRequestsException("Too many calls are posted. Ask again later.")
        task = asyncio.create_task(self._make(call), name=f"durably {call.function.name}")
        self._posted[task] = call
        task.add_done_callback(self._posted.pop)

    async def _make(self, call: FunctionCall) -> None:
        reply = await self.call(call)
        if reply.error is not None:
            log.warning("a posted call failed", extra={"function": call.function.name})

    def _check_open(self) -> None:
        if self._is_closed:
            raise not_begun()

    @property
    def running(self) -> int:
        """How many calls functions that are not durable work on now."""
        return len(self._taken)

    async def wait_for_running(self, seconds: float) -> None:
        """Wait until what they work on now has been answered, but no longer than that."""
        if self._taken:
            await asyncio.wait(self._taken, timeout=seconds)

    async def close(self) -> None:
        """Make no more calls, and give up those under way."""
        self._is_closed = True
        under_way: tuple[asyncio.Task[Any], ...] = (*self._posted, *self._calls)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _info_of(settings: FunctionSettings) -> FunctionInfo:
    return FunctionInfo(
        name=settings.name,
        is_durable=settings.is_durable,
        handler=settings.handler,
        timeout_seconds=round(settings.timeout_seconds) or 1,
        memory_mb=settings.memory_mb,
    )
