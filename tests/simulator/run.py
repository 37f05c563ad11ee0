"""One run from its beginning to its verdict."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from traceback import format_exc
from typing import Any, TypeVar

from durably.engine.store import Listed
from durably.seams import disturb
from tests.simulator.case import Case
from tests.simulator.chaos import Chaos, roll_out
from tests.simulator.invariants import violations
from tests.simulator.loop import Stuck
from tests.simulator.observed import CLOSED, Fault, Hook, Observed, Read, Replay, Seen, Write
from tests.simulator.outside import Outside, read_history
from tests.simulator.reached import reached
from tests.simulator.records import details_of, is_ending
from tests.simulator.replayed import Replayer
from tests.simulator.worker import INVOCATION_SECONDS
from tests.simulator.world import BYSTANDER, Disturbances, World

T = TypeVar("T")

_KEPT_SECONDS = 2 * 86_400.0

_GRACE_SECONDS = 130.0
"""For so long, and two leases, a fault may show: the longest time-out and pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a run.

    Attributes:
        violations: by the name of what is violated.
        digest: the same for the same run.
        steps: callbacks that ran.
        drawn: how many faults have come up, those left out too.
        updates: how many were accepted.
        events: what happened, if that was kept.
    """

    case: Case
    violations: Mapping[str, Sequence[str]]
    executions: int
    seconds: float
    steps: int
    digest: int
    drawn: int
    updates: int
    faults: Counter[str] = field(default_factory=Counter[str])
    reached: Counter[str] = field(default_factory=Counter[str])
    events: tuple[str, ...] = ()


def run(case: Case, *, is_traced: bool = False) -> Verdict:
    """Build a world, let it run, and judge it."""
    began = perf_counter()
    logging.disable(logging.CRITICAL)
    world = World(case, is_traced=is_traced)
    disturb(None if case.is_calm else Disturbances(case.seed).fires)
    story = _Story(world)
    found: dict[str, Sequence[str]] = {}
    try:
        world.loop.run_until_complete(story.play())
        found |= story.judge()
    except Stuck as stuck:
        found["liveness"] = [str(stuck)]
    except Exception:  # noqa: BLE001 - a run that cannot be judged has failed, and others go on
        found["judge"] = [format_exc()]
    finally:
        failures = list(world.loop.failures)
        steps, digest = world.loop.turns, world.loop.digest
        world.loop.bury()
        world.close()
        disturb(None)
        logging.disable(logging.NOTSET)
    if failures:
        found["nobody took"] = failures
    return Verdict(
        case=case,
        violations=found,
        executions=story.executions,
        seconds=perf_counter() - began,
        steps=steps,
        digest=digest,
        drawn=world.stage.faults.drawn,
        updates=sum(len(one.updates) for one in world.stage.writes if one.accepted),
        faults=world.stage.faults.counts,
        reached=world.stage.trace.reached,
        events=tuple(world.stage.trace.events),
    )


def _with_tokens(writes: Sequence[Write]) -> tuple[Write, ...]:
    """Tell what token a lost reply would have given, if the same reply was given once more.

    Until then it may have been made later than that, with a newer token, which nobody was told.
    """
    told = {
        (one.execution, one.token_in, one.client_token): one.token_out
        for one in writes
        if one.acknowledged and one.token_out is not None
    }
    return tuple(
        replace(
            one,
            token_out=told.get((one.execution, one.token_in, one.client_token), one.token_out),
        )
        if one.accepted and not one.acknowledged
        else one
        for one in writes
    )


def _told_for_good(told: Iterable[Hook], *, is_faulty: bool) -> tuple[Hook, ...]:
    """Leave out what promises nothing.

    What is unwound starts, and no hook tells of its end. What ended while something failed may be
    told again.
    """
    hooks = [one for one in told if not (is_faulty and one.kind == "operation_end")]
    ends: Counter[tuple[str, str, str, int | None]] = Counter()
    kept: list[Hook] = []
    for one in reversed(hooks):
        what, _, phase = one.kind.rpartition("_")
        key = (one.invocation, what, one.operation_id, one.attempt)
        if phase == "start":
            ends[key] -= 1
            if ends[key] < 0:
                ends[key] = 0
                continue
        else:
            ends[key] += 1
        kept.append(one)
    return tuple(reversed(kept))


class _Story:
    """The phases of one run, and what is seen in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stage = world.stage
        self.executions = 0
        self.listed: list[Listed] = []
        self.seen: dict[str, Seen] = {}
        self.replays: list[Replay] = []
        self.told: list[str] = []
        self.bystanders: dict[str, tuple[str, str]] = {}
        self.resources: dict[str, tuple[int, int]] = {}
        self.is_calm = False

    async def play(self) -> None:
        """Play all phases."""
        world, shape = self.world, self.world.shape
        for number in range(shape.workers):
            world.start_worker(number)
        for number in range(shape.processes):
            await world.start_process(number)
        before = await self._bystander()
        for outside in world.outsides:
            outside.begin()
            for deploy in outside.scenario.deploys:
                world.loop.create_task(roll_out(world, deploy, outside.begins_at))
        await asyncio.sleep(shape.warm_up)
        self.stage.faults.are_on = True
        chaos = Chaos(world)
        befalling = world.loop.create_task(chaos.run())
        await asyncio.sleep(shape.calm_at)
        self.stage.faults.are_on = False
        self.stage.trace.say("faults are over")
        chaos.is_over = True
        await befalling
        await self._recover()
        await self._calm()
        after = {arn: await self._digest(arn) for arn in before}
        self.bystanders = {arn: (digest, after[arn]) for arn, digest in before.items()}
        await self._look()
        if self.stage.is_likely(0.1):
            await self._keep_long_enough()

    async def _recover(self) -> None:
        """Put right what nothing but an operator puts right."""
        world = self.world
        world.network.cut_off.clear()
        for number in set(range(world.shape.workers)) - world.workers.keys():
            world.start_worker(number)
        await asyncio.sleep(1)
        for number in set(range(world.shape.processes)) - world.processes.keys():
            world.start_process(number)
        await asyncio.sleep(45)

    async def _calm(self) -> None:
        """Give everything time to end."""
        world = self.world
        deadline = world.loop.now + world.longest()
        pause = 1.0
        while not (self.is_calm or world.loop.now > deadline):
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 60)
            await world.resume_parked()
            self.is_calm = await world.is_over()
        await asyncio.sleep(self.stage.lease.total_seconds() + 1)
        self.is_calm = True

    # What is seen

    async def _bystander(self) -> dict[str, str]:
        """Start an execution that nobody is going to have anything to do with."""
        arn = await self.world.api(lambda service: service.start(BYSTANDER, "1"))
        return {arn: await self._digest(arn)}

    async def _digest(self, arn: str) -> str:
        stored = await self.world.inner.find(arn)
        if stored is None:
            return "gone"
        return hashlib.sha256(
            repr((stored.facts, stored.summary, stored.wake_at)).encode()
        ).hexdigest()

    async def _look(self) -> None:
        """Look at everything, now that nothing moves."""
        world = self.world
        for outside in world.outsides:
            outside.cancel()
        await asyncio.sleep(25)
        if any(process.running for process in world.processes.values()):
            await asyncio.sleep(INVOCATION_SECONDS)  # an answer that was lost
        self.listed = [
            one for one in await world.executions() if one.summary.function_name != BYSTANDER
        ]
        self.executions = len(self.listed)
        self._count_resources()
        service = next(iter(world.processes.values())).service
        invoked: dict[str, tuple[str, str]] = {}
        for one in self.listed:
            events = await read_history(service, 1000, one.arn)
            self._read(one.arn, Read(self.stage.trace.tick(), events))
            for event in events:
                if event.event_type == "ChainedInvokeStarted":
                    child = details_of(event).durable_execution_arn
                    invoked[child or ""] = (one.arn, event.id or "")
        for one in self.listed:
            await self._see(service, one.arn, invoked.get(one.arn))
        await self._replay()
        known = {visit.execution for visit in self.stage.visits.values()}
        known |= {arn for outside in world.outsides for arn in outside.arns.values()}
        for arn in sorted(known - self.seen.keys()):
            self._see_gone(arn)

    def _count_resources(self) -> None:
        self.resources["claims"] = (0, sum(one.is_claimed for one in self.listed))
        for process in self.world.processes.values():
            name, service = process.place.name, process.service
            self.resources[f"{name} tips"] = (0, len(service._journals._tips))
            self.resources[f"{name} waiters"] = (0, len(service.waiters._waiters))
            self.resources[f"{name} invocations"] = (0, process.running)

    async def _replay(self) -> None:
        """Run histories again."""
        replayers = {one: Replayer(self.stage, one.scenario) for one in self.world.outsides}
        for arn, seen in self.seen.items():
            stored = await self.world.inner.find(arn)
            if stored is not None:
                replayer = replayers[self.world.outside_of(arn)]
                self.replays += await replayer.replays(seen.function, arn, stored)

    def _read(self, arn: str, read: Read) -> None:
        self.world.outside_of(arn).reads.setdefault(arn, []).append(read)

    async def _see(self, service: Any, arn: str, parent: tuple[str, str] | None) -> None:
        told, why = await service.get(arn), await service.why(arn)
        error = None
        if told.error is not None:
            error = (told.error.error_type or "", told.error.error_message or "")
        outside = self.world.outside_of(arn)
        self.seen[arn] = Seen(
            arn=arn,
            function=told.function_name,
            start="" if parent else told.execution_name,
            parent=parent,
            status=told.status.value,
            result=told.result,
            error=error,
            reads=tuple(outside.reads[arn]),
            standing=why.standing.value,
            wakes=tuple(map(str, (*filter(None, [why.wakes_at]), *why.waits_for))),
        )
        status, since = outside.told.get(arn, (told.status.value, 0))
        if status != told.status.value:
            self.told.append(f"{arn}: is {told.status.value}, and {status} was told")
        for read in outside.reads[arn]:
            if since and read.tick > since and not any(map(is_ending, read.events or ())):
                self.told.append(f"{arn}: {status} was told, and is not there at tick {read.tick}")

    def _see_gone(self, arn: str) -> None:
        reads = (
            *self.world.outside_of(arn).reads.get(arn, ()),
            Read(self.stage.trace.tick(), None),
        )
        self.seen[arn] = Seen(arn=arn, function=arn.split(":")[6], status=None, reads=reads)

    async def _keep_long_enough(self) -> None:
        """Let the time be over for which what has ended is kept, and nothing else be removed."""
        service = next(iter(self.world.processes.values())).service
        self.stage.jump_seconds += _KEPT_SECONDS
        while await service.delete_expired():
            pass
        for arn, seen in self.seen.items():
            is_there = await self.world.inner.find(arn) is not None
            if is_there is (seen.status is None or seen.status in CLOSED):
                self.told.append(f"{arn}: is {seen.status}, and there: {is_there}")

    # The verdict

    def judge(self) -> dict[str, Sequence[str]]:
        """Give what is violated."""
        found: dict[str, Sequence[str]] = {}
        for observed in self._observed():
            for state in sorted(reached(observed)):
                self.stage.trace.reach(state)
            for name, texts in violations(observed).items():
                found[name] = [*found.get(name, ()), *texts]
        failures = [text for outside in self.world.outsides for text in outside.failures]
        if failures:
            found["outside"] = failures
        if self.told:
            found["told"] = self.told
        return found

    def _observed(self) -> Iterable[Observed]:
        """Give what was observed of each scenario."""
        seen = self._by_outside(self.seen.values(), lambda one: one.arn)
        entries = self._by_outside(self.world.ledger.seen(), _execution)
        writes = self._by_outside(self.stage.writes, _execution)
        claims = self._by_outside(self.stage.claims, _execution)
        visits = self._by_outside(self.stage.visits.values(), _execution)
        replays = self._by_outside(self.replays, _execution)
        hooks = self._by_outside(self.world.hooks.told, _execution)
        faults = self._by_outside(self._faults(), _execution)
        for outside in self.world.outsides:
            yield Observed(
                scenario=outside.scenario,
                executions=tuple(seen[outside]),
                entries=tuple(entries[outside]),
                writes=_with_tokens([one.seen() for one in writes[outside]]),
                claims=tuple(claims[outside]),
                invocations=tuple(one.seen() for one in visits[outside]),
                faults=tuple(faults[outside]) + tuple(faults[None]),
                replies=tuple(outside.replies),
                started=tuple(outside.started),
                acted=tuple(outside.acted),
                replays=tuple(replays[outside]),
                hooks=_told_for_good(hooks[outside], is_faulty=bool(self.stage.faults.hit)),
                bystanders=self.bystanders,
                resources=self.resources,
                is_calm=self.is_calm,
                until=self.world.now_at_backend(),
                threshold=self.world.shape.park_after,
            )

    def _by_outside(
        self, things: Iterable[T], arn_of: Callable[[T], str]
    ) -> Mapping[Outside | None, list[T]]:
        """Sort *things* by the scenario that they belong to; `None` for those of no execution."""
        sorted_: defaultdict[Outside | None, list[T]] = defaultdict(list)
        outsides: dict[str, Outside | None] = {"": None}
        for one in things:
            arn = arn_of(one)
            if arn not in outsides:
                outsides[arn] = self.world.outside_of(arn)
            sorted_[outsides[arn]].append(one)
        return sorted_

    def _faults(self) -> list[Fault]:
        """Give every fault with the tick until which it may show."""
        noted = [(one.at, one.tick) for one in self.world.ledger.entries]
        noted += [(one.at, one.began) for one in self.stage.visits.values()]
        noted.sort()
        times = [at for at, _ in noted]
        grace = _GRACE_SECONDS + 2 * self.stage.lease.total_seconds()

        def until(fault: Fault) -> int:
            place = bisect_right(times, fault.at + grace)
            return max(fault.tick, noted[place - 1][1] if place else 0)

        return [
            replace(one, until=until(one))
            for one in self.stage.faults.hit
            if one.execution.split(":")[6:7] != [BYSTANDER]
        ]


def _execution(one: Any) -> str:
    execution: str = one.execution
    return execution
