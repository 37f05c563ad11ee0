"""SyncTestEngine: durable functions in a test without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from durably.app.engine import NO_INPUT
from durably.errors import InvalidStateError
from durably.handler import DurableFunction
from durably.testing.acting import Acting
from durably.testing.clock import VirtualClock
from durably.testing.crashes import CrashMode, CrashReport
from durably.testing.engine import TestEngine
from durably.testing.errors import FAILURES, hides_frames
from durably.testing.runs import TestRun

if TYPE_CHECKING:
    from types import TracebackType

    from durably.wire.operation import ErrorObject

T = TypeVar("T")
__tracebackhide__ = hides_frames


class SyncTestEngine(Acting):
    """A `TestEngine` whose methods block: `with SyncTestEngine(functions=[fulfil]) as t:`.

    It has an event loop of its own, which runs in the thread of the test and only while one of
    these methods does.

    Args:
        functions: see `TestEngine`, as for all others.
        clock: what time it is.
        replay: whether histories are replayed.
    """

    __test__ = False

    def __init__(
        self,
        functions: Iterable[DurableFunction] = (),
        *,
        clock: VirtualClock | None = None,
        replay: bool | None = None,
    ) -> None:
        self._engine = TestEngine(functions, clock=clock, replay=replay)
        self.fakes = self._engine.fakes
        self._runner: asyncio.Runner | None = None

    def __enter__(self) -> Self:
        """Open the engine.

        Raises:
            InvalidStateError: an event loop runs here: use `TestEngine` in it.
        """
        if _is_in_loop():
            raise InvalidStateError(
                "an event loop runs here: write `async with TestEngine(…) as t:`"
            )
        self._runner = asyncio.Runner()
        self._wait(self._engine.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut off what still runs, and close the engine and its event loop."""
        __tracebackhide__ = True
        try:
            self._wait(self._engine.__aexit__(kind, error, traceback))
        finally:
            runner, self._runner = self._runner, None
            if runner is not None:
                runner.close()

    @property
    def clock(self) -> VirtualClock:
        """The time of the executions."""
        return self._engine.clock

    def run(
        self,
        function: DurableFunction | str,
        input: object = NO_INPUT,  # noqa: A002 - it is the word for it
        *,
        name: str | None = None,
        execution_timeout: timedelta | float | None = None,
    ) -> TestRun:
        """Start an execution and drive it to its end; see `TestEngine.run`."""
        return self._wait(
            self._engine.run(function, input, name=name, execution_timeout=execution_timeout)
        )

    def start(
        self,
        function: DurableFunction | str,
        input: object = NO_INPUT,  # noqa: A002 - it is the word for it
        *,
        name: str | None = None,
        execution_timeout: timedelta | float | None = None,
    ) -> TestRun:
        """Start an execution; see `TestEngine.start`."""
        return self._wait(
            self._engine.start(function, input, name=name, execution_timeout=execution_timeout)
        )

    def finish(self, run: TestRun) -> None:
        """Drive *run* to its end; see `TestEngine.finish`."""
        self._wait(self._engine.finish(run))

    def run_until_suspended(self) -> None:
        """Drive all executions without time passing; see `TestEngine.run_until_suspended`."""
        self._wait(self._engine.run_until_suspended())

    def run_until(self, predicate: Callable[[], bool]) -> None:
        """Drive all executions until *predicate* holds; see `TestEngine.run_until`."""
        self._wait(self._engine.run_until(predicate))

    def advance(self, duration: timedelta | float) -> None:
        """Let *duration* pass; see `TestEngine.advance`."""
        self._wait(self._engine.advance(duration))

    def crash_everywhere(
        self,
        function: DurableFunction | str,
        input: object = NO_INPUT,  # noqa: A002 - it is the word for it
        *,
        mode: CrashMode | str | None = None,
        orders: bool = True,
        only: str | None = None,
        reset: Callable[[], object] | None = None,
    ) -> CrashReport:
        """Run a function with a crash at every point; see `TestEngine.crash_everywhere`."""
        return self._wait(
            self._engine.crash_everywhere(
                function, input, mode=mode, orders=orders, only=only, reset=reset
            )
        )

    def callback_succeed(self, callback_id: str, payload: object = None) -> None:
        """Answer a callback; see `Engine.callback_succeed`."""
        self._wait(self._engine.callback_succeed(callback_id, payload))

    def callback_fail(self, callback_id: str, error: ErrorObject | Exception | str) -> None:
        """Report a failure to a callback; see `Engine.callback_fail`."""
        self._wait(self._engine.callback_fail(callback_id, error))

    def callback_heartbeat(self, callback_id: str) -> None:
        """Say that whoever is to answer is alive; see `Engine.callback_heartbeat`."""
        self._wait(self._engine.callback_heartbeat(callback_id))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._runner is None:
            work.close()
            raise InvalidStateError("the engine is not open: write `with SyncTestEngine(…) as t:`")
        try:
            return self._runner.run(work)
        except FAILURES as error:
            raise error.with_traceback(None)  # noqa: B904 - the same error, without the loop's frames


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
