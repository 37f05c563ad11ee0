"""Waits."""

from __future__ import annotations

from datetime import timedelta

from durably import DurableContext
from tests.conformance.suite import Suite

suite = Suite()


@suite.serves("2-1")
async def wait_basic(_event: None, ctx: DurableContext) -> None:
    await ctx.wait(None, 2)


@suite.serves("2-2")
async def wait_named(_event: None, ctx: DurableContext) -> None:
    await ctx.wait("custom_wait_name", 2)


@suite.serves("2-3")
async def wait_twice(_event: None, ctx: DurableContext) -> dict[str, int]:
    await ctx.wait("wait-1", 2)
    await ctx.wait("wait-2", 2)
    return {"completedWaits": 2}


@suite.serves("2-4")
async def wait_a_minute(_event: None, ctx: DurableContext) -> None:
    await ctx.wait(None, timedelta(minutes=1))


@suite.serves("2-5")
async def wait_an_hour(_event: None, ctx: DurableContext) -> None:
    await ctx.wait(None, timedelta(hours=1))
