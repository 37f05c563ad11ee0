"""Durable functions for the tests of the test kit."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from durably import (
    CallbackConfig,
    DurableContext,
    RetryDecision,
    StepConfig,
    SyncDurableContext,
    WaitForConditionConfig,
    WaitForConditionDecision,
    durable_execution,
)

YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Parcel:
    """What is sent."""

    item: str
    weight: int = 1


def again(error: Exception, attempts_made: int) -> RetryDecision:
    """Try again after a minute, three times in all."""
    return RetryDecision(should_retry=attempts_made < 3, delay=60)


RETRIED: StepConfig[object] = StepConfig(retry_strategy=again)


async def pack(item: str) -> Parcel:
    """Do some work."""
    return Parcel(item)


def wrap(item: str) -> Parcel:
    """Do some work, blocking."""
    return Parcel(item)


def label(parcel: Parcel) -> str:
    """Do some more, blocking."""
    return f"label of {parcel.item}"


@durable_execution
async def yearly(name: str, ctx: DurableContext) -> str:
    """Sleep for a year."""
    await ctx.wait("a year", YEAR)
    return f"Happy new year, {name}"


@durable_execution
async def ship(items: list[str], ctx: DurableContext) -> list[str]:
    """Do the same for many, with contexts inside."""

    async def one(child: DurableContext, item: str) -> str:
        parcel = await child.step("pack", pack, item)
        await child.wait("dry", 60)
        return await child.step("label", label, parcel)

    return (await ctx.map("ship", items, one)).results()


@durable_execution
async def approve(question: str, ctx: DurableContext) -> str:
    """Wait for somebody."""
    answer: str = await ctx.wait_for_callback("approval", ask)
    return answer


async def ask(callback_id: str) -> None:
    """Tell nobody."""


@durable_execution
async def hurry(question: str, ctx: DurableContext) -> str:
    """Wait for somebody, but not for long."""
    callback = await ctx.create_callback("answer", CallbackConfig(timeout=timedelta(hours=1)))
    answer: str = await callback.result()
    return answer


@durable_execution
async def asks_ship(items: list[str], ctx: DurableContext) -> int:
    """Have another function do it."""
    labels = await ctx.invoke("shipping", "ship", items)
    return len(labels)


@durable_execution
async def beside(number: int, ctx: DurableContext) -> list[object]:
    """Wait in a gather, so that nobody can say for certain that nothing goes on."""
    first, second, parcel = await asyncio.gather(
        ctx.wait("a", 60), ctx.wait("b", 120), ctx.step("pack", pack, "x")
    )
    return [first, second, parcel.item]


@durable_execution
def plain(item: str, ctx: SyncDurableContext) -> str:
    """Do it all in threads."""
    parcel = ctx.step("pack", wrap, item)
    ctx.wait("dry", timedelta(hours=1))

    def one(child: SyncDurableContext, number: int) -> str:
        child.wait("a moment", number)
        return child.step("label", label, parcel)

    return ctx.map("labels", [1, 2], one).results()[1]


@durable_execution
async def polls(times: int, ctx: DurableContext) -> int:
    """Look again every day."""

    def decide(seen: int, attempt: int) -> WaitForConditionDecision:
        return WaitForConditionDecision(should_continue=seen < times, delay=timedelta(days=1))

    config = WaitForConditionConfig(wait_strategy=decide, initial_state=0)
    return await ctx.wait_for_condition("ready", look, config)


async def look(seen: int) -> int:
    """Look once more."""
    return seen + 1


ALL = [yearly, ship, approve, hurry, asks_ship, beside, plain, polls]
