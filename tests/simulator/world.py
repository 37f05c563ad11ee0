"""A whole world from a seed: warm-up, faults, no faults, and time enough for all to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, TypeVar

from durably.drivers.settings import Host
from durably.engine.policy import DispatcherPolicy, FailurePolicy, ServicePolicy
from durably.engine.service import Service
from durably.engine.store import Listed, Query, Store
from durably.errors import ApiError, InvalidStateError, ServiceException, StoreError
from durably.seams import RandomIds
from durably.stores.memory import MemoryStore
from tests.simulator.case import Case
from tests.simulator.code import Code, Hooks
from tests.simulator.disk import MemoryView, View
from tests.simulator.faults import Faults
from tests.simulator.generator import generate
from tests.simulator.ledger import Entry
from tests.simulator.loop import Place, SimulatedLoop
from tests.simulator.network import LostError, Network
from tests.simulator.observed import CLOSED
from tests.simulator.oracle import patience
from tests.simulator.outside import Outside
from tests.simulator.policies import InOrder, draw_policy
from tests.simulator.process import Process, Setup
from tests.simulator.programs import (
    Again,
    Callback,
    Child,
    Combine,
    Deploy,
    Fan,
    Guard,
    Program,
    Scenario,
    Together,
    Wait,
)
from tests.simulator.shared_disk import Commons, SharedView
from tests.simulator.sqlite_disk import SqliteDisk, SqliteView
from tests.simulator.stage import PlaceClock, Stage, WorldLedger
from tests.simulator.trace import Trace
from tests.simulator.worker import RemoteFunctionProxy, Worker

T = TypeVar("T")

_LONG_SECONDS = 86_400.0
_BRIEF_SECONDS = 60
_RATES = (0.01, 0.1, 0.5)
BYSTANDER = "bystander"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What kind of world it is.

    Attributes:
        processes: of the backend. Only one may have a store to itself.
        is_shared: the store is that of a database, which others use at the same time.
        hears: processes are told by hints of what others do to such a store.
        workers: processes that run functions elsewhere.
        spread: within how many seconds the scenarios begin.
        calm_at: when nothing goes wrong any more.
        is_brief: waits of an hour take a minute, which spares an hour of looking around.
    """

    processes: int
    is_shared: bool
    workers: int
    scenarios: int
    size: int
    spread: float
    warm_up: float
    calm_at: float
    lease: float
    poll: float
    park_after: int
    dispatchers: int
    max_concurrency: int
    hears: bool
    has_hooks: bool
    remote_share: float
    max_idle: int
    is_brief: bool
    runtimes: int | None

    @classmethod
    def of(cls, case: Case) -> Shape:
        """Draw that of a case."""
        random = Random(f"{case.seed} shape")
        choice = random.choice
        is_shared = case.store == "shared"
        workers = choice((1, 1, 2, 3))
        return cls(
            processes=choice((2, 3)) if is_shared else 1,
            is_shared=is_shared,
            workers=workers,
            scenarios=choice((9, 15, 21, 27)),
            size=choice((1, 1, 1, 2, 2, 2, 3, 4, 8)),
            spread=choice((1.0, 10.0, 20.0)),
            warm_up=choice((0.0, 2.0, 5.0)),
            calm_at=choice((10.0, 25.0, 60.0)),
            lease=choice((3.0, 10.0, 30.0)),
            poll=choice((1.0, 5.0, 15.0, 30.0, 30.0)),
            park_after=choice((4, 10)),
            dispatchers=choice((1, 1, 1, 2, 4)),
            max_concurrency=choice((1, 3, 100, 100)),
            hears=random.random() < 0.5,
            has_hooks=random.random() < 0.2,
            remote_share=choice((0.0, 0.3, 0.6, 1.0)),
            max_idle=choice((0, 3, 1000)),
            is_brief=random.random() < 0.9,
            runtimes=choice((None, None, 1, 1, 2, 3)),
        )


