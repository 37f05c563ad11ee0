"""Functions on this SDK, with a `def` and an `async def` handler each."""

import asyncio
import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from durably import (
    DurableContext,
    RetryPresets,
    StepConfig,
    SyncDurableContext,
    current_step,
    durable_execution,
)


def _net(event: Any) -> int:
    return int(event["pieces"] * 20)


def _gross(net: int) -> int:
    return round(net * 1.2)


@durable_execution
async def quote(event: Any, ctx: DurableContext) -> Any:
    net = await ctx.step("net", _net, event)
    await ctx.wait("settle", timedelta(seconds=1))
    return {"net": net, "gross": await ctx.step("gross", _gross, net)}


@durable_execution
def quote_sync(event: Any, ctx: SyncDurableContext) -> Any:
    net = ctx.step("net", _net, event)
    ctx.wait("settle", timedelta(seconds=1))
    return {"net": net, "gross": ctx.step("gross", _gross, net)}


@durable_execution
async def chain(event: Any, ctx: DurableContext) -> Any:
    calls = [ctx.invoke("call", target, event["payload"]) for target in event["targets"]]
    return await asyncio.gather(*calls)


@durable_execution
def chain_sync(event: Any, ctx: SyncDurableContext) -> Any:
    return [ctx.invoke("call", target, event["payload"]) for target in event["targets"]]


def _slow() -> int:
    attempt = current_step().attempt
    if attempt == 1:
        threading.Event().wait(60)
    return attempt


PATIENT = StepConfig[int](retry_strategy=RetryPresets.fixed(1))


@durable_execution
async def slow(event: Any, ctx: DurableContext) -> int:
    return await ctx.step("slow", _slow, config=PATIENT)


@durable_execution
def slow_sync(event: Any, ctx: SyncDurableContext) -> int:
    return ctx.step("slow", _slow, config=PATIENT)


def _work() -> str:
    if not Path("pid").exists():
        Path("pid").write_text(str(os.getpid()))
        threading.Event().wait()  # for its death
    return "survived"


@durable_execution
async def fragile(event: Any, ctx: DurableContext) -> str:
    return await ctx.step("work", _work)


@durable_execution
def fragile_sync(event: Any, ctx: SyncDurableContext) -> str:
    return ctx.step("work", _work)
