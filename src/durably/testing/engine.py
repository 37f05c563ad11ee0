"""TestEngine: durable functions in a test, in its event loop and on a clock that skips waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Self

from durably.app.engine import NO_INPUT, Engine
from durably.app.settings import functions_by_name
from durably.errors import InvalidStateError, ResourceNotFoundException
from durably.handler import DurableFunction
from durably.limits import as_timedelta
from durably.testing.acting import Acting
from durably.testing.clock import VirtualClock
from durably.testing.collected import is_wanted
from durably.testing.costs import COLLECTED, RunCost
from durably.testing.crashes import Crashes, CrashMode, CrashReport, mode_of
from durably.testing.errors import UnmetFakeError, hides_frames
from durably.testing.fakes import Fakes
from durably.testing.produced import REPLAY_VARIABLE, Produced
from durably.testing.runs import TestRun
from durably.testing.stage import Stage
from durably.testing.store import TestStore

if TYPE_CHECKING:
    from types import TracebackType

    from durably.wire.operation import ErrorObject

__tracebackhide__ = hides_frames


class TestEngine(Acting):
    """Runs durable functions in the event loop of a test, skipping the time that they sleep.

    `async with TestEngine(functions=[fulfil]) as t: run = await t.run(fulfil, order)`. It is the
    real engine, on a store in memory. Only durable time is virtual: waits, retries, time-outs.
    What your own code waits for is real. It leaves no task, thread or file behind.

    Args:
        functions: the durable functions that may be started, by others of them too.
        clock: what time it is; by default it begins with the year 2026.
        replay: whether the block ends with a replay of every history that it has produced, from
            every state, against its function. By default if the environment has DURABLY_REPLAY.
    """

    __test__ = False

    def __init__(
        self,
        functions: Iterable[DurableFunction] = (),
        *,
        clock: VirtualClock | None = None,
        replay: bool | None = None,
    ) -> None:
        self._functions = tuple(functions_by_name(functions).values())
        self.fakes = Fakes()
        self._stage = Stage(self._functions, self.fakes, clock or VirtualClock(), TestStore())
        self._produced = Produced(self._stage.engine.functions, self.fakes)
        self._is_replayed = is_wanted(REPLAY_VARIABLE) if replay is None else replay
        self._is_open = False
        self._runs: list[TestRun] = []

    async def __aenter__(self) -> Self:
        """Open the engine."""
        await self._stage.open()
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut off what still runs, and close the engine.

        Raises:
            UnmetFakeError: something was faked that nothing asked for.
            NotReplayableError: a history is to be replayed, and does not.
        """
        __tracebackhide__ = True
        self._is_open = False
        await self._stage.close()
        COLLECTED.add(self._costs())
        if kind is not None:
            return
        unmet = list(self.fakes.unmet())
        if unmet:
            raise UnmetFakeError("\n".join(unmet))
        if self._is_replayed:
            self._produced.keep(self._stage.store)
            await self._produced.replay()

    @property
    def engine(self) -> Engine:
        """The engine itself, for whatever else there is to ask it."""
        return self._stage.engine

    @property
    def clock(self) -> VirtualClock:
        """The time of the executions."""
        return self._stage.clock

    # Running

    async def run(
        self,
        function: DurableFunction | str,
        input: object = NO_INPUT,  # noqa: A002 - it is the word for it
        *,
        name: str | None = None,
        execution_timeout: timedelta | float | None = None,
    ) -> TestRun:
        """Start an execution and drive it to its end, skipping time. It may end badly, too.

        Args:
            function: one of the engine's functions, or its name.
            input: what it is called with; see `Engine.start`.
            name: of the execution.
            execution_timeout: after how long it ends TIMED_OUT; see `Engine.start`.

        Raises:
            UnfinishedRunError: it does not end by itself; the text says what it waits for.
            FunctionNotFoundError: the engine has no such function.
            ValidationError: *input* is not what the function asks for.
        """
        run = await self.start(function, input, name=name, execution_timeout=execution_timeout)
        await self.finish(run)
        return run

    async def start(
        self,
        function: DurableFunction | str,
        input: object = NO_INPUT,  # noqa: A002 - it is the word for it
        *,
        name: str | None = None,
        execution_timeout: timedelta | float | None = None,
    ) -> TestRun:
        """Start an execution, and leave it to other calls to drive it; raises as `run` does."""
        run = await self._opened().start(
            function, input, name=name, execution_timeout=execution_timeout
        )
        self._runs.append(run)
        return run

    async def finish(self, run: TestRun) -> None:
        """Drive *run* to its end, skipping time; the others go on with it.

        Raises:
            UnfinishedRunError: it does not end by itself; the text says what it waits for.
        """
        await self._opened().finish(run)

    async def run_until_suspended(self) -> None:
        """Drive all executions as far as they come without time passing."""
        await self._opened().driving.settle()

    async def run_until(self, predicate: Callable[[], bool]) -> None:
        """Drive all executions until *predicate* holds, skipping time.

        It is asked whenever nothing runs. One that asks for an operation that is not there yet does
        not hold.

        Raises:
            UnfinishedRunError: nothing happens any more, and it still does not hold.
        """
        driving = self._opened().driving
        await driving.until(predicate, lambda: f"{_named(predicate)} does not hold.")

    async def advance(self, duration: timedelta | float) -> None:
        """Let *duration* pass, a `timedelta` or seconds; what is due meanwhile is done in time."""
        await self._opened().driving.advance(as_timedelta(duration, "duration"))

    async def crash_everywhere(
        self,
        function: DurableFunction | str,
        input: object = NO_INPUT,  # noqa: A002 - it is the word for it
        *,
        mode: CrashMode | str | None = None,
        orders: bool = True,
        only: str | None = None,
        reset: Callable[[], object] | None = None,
    ) -> CrashReport:
        """Run a function again and again, with a crash at every point, and compare what comes out.

        In each run its process dies once: before or after something is recorded, before or after an
        effect of the test's, or where a step awaits something. What was not recorded is lost, and
        another process takes over. Further runs have the steps that run beside each other come to
        their ends in other orders. The result and the effects (see `effect`) must be the same each
        time.

        The code that is cut off is cancelled, so its `finally` blocks run, as they would not in a
        crash; effects in them do not count.

        Args:
            function: one of the engine's functions, or its name.
            input: what it is called with.
            mode: `"all"` points, a `"sample"` of them, or `"off"`: one run without a crash. By
                default what the environment says in DURABLY_CRASH, or else all.
            orders: whether steps that run beside each other end in other orders, too; not where it
                is meant to matter which is first.
            only: the one run to compare, as a failure names it.
            reset: called before each run, to put the world around the function back; `async def`
                or `def`.

        Raises:
            CrashDifferenceError: something came to something else; the text says what and where.
            FailedRunError: the function fails without any crash.
            UnfinishedRunError: it does not even end.
            ValidationError: *only* names no point that the function comes to, or *mode* no mode.
        """
        usual = self._opened()
        crashes = Crashes(
            self._functions,
            self.fakes,
            self.clock.now(),
            start=lambda stage: stage.start(function, input),
            enter=partial(setattr, self, "_stage"),
            reset=reset or _nothing,
        )
        chosen = mode_of(mode)
        name = function if isinstance(function, str) else function.name
        try:
            report = await crashes.try_all(name, chosen, only, with_orders=orders)
        finally:
            self._stage = usual
        if self._is_replayed:
            for trial in crashes.tried:
                self._produced.keep(trial.store, f"{trial.title}; {trial.alone(name)}")
        return report

    # Acting; `Acting` has more

    async def callback_succeed(self, callback_id: str, payload: object = None) -> None:
        """Answer a callback; see `Engine.callback_succeed`, and `TestRun.callback_id`."""
        await self.engine.callback_succeed(callback_id, payload)

    async def callback_fail(self, callback_id: str, error: ErrorObject | Exception | str) -> None:
        """Report a failure to a callback; see `Engine.callback_fail`."""
        await self.engine.callback_fail(callback_id, error)

    async def callback_heartbeat(self, callback_id: str) -> None:
        """Say that whoever is to answer is alive; see `Engine.callback_heartbeat`."""
        await self.engine.callback_heartbeat(callback_id)

    def _costs(self) -> Iterator[RunCost]:
        for run in self._runs:
            with suppress(ResourceNotFoundException):  # it was kept long enough, or deleted
                yield run.cost

    def _opened(self) -> Stage:
        if not self._is_open:
            raise InvalidStateError(
                "the engine is not open: write `async with TestEngine(…) as t:`"
            )
        return self._stage


def _nothing() -> None:
    pass


def _named(predicate: Callable[[], bool]) -> str:
    return getattr(predicate, "__qualname__", repr(predicate))
