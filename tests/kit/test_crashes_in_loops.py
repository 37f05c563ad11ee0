"""A crash everywhere leaves the event loop of the test to the test."""

import asyncio
from typing import Any

from durably import DurableContext, durable_execution
from tests.kit.test_crashes import crashed, order


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
