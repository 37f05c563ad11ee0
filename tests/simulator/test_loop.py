"""The loop that simulated worlds run in: the same for the same seed, and nobody's but its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from tests.simulator.loop import Place, SimulatedLoop, Stuck
from tests.simulator.policies import (
    AnyOne,
    InOrder,
    Newest,
    Policy,
    Priorities,
    RoundRobin,
    StarveOne,
)

POLICIES: dict[str, Callable[[Random], Policy]] = {
    "in order": lambda _: InOrder(),
    "any one": AnyOne,
    "newest": Newest,
    "round robin": lambda _: RoundRobin(),
    "priorities": Priorities,
    "starve one": StarveOne,
}


def run(
    main: Callable[[SimulatedLoop], Coroutine[Any, Any, Any]],
    policy: Policy | None = None,
    seed: int = 1,
) -> SimulatedLoop:
    loop = SimulatedLoop(policy or InOrder(), Random(seed))
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.bury()
    return loop


def story_of(make: Callable[[Random], Policy], seed: int) -> tuple[list[int], int]:
    story: list[int] = []

    async def walk(number: int) -> None:
        for _ in range(30):
            await asyncio.sleep(0.01 * (number % 3))
            story.append(number)

    async def main(_: SimulatedLoop) -> None:
        await asyncio.gather(*(walk(number) for number in range(8)))

    loop = run(main, make(Random(seed)), seed)
    return story, loop.digest


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_seed_gives_the_same_order(name: str) -> None:
    assert story_of(POLICIES[name], 5) == story_of(POLICIES[name], 5)


@pytest.mark.parametrize("name", sorted(POLICIES.keys() - {"in order", "round robin"}))
def test_another_seed_gives_another_order(name: str) -> None:
    stories = [story_of(POLICIES[name], seed)[0] for seed in range(3)]

    assert stories[0] != stories[1] or stories[1] != stories[2]


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_lets_everything_run_in_the_end(name: str) -> None:
    story, _ = story_of(POLICIES[name], 9)

    assert sorted(story) == sorted(list(range(8)) * 30)


def test_time_jumps_to_what_is_due_next() -> None:
    async def main(loop: SimulatedLoop) -> None:
        await asyncio.sleep(366 * 86_400)
        assert loop.now >= 366 * 86_400

    run(main)


def test_a_place_has_a_clock_that_goes_its_own_way() -> None:
    fast = Place("fast", rate=2.0)

    async def sleep() -> float:
        await asyncio.sleep(10)
        return asyncio.get_running_loop().time()

    async def main(loop: SimulatedLoop) -> None:
        loop.add_place(fast)
        assert await loop.run_in(fast, sleep()) == pytest.approx(10, abs=0.1)
        assert loop.now == pytest.approx(5, abs=0.1)

    run(main)


def test_what_is_dead_does_nothing_more_not_even_to_end_well() -> None:
    place, done = Place("mortal"), list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(1)
            done.append("work")
        finally:
            done.append("end")

    async def main(loop: SimulatedLoop) -> None:
        loop.add_place(place)
        loop.run_in(place, work())
        await asyncio.sleep(0.5)
        loop.kill(place)
        await asyncio.sleep(10)
        assert done == []

    run(main)


def test_what_stands_still_goes_on_afterwards() -> None:
    place, at = Place("slow"), list[float]()

    async def work(loop: SimulatedLoop) -> None:
        await asyncio.sleep(1)
        at.append(loop.now)

    async def main(loop: SimulatedLoop) -> None:
        loop.add_place(place)
        work_done = loop.run_in(place, work(loop))
        await asyncio.sleep(0.5)
        loop.stand_still(place, 100)
        await work_done

    run(main)

    assert at == [pytest.approx(100.5, abs=0.1)]


def test_a_world_in_which_nothing_can_happen_any_more_is_stuck() -> None:
    async def main(loop: SimulatedLoop) -> None:
        await loop.create_future()

    with pytest.raises(Stuck):
        run(main)


def test_what_nobody_takes_is_kept() -> None:
    async def main(loop: SimulatedLoop) -> None:
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    assert "ZeroDivisionError" in run(main).failures[0]
