"""Functions whose runtimes ask for their next invocation: which calls wait, and who has which."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from durably.clock import Clock
from durably.engine.invokers import Call, FunctionError
from durably.engine.rules import EXIT_ERROR, TIMED_OUT_TYPE
from durably.server.attached import FunctionSettings


@dataclass(eq=False, slots=True)
class _Pending:
    """A call on its way: waiting for a runtime, or with one.

    Attributes:
        taken: done when a runtime has it.
        answer: done when there is one, or nobody waits for it any more.
    """

    call: Call
    taken: asyncio.Future[None]
    answer: asyncio.Future[bytes]


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
        init_error: why one could not come up, as long as none has asked since.
    """

    settings: FunctionSettings
    clock: Clock
    on_timeout: Callable[[], None] = lambda: None
    on_change: Callable[[], None] = lambda: None
    asking: int = 0
    has_asked: bool = False
    has_handed_out: bool = False
    init_error: FunctionError | None = None
    _room_listeners: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
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

    def on_room(self, listener: Callable[[], None], /) -> None:
        """See `RemoteFunction`."""
        self._room_listeners.append(listener)

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
            if not pending.taken.done():  # given up, or failed, before a runtime has asked for it
                with suppress(ValueError):
                    self._waiting.remove(pending)
            self._taken.pop(call.request_id, None)
            self._idle.set()
            self.on_change()

    def begin(self) -> None:
        """Note that a new process is on its way."""
        self.has_asked = self.has_handed_out = False
        self.init_error = None

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
        """Wait until there is a call to take. Whoever could make one is told if there is none."""
        self.has_asked = True
        self.init_error = None
        while self._is_paused or not self.has_calls:
            self._arrived.clear()
            for listener in self._room_listeners:
                listener()
            await self._arrived.wait()

    @property
    def has_calls(self) -> bool:
        """Whether a call waits for a runtime. Those that nobody wants any more are dropped."""
        while self._waiting and self._waiting[0].answer.done():
            self._waiting.popleft()
        return bool(self._waiting)

    def take(self) -> Taken | None:
        """Give the next call, `None` when there is none."""
        while not self._is_paused and self.has_calls:
            pending = self._waiting.popleft()
            body = _body_of(pending)
            if body is not None:
                return self._hand_out(pending, body)
        return None

    def _hand_out(self, pending: _Pending, body: bytes) -> Taken:
        self.has_handed_out = True
        self.init_error = None
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
        return Taken(call.request_id, body, headers)

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

    def end_unready(self, error: FunctionError) -> None:
        """Take why a runtime cannot come up: what waits for one fails with that.

        So does what comes before the process has ended.
        """
        self.init_error = error
        self.end(error, with_waiting=True)

    def end(self, error: FunctionError, *, with_waiting: bool) -> None:
        """Fail what runtimes work on, and with that what waits for one if none comes up."""
        for request_id in tuple(self._taken):
            self.answer(request_id, error)
        while with_waiting and self._waiting:
            pending = self._waiting.popleft()
            if not pending.answer.done():
                pending.answer.set_exception(error)


def _body_of(pending: _Pending) -> bytes | None:
    """Give what a runtime is sent. `None`: nothing, and whoever waits for the answer is told."""
    try:
        body = pending.call.payload()
    except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets it
        pending.answer.set_exception(error)
        return None
    if body is None:
        pending.answer.set_exception(lost(EXIT_ERROR[1]))
    return body


def timed_out(seconds: float) -> FunctionError:
    """Give what stands for the answer of a function that took too long."""
    return FunctionError(f"Task timed out after {seconds:.2f} seconds", error_type=TIMED_OUT_TYPE)


def lost(message: str) -> FunctionError:
    """Give what stands for the answer of a function whose process ended."""
    return FunctionError(message, error_type=EXIT_ERROR[0])
