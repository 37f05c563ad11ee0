"""Callbacks with a submitter."""

from __future__ import annotations

from typing import Any

from durably import CallbackError, DurableContext, JsonSerdes, WaitForCallbackConfig
from tests.conformance.handlers.coroutines import fail, same
from tests.conformance.handlers.shared import backoff
from tests.conformance.suite import Suite

suite = Suite()


async def submit(_callback_id: str) -> None:
    """Tell nobody: the validator finds the callback in the history."""


async def _answer(ctx: DurableContext, name: str | None, **config: Any) -> Any:
    return await ctx.wait_for_callback(name, submit, config=WaitForCallbackConfig(**config))


@suite.serves("7-1")
async def wait_for_callback_basic(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name)


@suite.serves("7-2")
async def wait_for_callback_named(_event: Any, ctx: DurableContext) -> Any:
    return await _answer(ctx, "approval")


@suite.serves("7-3")
async def wait_for_callback_anonymous(_event: Any, ctx: DurableContext) -> Any:
    return await ctx.wait_for_callback(None, lambda _callback_id: None)


@suite.serves("7-4")
async def wait_for_callback_fails(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name)


@suite.serves("7-5")
async def wait_for_callback_times_out(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name, timeout=3)


@suite.serves("7-6")
async def wait_for_callback_failure_caught(name: str, ctx: DurableContext) -> Any:
    try:
        return await _answer(ctx, name)
    except CallbackError:
        return "recovered"


@suite.serves("7-7")
async def wait_for_callback_submitter_fails(name: str, ctx: DurableContext) -> Any:
    config: WaitForCallbackConfig[str] = WaitForCallbackConfig(retry_strategy=backoff(2))
    return await ctx.wait_for_callback(name, fail, config=config)


@suite.serves("7-8")
async def wait_for_callback_in_child(name: str, ctx: DurableContext) -> Any:
    return await ctx.run_in_child_context("wrapper", _answer, name)


@suite.serves("7-9")
async def wait_for_callback_twice(_event: Any, ctx: DurableContext) -> Any:
    await _answer(ctx, "first")
    return await _answer(ctx, "second")


@suite.serves("7-10")
async def wait_for_callback_after_others(name: str, ctx: DurableContext) -> Any:
    await ctx.wait(None, 1)
    await ctx.step(None, same, "fixed")
    return await _answer(ctx, name)


@suite.serves("7-11")
async def wait_for_callback_of_object(name: str, ctx: DurableContext) -> Any:
    return (await _answer(ctx, name, serdes=JsonSerdes()))["status"]


@suite.serves("7-12")
async def wait_for_callback_misses_heartbeat(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name, heartbeat_timeout=5)


@suite.serves("7-13")
async def wait_for_callback_with_heartbeat(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name, heartbeat_timeout=10)


@suite.serves("7-14")
async def wait_for_callback_timeout_caught(name: str, ctx: DurableContext) -> Any:
    try:
        return await _answer(ctx, name, timeout=3)
    except CallbackError:
        return "timed-out-handled"


@suite.serves("7-15")
async def wait_for_callback_of_nothing(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name)
