"""Combinators over futures that are still open, and branches with names."""

import asyncio
from typing import Any

import pytest

from durably import NamedParallelBranch
from durably.drivers.futures import Returned, Suspended
from durably.errors import TerminationReason
from tests.unit.drivers.support import Trial

# Combinators over futures that are still open


def test_a_race_is_won_by_the_first_future_and_the_losers_are_given_up() -> None:
    async def handler(ctx: Any) -> Any:
        async def slow() -> None:
            await asyncio.get_running_loop().create_future()

        async def quick() -> str:
            return "quick"

        return await ctx.race("r", [ctx.step("slow", slow), ctx.step("quick", quick)])

    execution = Trial(handler, "pushing")

    assert execution.invoke() == Returned("quick")
    assert execution.invoke() == Returned("quick")
    assert execution.backend.sent.count("START quick") == 1


def test_all_of_many_futures_is_linear_and_in_order() -> None:
    async def handler(ctx: Any) -> Any:
        async def body(number: int) -> int:
            await asyncio.sleep(0)
            return number

        futures = [ctx.step(f"{number}", body, number) for number in range(200)]
        return await ctx.all("all", futures)

    assert Trial(handler, "pushing").invoke() == Returned(list(range(200)))


def test_a_combinator_over_what_sleeps_suspends_and_goes_on() -> None:
    async def handler(ctx: Any) -> Any:
        return await ctx.any("first", [ctx.wait("long", 100), ctx.wait("short", 10)])

    execution = Trial(handler)

    assert execution.invoke() == Suspended(TerminationReason.WAIT_SCHEDULED)
    execution.backend.pass_time()
    assert execution.invoke() == Returned(None)


def test_a_combinator_over_futures_that_were_all_cancelled_is_cancelled() -> None:
    async def handler(ctx: Any) -> str:
        future = ctx.step("slow", asyncio.get_running_loop().create_future)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)
        with pytest.raises(asyncio.CancelledError):
            await ctx.all("all", [future])
        return "went on"

    assert Trial(handler, "pushing").invoke() == Returned("went on")


def test_named_branches_are_recorded_under_their_names() -> None:
    async def handler(ctx: Any) -> Any:
        branches = [NamedParallelBranch("tax", lambda _: 1), lambda _: 2]
        return (await ctx.parallel("p", branches)).results()

    execution = Trial(handler)

    assert execution.invoke() == Returned([1, 2])
    assert [sent for sent in execution.backend.sent if sent.startswith("START")] == [
        "START p",
        "START tax",
        "START parallel-branch-1",
    ]
