"""Child contexts, `async def`."""

from __future__ import annotations

import asyncio
from typing import Any, Never

from durably import ChildConfig, ChildContextError, DurableContext
from tests.conformance.handlers.coroutines import fail, fail_before, gives, raises, same, steps_to
from tests.conformance.handlers.shared import LARGE, NO_RETRY, Loud, crash, retrying
from tests.conformance.suite import Suite

suite = Suite()


async def step_fails(ctx: DurableContext) -> Never:
    await ctx.step(None, fail, config=NO_RETRY)
    raise AssertionError("the step must fail")


async def step_then_wait(ctx: DurableContext, value: str) -> Any:
    result = await ctx.step(None, same, value)
    await ctx.wait(None, 1)
    return result


@suite.serves("3-1")
async def child_basic(text: str, ctx: DurableContext) -> Any:
    return await ctx.run_in_child_context(None, steps_to(text))


@suite.serves("3-2")
async def child_named(event: dict[str, str], ctx: DurableContext) -> Any:
    return await ctx.run_in_child_context(event["name"], steps_to(event["value"]))


@suite.serves("3-3")
async def child_of_two_steps(text: str, ctx: DurableContext) -> Any:
    async def both(child: DurableContext) -> Any:
        first = await child.step(None, same, text)
        return await child.step(None, same, first)

    return await ctx.run_in_child_context("both", both)


@suite.serves("3-4")
async def child_fails(_event: None, ctx: DurableContext) -> None:
    await ctx.run_in_child_context("failing", step_fails)


@suite.serves("3-5")
async def child_failure_caught(text: str, ctx: DurableContext) -> Any:
    try:
        await ctx.run_in_child_context(None, step_fails)
    except ChildContextError:
        return await ctx.step(None, same, text)
    raise AssertionError("the child must fail")


@suite.serves("3-6")
async def child_in_child(text: str, ctx: DurableContext) -> Any:
    async def outer(child: DurableContext) -> Any:
        await child.step(None, same, text)
        return await child.run_in_child_context("inner", steps_to(text))

    return await ctx.run_in_child_context("outer", outer)


@suite.serves("3-7")
async def child_step_retried(text: str, ctx: DurableContext) -> str:
    async def flaky(child: DurableContext) -> str:
        return await child.step(None, fail_before, 2, text, config=retrying(2))

    return await ctx.run_in_child_context("flaky", flaky)


@suite.serves("3-8")
async def child_step_retried_in_vain(_event: None, ctx: DurableContext) -> None:
    async def flaky(child: DurableContext) -> None:
        await child.step(None, fail, config=retrying(2))

    await ctx.run_in_child_context("flaky", flaky)


@suite.serves("3-9")
async def child_is_replayed(text: str, ctx: DurableContext) -> Any:
    result = await ctx.run_in_child_context(None, steps_to(text))
    await ctx.wait(None, 1)
    return result


@suite.serves("3-10")
async def child_of_step_and_wait(text: str, ctx: DurableContext) -> Any:
    return await ctx.run_in_child_context("mixed", step_then_wait, text)


@suite.serves("3-11")
async def child_of_large_result(text: str, ctx: DurableContext) -> int:
    async def large(child: DurableContext) -> str:
        child.logger.with_mode(mode_aware=False).info("the body runs: %s", text)
        small: str = await child.step(None, same, "x")
        return small * LARGE

    result = await ctx.run_in_child_context("large", large)
    await ctx.wait(None, 1)
    return len(result)


@suite.serves("3-12")
async def child_crashes_once(text: str, ctx: DurableContext) -> str:
    async def body(child: DurableContext) -> str:
        was_cut_off = child.is_replaying

        async def crash_once() -> str:
            if not was_cut_off:
                await asyncio.sleep(0.2)  # the start of the step is recorded meanwhile
                crash()
            return text

        return await child.step(None, crash_once)

    return await ctx.run_in_child_context(None, body)


@suite.serves("3-13")
async def child_of_wait(text: str, ctx: DurableContext) -> Any:
    async def pause(child: DurableContext) -> str:
        await child.wait(None, 1)
        return text

    return await ctx.step(None, same, await ctx.run_in_child_context("pause", pause))


@suite.serves("3-14")
async def child_with_serdes(text: str, ctx: DurableContext) -> Any:
    return await ctx.run_in_child_context("loud", steps_to(text), config=ChildConfig(serdes=Loud()))


@suite.serves("3-15")
async def child_fails_without_step(_event: None, ctx: DurableContext) -> None:
    await ctx.run_in_child_context("failing", raises)


@suite.serves("3-16")
async def child_of_null(_event: None, ctx: DurableContext) -> None:
    await ctx.run_in_child_context("nothing", gives(None))


@suite.serves("3-17")
async def child_that_logs(text: str, ctx: DurableContext) -> str:
    async def aloud(child: DurableContext) -> str:
        child.logger.with_mode(mode_aware=False).info("the body runs: %s", text)
        return text

    result = await ctx.run_in_child_context("aloud", aloud)
    await ctx.wait(None, 1)
    return result


@suite.serves("3-18")
async def child_and_more(text: str, ctx: DurableContext) -> Any:
    inner = await ctx.run_in_child_context("mixed", step_then_wait, text)
    return await step_then_wait(ctx, inner)