class World:
    """Builds it, lets it run, and has it looked at.

    Attributes:
        outsides: one for each scenario.
        ledger: what user code has done.
        processes: those of the backend that live.
        workers: those that run functions elsewhere, and live.
    """

    def __init__(self, case: Case, *, is_traced: bool = False) -> None:
        self.case = case
        self.shape = Shape.of(case)
        order = Random(f"{case.seed} order")
        policy = draw_policy(order)
        self.loop = SimulatedLoop(InOrder() if case.is_plain else policy, order)
        trace = Trace(lambda: self.loop.now, is_kept=is_traced)
        faults = Faults(
            Random(f"{case.seed} faults"),
            trace.tick,
            lambda: self.loop.now,
            without=case.without,
            skipped=case.skipped,
        )
        self.stage = Stage(
            loop=self.loop,
            random=Random(f"{case.seed} chance"),
            faults=faults,
            trace=trace,
            lease=timedelta(seconds=self.shape.lease),
        )
        self.network = Network(self.stage)
        self.ledger = WorldLedger(trace.tick, lambda: self.loop.now)
        self.ledger.listeners.append(self._hear)
        self.hooks = Hooks()
        self.outsides: list[Outside] = []
        self._of_function: dict[str, Outside] = {}
        self._programs: list[list[Program]] = []
        self._draw_scenarios()
        self.remote = self._draw_remote()
        self.processes: dict[int, Process] = {}
        self.workers: dict[int, Worker] = {}
        self._generations = 0
        self._ids = RandomIds(Random(f"{case.seed} ids"))
        self._file = SqliteDisk(self.stage, self._ids) if case.store == "sqlite" else None
        self.inner: Store = MemoryStore(ids=self._ids)
        self._commons = Commons(self.inner, hints=self.shape.hears)

    # What is played

    def _draw_scenarios(self) -> None:
        random = Random(f"{self.case.seed} scenarios")
        for number in range(self.shape.scenarios):
            scenario = _renamed(generate(random, self.shape.size), f"s{number}")
            if self.shape.is_brief:
                scenario = shortened(scenario)
            begins_at = random.uniform(0, self.shape.spread)
            if self.case.scenarios is not None and number not in self.case.scenarios:
                continue
            outside = Outside(self.stage, scenario, begins_at, self.api)
            self.outsides.append(outside)
            self._programs.append(list(scenario.programs))
            for program in scenario.programs:
                self._of_function[program.name] = outside

    def _draw_remote(self) -> dict[str, RemoteFunctionProxy]:
        random = Random(f"{self.case.seed} remote")
        remote: dict[str, RemoteFunctionProxy] = {}
        for outside in self.outsides:
            is_remote = random.random() < self.shape.remote_share
            for program in outside.scenario.programs:
                if is_remote or program.flavour == "def":
                    remote[program.name] = RemoteFunctionProxy(
                        self.stage, self.network, program.name, self.find_worker, self.find_service
                    )
        return remote

    def _hear(self, entry: Entry) -> None:
        self.outside_of(entry.execution).hear(entry)

    def outside_of(self, arn: str) -> Outside:
        """Give the outside of the scenario that an execution belongs to."""
        return self._of_function[arn.split(":")[6]]

    # Who lives

    def find_worker(self) -> Worker | None:
        """Give a worker that lives, any one."""
        workers = list(self.workers.values())
        return self.stage.random.choice(workers) if workers else None

    def find_process(self) -> Process | None:
        """Give a process that serves, any one."""
        serving = [one for one in self.processes.values() if one.is_open]
        return self.stage.random.choice(serving) if serving else None

    def find_service(self) -> tuple[Place, Service] | None:
        """Give the place and the service of one."""
        process = self.find_process()
        return None if process is None else (process.place, process.service)

    async def api(self, do: Callable[[Service], Coroutine[Any, Any, T]]) -> T:
        """Have something done by a service, over the network."""
        found = self.find_service()
        if found is None:
            raise LostError("nobody serves")
        place, service = found

        async def served() -> T:
            try:
                return await do(service)
            except (StoreError, InvalidStateError) as error:
                raise ServiceException("The store failed, or is closed.") from error

        return await self.network.ask(place, served, patience=30)

    def new_place(self, kind: str, number: int) -> Place:
        """Make the place of a process, a new one each time it is started."""
        self._generations += 1
        rate = self.stage.random.choice((1.0, 1.0, 1.0, 0.97, 1.05))
        place = Place(f"{kind}{number}#{self._generations}", rate)
        self.loop.add_place(place)
        return place

    def start_process(self, number: int) -> asyncio.Task[None]:
        """Start a process of the backend, with the code that is deployed now."""
        place = self.new_place("p", number)
        process = Process(
            self.stage, place, self._view(place), self._code(place), self.remote, self._setup()
        )
        self.processes[number] = process
        self.stage.trace.say(f"{place.name} starts")
        return self.loop.run_in(place, process.open())

    def start_worker(self, number: int) -> None:
        """Start a worker, with the code that is deployed now."""
        place = self.new_place("w", number)
        clock = PlaceClock(self.stage, place)
        host = Host(clock=clock, ids=RandomIds(self.stage.random))
        self.workers[number] = Worker(self.stage, self.network, place, self._code(place), host)
        self.stage.trace.say(f"{place.name} starts")

    def deploy(self, program: Program) -> None:
        """Let whoever starts from now on have *program*."""
        for programs in self._programs:
            for n, one in enumerate(programs):
                if one.name == program.name:
                    programs[n] = program

    def _view(self, place: Place) -> View:
        if self._file is not None:
            view = SqliteView(self.stage, place, self._file)
            self.inner = view.store
            return view
        if self.shape.is_shared:
            return SharedView(self.stage, place, self._commons)
        return MemoryView(self.stage, place, self.inner, is_owner=True)

    def _code(self, place: Place) -> Code:
        plugins = (self.hooks.make,) if self.shape.has_hooks else ()
        return Code(self._programs, self.ledger, place.name, plugins)

    def _setup(self) -> Setup:
        shape = self.shape
        served = tuple(self._of_function)
        poll = timedelta(seconds=shape.poll)
        policy = ServicePolicy(
            is_shared=shape.is_shared,
            poll_interval=poll,
            retention_days=1,
            max_idle_executions=shape.max_idle,
            failures=FailurePolicy(max_delay_seconds=8, park_after=shape.park_after),
        )
        worker_policy = DispatcherPolicy(
            max_concurrency=shape.max_concurrency, lease=self.stage.lease, poll_interval=poll
        )
        return Setup(
            policy=policy,
            worker_policy=worker_policy,
            dispatchers=shape.dispatchers,
            functions=(*served, BYSTANDER),
            served=served,
            runtimes=shape.runtimes,
        )

    def bury(self, process: Process) -> None:
        """Let go of what a dead process held of the machine."""
        if self._file is not None and isinstance(process.view, SqliteView):
            self._file.bury(process.view.store)

    def close(self) -> None:
        """Let go of everything."""
        if self._file is not None:
            self._file.close()

    # The store, from outside of everything

    async def executions(self) -> list[Listed]:
        """Give every execution there is."""
        page = await self.inner.list(Query(oldest_first=True, limit=10_000))
        return list(page.executions)

    def now_at_backend(self) -> Any:
        """Give the backend's instant."""
        process = next(iter(self.processes.values()))
        return process.service.clock.now()

    async def is_over(self) -> bool:
        """Whether everything has ended, or nothing will happen to it for a long time."""
        if any(outside.open_tasks for outside in self.outsides):
            return False
        later = self.now_at_backend() + timedelta(seconds=_LONG_SECONDS)
        return all(
            one.summary.status in CLOSED
            or (not one.is_claimed and (one.wake_at is None or one.wake_at > later))
            for one in await self.executions()
            if one.summary.function_name != BYSTANDER
        )

    async def resume_parked(self) -> None:
        """Do what an operator does when faults are over: have parked executions go on."""
        for one in await self.executions():
            if one.summary.parked_reason is not None:
                self.stage.trace.reach("parked")
                with suppress(LostError, ApiError):
                    await self.api(partial(Service.resume, arn=one.arn))

    def longest(self) -> float:
        """Say how many seconds after the faults everything must have ended in."""
        shape = self.shape
        longest = max((patience(one.scenario) for one in self.outsides), default=0)
        return shape.spread + longest + 3 * shape.lease + 4 * shape.poll + 250


