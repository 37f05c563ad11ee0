"""The durable functions that are measured. Most time themselves, from inside."""

from __future__ import annotations

import asyncio
from time import perf_counter

from durably import DurableContext, SyncDurableContext, durable_execution

DAY_SECONDS = 86_400
YEAR_SECONDS = 365 * DAY_SECONDS

callback_ids: dict[str, asyncio.Future[str]] = {}
"""Where `answered` says under which id it waits, by the key it was started with."""

woken_at: dict[str, float] = {}
"""When it went on, likewise."""


def seconds() -> float:
    """Read the clock by which these functions measure themselves, within one invocation."""
    return perf_counter()  # durably: allow[clock] no replay sees what is measured


async def plus_one(number: int) -> int:
    """Be the body of a step that costs nothing."""
    return number + 1


def plus_one_blocking(number: int) -> int:
    """Be the same for `def` handlers."""
    return number + 1


@durable_execution
async def steps(count: int, ctx: DurableContext) -> float:
    """Make *count* steps, one after the other; give the seconds for one."""
    began = seconds()
    for number in range(count):
        await ctx.step("add", plus_one, number)
    return (seconds() - began) / max(count, 1)


@durable_execution
def blocking_steps(count: int, ctx: SyncDurableContext) -> float:
    """Make *count* steps, blocking; give the seconds for one."""
    began = seconds()
    for number in range(count):
        ctx.step("add", plus_one_blocking, number)
    return (seconds() - began) / max(count, 1)


@durable_execution
async def three_steps(number: int, ctx: DurableContext) -> int:
    """Make three steps, one after the other."""
    for _ in range(3):
        number = await ctx.step("add", plus_one, number)
    return number


@durable_execution
async def adds(count: int, ctx: DurableContext) -> int:
    """Make *count* steps, one after the other, and come to the same in every replay."""
    number = 0
    for _ in range(count):
        number = await ctx.step("add", plus_one, number)
    return number


@durable_execution
async def sleeps(count: int, ctx: DurableContext) -> int:
    """Sleep for *count* days, one after the other."""
    for _ in range(count):
        await ctx.wait("sleep", DAY_SECONDS)
    return count


async def _item(_ctx: DurableContext, item: int) -> int:
    return item + 1


async def _item_with_step(ctx: DurableContext, item: int) -> int:
    return await ctx.step("add", plus_one, item)


@durable_execution
async def mapped(count: int, ctx: DurableContext) -> float:
    """Map over *count* items; give the seconds for one."""
    began = seconds()
    batch = await ctx.map("items", range(count), _item)
    taken = seconds() - began
    assert len(batch.results()) == count
    return taken / count


@durable_execution
async def mapped_steps(count: int, ctx: DurableContext) -> float:
    """Map over *count* items with a step in each; give the seconds for one."""
    began = seconds()
    batch = await ctx.map("items", range(count), _item_with_step)
    taken = seconds() - began
    assert len(batch.results()) == count
    return taken / count


@durable_execution
async def sleeper(seconds: int, ctx: DurableContext) -> float:
    """Sleep; give when it woke, on the clock that timers are kept by."""
    from time import time  # noqa: PLC0415, TID251 - the clock by which a timer is late

    await ctx.wait("sleep", seconds)
    return time()  # durably: allow[clock] how late the timer is, is what is measured


@durable_execution
async def answered(key: str, ctx: DurableContext) -> None:
    """Wait for a callback, and note when it goes on."""
    callback = await ctx.create_callback("answer")
    waiting = callback_ids[key]
    if not waiting.done():
        waiting.set_result(callback.callback_id)
    await callback.result()
    woken_at[key] = seconds()  # durably: allow[global-state] only the benchmark reads it
