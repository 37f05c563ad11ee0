"""How much is tried: points and orders, and that trying leaves nothing behind."""

import asyncio
from typing import Any

import pytest

from durably import DurableContext, ValidationError, durable_execution
from durably.testing import CrashMode, FailedRunError, TestEngine, UnfinishedRunError
from tests.kit.crashing import crashed, difference, order, pay
from tests.kit.functions import ALL, approve


async def test_one_point_is_tried_alone() -> None:
    report = await crashed(order, only="before pay StepSucceeded")

    assert report.points == ("before pay StepSucceeded",)
    assert report.orders == 1


async def test_an_order_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="only: must be as a failure names it"):
        await crashed(order, only="order of the day")


async def test_orders_are_left_alone_where_they_are_meant_to_matter() -> None:
    @durable_execution
    async def races(amount: int, ctx: DurableContext) -> str:
        async def run(name: str) -> str:
            return name

        winner: str = await ctx.race("first", [ctx.step(name, run, name) for name in "ab"])
        return winner

    report = await crashed(races, orders=False)
    said = await difference(races)

    assert report.orders == 1
    assert "With its steps in order 1:" in said


async def test_a_sample_takes_some_points_and_some_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durably.testing.crashes.SAMPLED_POINTS", 4)

    @durable_execution
    async def many(amount: int, ctx: DurableContext) -> int:
        async def one(child: DurableContext, item: int) -> str:
            return await child.step("pay", pay, item)

        return len((await ctx.map("all", range(5), one)).all)

    report = await crashed(many, mode=CrashMode.SAMPLE)

    assert 3 <= len(report.points) <= 4 < report.all_points
    assert report.orders == 11


async def test_all_orders_are_tried_if_they_are_few() -> None:
    orders: set[tuple[str, ...]] = set()
    arrived: list[str] = []

    @durable_execution
    async def gathers(amount: int, ctx: DurableContext) -> int:
        async def come(name: str) -> None:
            arrived.append(name)

        await asyncio.gather(*(ctx.step(name, come, name) for name in "abc"))
        orders.add(tuple(arrived))
        return 1

    async with TestEngine(functions=[gathers]) as t:
        report = await t.crash_everywhere(gathers, 5, reset=arrived.clear)

    assert report.orders == 6
    assert len({order for order in orders if len(order) == 3}) == 6


async def test_the_environment_says_how_much_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLY_CRASH", "off")
    nothing = await crashed(order)
    everything = await crashed(order, mode="all")
    monkeypatch.setenv("DURABLY_CRASH", "some")

    with pytest.raises(ValidationError, match="DURABLY_CRASH: must be all, sample"):
        await crashed(order)
    assert nothing.points == ()
    assert len(everything.points) == 14


async def test_a_function_that_fails_by_itself_proves_nothing() -> None:
    with pytest.raises(FailedRunError, match="order fails without any crash"):
        await crashed(order, lambda t: t.fail_step("pay", ValueError))
    async with TestEngine(functions=ALL) as t:
        with pytest.raises(UnfinishedRunError, match=r"approve.* has not ended"):
            await t.crash_everywhere(approve, "may I?")


async def test_bodies_that_wait_for_each_other_do_not_hang() -> None:
    met = asyncio.Barrier(2)

    @durable_execution
    async def meets(amount: int, ctx: DurableContext) -> int:
        async def come() -> None:
            await met.wait()

        await asyncio.gather(ctx.step("a", come), ctx.step("b", come))
        return 1

    report = await crashed(meets, mode="off")

    assert report.all_points > 0


@pytest.mark.usefixtures("nothing_is_left")
async def test_nothing_is_left_behind_and_the_loop_is_as_it_was() -> None:
    loop = asyncio.get_running_loop()
    tasks, factory = asyncio.all_tasks(), loop.get_task_factory()
    released: list[str] = []
    lock = asyncio.Lock()

    @durable_execution
    async def holds(amount: int, ctx: DurableContext) -> str:
        async def held() -> str:
            async with lock:
                try:
                    await asyncio.sleep(0)
                    return "held"
                finally:
                    released.append("held")
                    t.effect("released")

        task = asyncio.create_task(asyncio.sleep(0))
        result = await ctx.step("hold", held)
        await task
        return result

    async with TestEngine(functions=[holds]) as t:
        await t.crash_everywhere(holds, 5)

        assert t.effects == {"released": 1}
    assert released
    assert asyncio.all_tasks() == tasks
    assert loop.get_task_factory() is factory


async def test_a_task_factory_of_the_tests_own_is_used() -> None:
    loop = asyncio.get_running_loop()
    made: list[str] = []

    def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        made.append("task")
        return asyncio.Task(work, loop=loop, **options)

    loop.set_task_factory(make)
    try:
        await crashed(order, mode="off")
    finally:
        loop.set_task_factory(None)

    assert made
