"""Callbacks."""

from __future__ import annotations

from typing import Any

from durably import CallbackConfig, CallbackError, DurableContext
from tests.conformance.handlers.coroutines import same
from tests.conformance.handlers.shared import Message, Number
from tests.conformance.suite import Suite

suite = Suite()


async def _answer(ctx: DurableContext, name: str, **config: Any) -> Any:
    callback = await ctx.create_callback(name, CallbackConfig(**config))
    return await callback.result()


@suite.serves("4-1")
async def callback_basic(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name)


@suite.serves("4-2")
async def callback_named(_event: None, ctx: DurableContext) -> Any:
    return await _answer(ctx, "approval")


@suite.serves("4-3")
async def callback_times_out(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name, timeout=5)


@suite.serves("4-4")
async def callback_misses_heartbeat(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name, heartbeat_timeout=5)


@suite.serves("4-5")
async def callback_with_heartbeat(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name, heartbeat_timeout=10)


@suite.serves("4-6")
async def callback_fails(name: str, ctx: DurableContext) -> Any:
    return await _answer(ctx, name)


async def _step_between(ctx: DurableContext, name: str, **config: Any) -> Any:
    callback = await ctx.create_callback(name, CallbackConfig(**config))
    await ctx.step(None, same, "between")
    return await callback.result()


@suite.serves("4-7")
async def callback_fails_after_step(name: str, ctx: DurableContext) -> Any:
    return await _step_between(ctx, name)


@suite.serves("4-8")
async def callback_times_out_after_step(name: str, ctx: DurableContext) -> Any:
    return await _step_between(ctx, name, timeout=5)


async def _wait_between(ctx: DurableContext, name: str, seconds: int, **config: Any) -> Any:
    callback = await ctx.create_callback(name, CallbackConfig(**config))
    await ctx.wait(None, seconds)
    return await callback.result()


@suite.serves("4-9")
async def callback_succeeds_during_wait(name: str, ctx: DurableContext) -> Any:
    return await _wait_between(ctx, name, 5)


@suite.serves("4-10")
async def callback_fails_during_wait(name: str, ctx: DurableContext) -> Any:
    return await _wait_between(ctx, name, 5)


@suite.serves("4-11")
async def callback_times_out_during_wait(name: str, ctx: DurableContext) -> Any:
    return await _wait_between(ctx, name, 6, timeout=3)


@suite.serves("4-12")
async def callback_then_wait(name: str, ctx: DurableContext) -> Any:
    answer = await _answer(ctx, name)
    await ctx.wait(None, 2)
    return answer


async def _caught(ctx: DurableContext, name: str, **config: Any) -> str:
    message = "nothing was wrong"
    try:
        await _answer(ctx, name, **config)
    except CallbackError as error:
        message = f"caught: {error}"
    await ctx.wait(None, 2)
    return message


@suite.serves("4-13")
async def callback_failure_caught(name: str, ctx: DurableContext) -> str:
    return await _caught(ctx, name)


@suite.serves("4-14")
async def callback_timeout_caught(name: str, ctx: DurableContext) -> str:
    return await _caught(ctx, name, timeout=3)


@suite.serves("4-15")
async def callback_with_message(name: str, ctx: DurableContext) -> dict[str, Any]:
    return {"received": await _answer(ctx, name, serdes=Message())}


@suite.serves("4-16")
async def callback_with_number(name: str, ctx: DurableContext) -> dict[str, int]:
    count = await _answer(ctx, name, serdes=Number())
    return {"count": count, "doubled": count * 2}


@suite.serves("4-17")
async def callback_after_callback(names: list[str], ctx: DurableContext) -> list[Any]:
    return [await _answer(ctx, name) for name in names]


@suite.serves("4-18")
async def callbacks_in_order(names: list[str], ctx: DurableContext) -> list[Any]:
    callbacks = [await ctx.create_callback(name) for name in names]
    return [await callback.result() for callback in callbacks]


@suite.serves("4-19")
async def callbacks_in_reverse(names: list[str], ctx: DurableContext) -> list[Any]:
    first, second = [await ctx.create_callback(name) for name in names]
    answer = await second.result()
    return [await first.result(), answer]
