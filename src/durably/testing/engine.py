"""TestEngine: durable functions in a test, in its event loop and on a clock that skips waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Self

from durably.app.assembly import Assembly
from durably.app.engine import NO_INPUT, Engine
from durably.app.settings import EngineSettings
from durably.drivers.settings import Host
from durably.engine.dispatcher import DispatcherPolicy
from durably.errors import InvalidStateError, ResourceNotFoundException
from durably.handler import DurableFunction
from durably.limits import as_timedelta
from durably.seams import RandomIds
from durably.testing.acting import Acting
from durably.testing.answers import Answering
from durably.testing.clock import VirtualClock
from durably.testing.costs import COLLECTED, RunCost
from durably.testing.driving import Driving
from durably.testing.errors import UnmetFakeError
from durably.testing.fakes import Fakes
from durably.testing.runs import TestRun
from durably.testing.store import TestStore

if TYPE_CHECKING:
    from types import TracebackType

    from durably.wire.operation import ErrorObject

_FOR_EVER = timedelta(days=3_660)
_WORKER = DispatcherPolicy(
    lease=_FOR_EVER, poll_interval=_FOR_EVER, housekeeping_interval=_FOR_EVER
)
"""Nothing looks again by itself: what is due is known, and time passes only for what is."""


class TestEngine(Acting):
    """Runs durable functions in the event loop of a test, skipping the time that they sleep.

    `async with TestEngine(functions=[fulfil]) as t: run = await t.run(fulfil, order)`. It is the
    real engine, on a store in memory. Only durable time is virtual: waits, retries, time-outs.
    What your own code waits for is real. It leaves no task, thread or file behind.

    Args:
        functions: the durable functions that may be started, by others of them too.
        clock: what time it is; by default it begins with the year 2026.

    Attributes:
        clock: the time of the executions.
        engine: the engine itself, for whatever else there is to ask it.
    """

    __test__ = False

    def __init__(
        self, functions: Iterable[DurableFunction] = (), *, clock: VirtualClock | None = None
    ) -> None:
        self.clock = clock or VirtualClock()
        self.fakes = Fakes()
        self._store = TestStore()
        self._engine = _VirtualEngine(functions, self._store, self.clock, self.fakes)
        self._driving: Driving | None = None
        self._runs: list[TestRun] = []

    async def __aenter__(self) -> Self:
        """Open the engine."""
        await self._engine.__aenter__()
        answering = Answering(self._engine.service, self._store, self.fakes)
        self._driving = Driving(self._engine.assembly, self.clock, answering)
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
        """
        self._driving = None
        await self._engine.__aexit__(kind, error, traceback)
        COLLECTED.add(self._costs())
        unmet = list(self.fakes.unmet()) if kind is None else []
        if unmet:
            raise UnmetFakeError("\n".join(unmet))

    @property
    def engine(self) -> Engine:
        """The engine itself, for whatever else there is to ask it."""
        return self._engine

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
        driving = self._opened()
        execution = await self._engine.start(
            function, input, name=name, execution_timeout=execution_timeout
        )
        found = self._engine.functions[execution.function_name]
        run = TestRun(execution.arn, found, self._engine.service)
        self._runs.append(run)
        driving.add(run, may_time_out=execution_timeout is not None)
        return run

    async def finish(self, run: TestRun) -> None:
        """Drive *run* to its end, skipping time; the others go on with it.

        Raises:
            UnfinishedRunError: it does not end by itself; the text says what it waits for.
        """
        ended = (self._store.closed, self._store.parked)
        await self._opened().until(
            lambda: any(run.arn in those for those in ended),
            lambda: f"{run.title} has not ended.\n{run.report()}",
        )

    async def run_until_suspended(self) -> None:
        """Drive all executions as far as they come without time passing."""
        await self._opened().settle()

    async def run_until(self, predicate: Callable[[], bool]) -> None:
        """Drive all executions until *predicate* holds, skipping time.

        It is asked whenever nothing runs. One that asks for an operation that is not there yet does
        not hold.

        Raises:
            UnfinishedRunError: nothing happens any more, and it still does not hold.
        """
        await self._opened().until(predicate, lambda: f"{_named(predicate)} does not hold.")

    async def advance(self, duration: timedelta | float) -> None:
        """Let *duration* pass, a `timedelta` or seconds; what is due meanwhile is done in time."""
        await self._opened().advance(as_timedelta(duration, "duration"))

    # Acting; `Acting` has more

    async def callback_succeed(self, callback_id: str, payload: object = None) -> None:
        """Answer a callback; see `Engine.callback_succeed`, and `TestRun.callback_id`."""
        await self._engine.callback_succeed(callback_id, payload)

    async def callback_fail(self, callback_id: str, error: ErrorObject | Exception | str) -> None:
        """Report a failure to a callback; see `Engine.callback_fail`."""
        await self._engine.callback_fail(callback_id, error)

    async def callback_heartbeat(self, callback_id: str) -> None:
        """Say that whoever is to answer is alive; see `Engine.callback_heartbeat`."""
        await self._engine.callback_heartbeat(callback_id)

    def _costs(self) -> Iterator[RunCost]:
        for run in self._runs:
            with suppress(ResourceNotFoundException):  # it was kept long enough, or deleted
                yield run.cost

    def _opened(self) -> Driving:
        if self._driving is None:
            raise InvalidStateError(
                "the engine is not open: write `async with TestEngine(…) as t:`"
            )
        return self._driving


class _VirtualEngine(Engine):
    """An engine on a store of a test's, and on its clock."""

    def __init__(
        self,
        functions: Iterable[DurableFunction],
        store: TestStore,
        clock: VirtualClock,
        fakes: Fakes,
    ) -> None:
        super().__init__("memory:", functions, grace=0)
        self._test_store = store
        self._elsewhere = fakes.functions
        ids = RandomIds(Random(0))  # noqa: S311 - a test is to be repeated
        self._host = Host(clock=clock, ids=ids, stand_in=fakes.stand_in)
        self.assembly: Assembly

    def _assemble(self) -> Assembly:
        self.assembly = Assembly(
            self._test_store,
            self.functions,
            EngineSettings(store_url="memory:", grace=timedelta(0)),
            host=self._host,
            worker=_WORKER,
            elsewhere=self._elsewhere,
        )
        return self.assembly


def _named(predicate: Callable[[], bool]) -> str:
    return getattr(predicate, "__qualname__", repr(predicate))
