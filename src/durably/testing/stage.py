"""An engine on a store of a test's and on its clock, with whatever stands in for the world."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from random import Random

from durably.app.assembly import Assembly
from durably.app.engine import NO_INPUT, Engine
from durably.app.execution import function_in
from durably.app.settings import EngineSettings
from durably.drivers.settings import Host, StandIn
from durably.engine.policy import DispatcherPolicy
from durably.handler import DurableFunction
from durably.seams import RandomIds
from durably.testing.answers import Answering
from durably.testing.clock import VirtualClock
from durably.testing.driving import Driving
from durably.testing.fakes import Fakes
from durably.testing.runs import TestRun
from durably.testing.store import TestStore
from durably.testing.warned import Warned

_FOR_EVER = timedelta(days=3_660)
_WORKER = DispatcherPolicy(
    lease=_FOR_EVER, poll_interval=_FOR_EVER, housekeeping_interval=_FOR_EVER
)
"""Nothing looks again by itself: what is due is known, and time passes only for what is."""


class Stage:
    """One process with an engine, and what drives it.

    Args:
        functions: the durable functions.
        fakes: what stands in for the world.
        clock: what time it is.
        store: what outlives the process.
        stand_in: how attempts are run; by default as the fakes say.
        life: which process of the store's it is: its ids are others.

    Attributes:
        engine: the engine.
        answering: whoever answers callbacks.
    """

    def __init__(
        self,
        functions: Iterable[DurableFunction],
        fakes: Fakes,
        clock: VirtualClock,
        store: TestStore,
        *,
        stand_in: StandIn | None = None,
        life: int = 0,
    ) -> None:
        self.clock = clock
        self.store = store
        host = Host(
            clock=clock,
            ids=_TestIds(life),
            jitter=_longest,
            stand_in=stand_in or fakes.stand_in,
        )
        self.engine = _VirtualEngine(functions, store, host, fakes)
        self._fakes = fakes
        self._warned = Warned()

    async def open(self, answering: Answering | None = None) -> None:
        """Open the engine; *answering* goes on from an earlier process."""
        self._warned.listen()
        await self.engine.__aenter__()
        self.answering = answering or Answering(self.store, self._fakes)
        self.answering.service = self.engine.service
        self.driving = Driving(self.engine.assembly, self.clock, self.answering)

    async def close(self) -> None:
        """Cut off what still runs, and close the engine."""
        if self._fakes.functions:
            self._fakes.invoked |= dict.fromkeys(self.store.invoked())
        await self.engine.__aexit__(None, None, None)
        self._warned.close()

    async def start(
        self,
        function: DurableFunction | str,
        input: object = NO_INPUT,  # noqa: A002 - it is the word for it
        *,
        name: str | None = None,
        execution_timeout: timedelta | float | None = None,
    ) -> TestRun:
        """Start an execution; see `TestEngine.start`."""
        execution = await self.engine.start(
            function, input, name=name, execution_timeout=execution_timeout
        )
        run = self.find(execution.arn)
        self.driving.add(run, may_time_out=execution_timeout is not None)
        return run

    def find(self, arn: str) -> TestRun:
        """Give the run of an execution that there is."""
        return TestRun(arn, self.engine.function_of(arn), self.engine.service, self._warned)

    async def finish(self, run: TestRun) -> None:
        """Drive *run* to its end; see `TestEngine.finish`."""
        await self.driving.until(
            lambda: run.arn in self.store.closed or run.arn in self.store.parked,
            lambda: f"{run.title} has not ended.\n{run.report()}",
        )


def _longest() -> float:
    """Draw the longest of the delays that there may be."""
    return 1.0


class _TestIds(RandomIds):
    """Ids that are the same in each run; what is at a place has the same in each process, too."""

    def __init__(self, life: int) -> None:
        super().__init__(Random(life))  # noqa: S311 - a test is to be repeated

    def nonce(self, length: int, place: str = "") -> bytes:
        """Give *length* bytes that go by the *place*."""
        return Random(place).randbytes(length) if place else super().nonce(length)  # noqa: S311


class _VirtualEngine(Engine):
    """An engine on a store of a test's, and on its clock."""

    def __init__(
        self, functions: Iterable[DurableFunction], store: TestStore, host: Host, fakes: Fakes
    ) -> None:
        super().__init__("memory:", functions, grace=0)
        self._test_store = store
        self._host = host
        self._elsewhere = fakes.functions
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

    def function_of(self, arn: str) -> DurableFunction:
        """Give the function that an execution is of."""
        return self.functions[function_in(arn)]
