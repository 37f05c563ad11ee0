"""What was recorded, `old`, and code that asks for something else in one way or the other."""

from __future__ import annotations

import sys
from typing import Any

from durably import (
    DurableContext,
    StepConfig,
    StepError,
    SyncDurableContext,
    durable_execution,
)
from durably.retries import RetryPresets


def give(value: Any = None) -> Any:
    return value


@durable_execution
async def old(event: Any, ctx: DurableContext) -> Any:
    first = await ctx.step("charge", give, {"paid": 3})
    await ctx.wait("pause", 60)
    return first


@durable_execution
async def renamed(event: Any, ctx: DurableContext) -> Any:
    first = await ctx.step("refund", give)  # renamed
    await ctx.wait("pause", 60)
    return first


@durable_execution
async def longer(event: Any, ctx: DurableContext) -> Any:
    first = await ctx.step("charge", give)
    await ctx.wait("pause", 60)
    await ctx.step("notify", give)  # longer
    return first


@durable_execution
async def richer(event: Any, ctx: DurableContext) -> Any:
    first = await ctx.step("charge", give)
    await ctx.wait("pause", 60)
    return {"charge": first}


@durable_execution
async def shorter(event: Any, ctx: DurableContext) -> Any:
    return await ctx.step("charge", give)


@durable_execution
async def raising(event: Any, ctx: DurableContext) -> Any:
    first = await ctx.step("charge", give)
    return first["price"]  # raises


@durable_execution
async def raising_late(event: Any, ctx: DurableContext) -> Any:
    first = await ctx.step("charge", give)
    await ctx.wait("pause", 60)
    return first["price"]


@durable_execution
async def typed(event: Any, ctx: DurableContext) -> Any:
    def charge() -> int:
        return 3

    await ctx.step("charge", charge)  # typed
    await ctx.wait("pause", 60)


@durable_execution
async def leaving(event: Any, ctx: DurableContext) -> Any:
    sys.exit(3)  # leaves


@durable_execution
async def typed_input(event: int, ctx: DurableContext) -> Any:
    await ctx.step("charge", give)


@durable_execution
def blocking(event: Any, ctx: SyncDurableContext) -> Any:
    first = ctx.step("refund", give)  # blocking
    ctx.wait("pause", 60)
    return first


@durable_execution
async def failing(event: Any, ctx: DurableContext) -> None:
    def fail() -> None:
        raise ConnectionError("no route")

    await ctx.step("fail", fail, config=StepConfig(retry_strategy=RetryPresets.none()))


@durable_execution
async def mended(event: Any, ctx: DurableContext) -> str:
    try:
        await ctx.step("fail", give)
    except StepError:
        return "mended"
    return "fine"
