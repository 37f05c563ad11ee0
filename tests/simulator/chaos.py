"""What befalls processes and workers: they die, stand still, are cut off, and get new code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulator.loop import Place
from tests.simulator.programs import Deploy
from tests.simulator.world import World


class Chaos:
    """Befalls a world, until faults are over. What it has begun it ends."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stage = world.stage
        self._random = world.stage.random
        kinds: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "crash": self._crash,
            "worker crash": self._crash_worker,
            "pause": self._pause,
            "partition": self._cut_off,
            "restart": self._restart,
            "clock jumps": self._jump,
        }
        self._kinds = [do for kind, do in kinds.items() if self._stage.faults.has(kind)]
        self.is_over = False
        self._gap = self._random.choice((0.5, 3.0, 10.0))

    async def run(self) -> None:
        """Let one thing after the other befall it."""
        while self._kinds and not self.is_over:
            await asyncio.sleep(self._random.uniform(0, 2 * self._gap))
            await self._random.choice(self._kinds)()

    def _happens(self, kind: str, place: Place, *, everywhere: bool = True) -> bool:
        """Whether it does; what befalls the backend may hit whoever it has work for."""
        happens = self._stage.faults.happens(kind, node="" if everywhere else place.name)
        if happens:
            self._stage.trace.say(f"{kind}: {place.name}")
        return happens

    async def _crash(self) -> None:
        found = self._pick_process()
        if found is None or not self._happens("crash", self._world.processes[found].place):
            return
        self._world.loop.kill(self._world.processes[found].place)
        self._world.bury(self._world.processes.pop(found))
        await asyncio.sleep(self._random.choice((0.0, 0.1, 2.0, 8.0)))
        self._world.start_process(found)

    async def _crash_worker(self) -> None:
        number = self._random.choice(list(self._world.workers))
        place = self._world.workers[number].place
        if self._happens("worker crash", place, everywhere=False):
            self._world.loop.kill(place)
            del self._world.workers[number]
            await asyncio.sleep(self._random.choice((0.0, 0.1, 2.0)))
            self._world.start_worker(number)

    async def _pause(self) -> None:
        places = [one.place for one in self._world.processes.values()]
        places += [one.place for one in self._world.workers.values()]
        if places:
            place = self._random.choice(places)
            if self._happens("pause", place):
                self._world.loop.stand_still(place, self._random.choice((0.05, 1.0, 12.0, 40.0)))

    async def _cut_off(self) -> None:
        number = self._random.choice(list(self._world.workers))
        place = self._world.workers[number].place
        if self._happens("partition", place):
            self._world.network.cut_off.add(place)
            await asyncio.sleep(self._random.choice((0.5, 6.0, 20.0)))
            self._world.network.cut_off.discard(place)

    async def _restart(self) -> None:
        found = self._pick_process()
        if found is None or not self._happens("restart", self._world.processes[found].place):
            return
        await restart(self._world, found, self._random.choice((0.0, 0.5, 3.0)))

    async def _jump(self) -> None:
        seconds = self._random.choice((-15.0, -1.0, 2.0, 20.0, 60.0))
        if self._random.random() < 0.5:
            if self._happens("clock jumps", self._world.loop.world):
                self._stage.jump_seconds += seconds
            return
        processes = list(self._world.processes.values())
        if processes and self._happens("clock jumps", processes[0].place):
            self._stage.offsets[self._random.choice(processes).place.name] = seconds

    def _pick_process(self) -> int | None:
        processes = self._world.processes.items()
        open_ = [number for number, one in processes if one.is_open and not one.is_ending]
        return self._random.choice(open_) if open_ else None


async def restart(world: World, number: int, grace: float) -> None:
    """End a process as it should, and start it with what is deployed now."""
    process = world.processes[number]
    process.is_ending = True
    ended = world.loop.run_in(process.place, process.end(grace))
    _, still = await asyncio.wait({ended}, timeout=30)  # who is killed meanwhile never ends
    if still:
        world.stage.trace.say(f"{process.place.name} did not end, and is killed")
    if world.processes.get(number) is process:
        world.loop.kill(process.place)
        world.bury(world.processes.pop(number))
        world.start_process(number)


async def roll_out(world: World, deploy: Deploy, begins_at: float) -> None:
    """Give everybody new code, one after the other, while executions are under way."""
    await asyncio.sleep(max(begins_at + deploy.at - world.loop.now, 0))
    world.deploy(deploy.program)
    world.stage.trace.say(f"deploy of {deploy.program.name}: {deploy.edits}")
    random = world.stage.random
    for number in list(world.workers):
        await asyncio.sleep(random.uniform(0, 3))
        if number in world.workers:
            world.start_worker(number)  # the old one ends what it was called for
    for number in list(world.processes):
        await asyncio.sleep(random.uniform(0, 3))
        process = world.processes.get(number)
        if process is not None and process.is_open and not process.is_ending:
            grace = random.choice((0.0, 1.0, 30.0))
            world.stage.faults.note("deploy")
            await restart(world, number, grace)
    world.stage.trace.reach("code of two versions at once")