class Disturbances:
    """Answers `durably.seams.maybe`: some places are disturbed, each as often as is drawn."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = Random(f"{seed} disturbances")
        self._rates: dict[str, float] = {}

    def fires(self, name: str) -> bool:
        """Whether the place of that name is disturbed now."""
        rate = self._rates.get(name)
        if rate is None:
            random = Random(f"{self._seed} {name}")
            rate = self._rates[name] = random.choice(_RATES) if random.random() < 0.25 else 0.0
        return rate > 0 and self._random.random() < rate


def shortened(scenario: Scenario) -> Scenario:
    """Give the same with no wait of more than a minute."""

    def brief(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(brief(one) for one in value)
        if isinstance(value, Wait):
            return replace(value, seconds=min(value.seconds, _BRIEF_SECONDS))
        if isinstance(
            value, Program | Deploy | Fan | Child | Callback | Guard | Again | Combine | Together
        ):
            inner = {one.name: brief(getattr(value, one.name)) for one in fields(value)}
            return replace(value, **inner)
        return value

    return replace(scenario, programs=brief(scenario.programs), deploys=brief(scenario.deploys))


def _renamed(scenario: Scenario, prefix: str) -> Scenario:
    def own(program: Program) -> Program:
        return replace(program, name=f"{prefix}{program.name}")

    return replace(
        scenario,
        programs=tuple(own(one) for one in scenario.programs),
        deploys=tuple(replace(one, program=own(one.program)) for one in scenario.deploys),
    )
