"""Both kinds of handler see the same of an operation, and on a replay the same as at first."""

from typing import Any

from durably import (
    ChildConfig,
    DurableContext,
    PromiseCombinatorError,
    RetryPresets,
    StepConfig,
    SyncDurableContext,
    durable_execution,
)
from durably.testing import TestEngine

ONCE = StepConfig[Any](retry_strategy=RetryPresets.none())


def refuse() -> None:
    raise OSError("no")


@durable_execution
async def one_of(event: Any, ctx: DurableContext) -> Any:
    try:
        await ctx.any("any", [ctx.step(name, refuse, config=ONCE) for name in "ab"])
    except PromiseCombinatorError as failed:
        return [failed.error_type, str(failed), failed.operation]


@durable_execution
def one_of_blocking(event: Any, ctx: SyncDurableContext) -> Any:
    def branch(ctx: SyncDurableContext) -> None:
        ctx.step("s", refuse, config=ONCE)

    try:
        ctx.any("any", [branch, branch])
    except PromiseCombinatorError as failed:
        return [failed.error_type, str(failed), failed.operation]


async def test_a_combinator_that_fails_tells_the_same_to_both_kinds_of_handler() -> None:
    async with TestEngine(functions=[one_of, one_of_blocking]) as t:
        said = [(await t.run(function)).result for function in (one_of, one_of_blocking)]

    assert said[0] == said[1] == ["PromiseCombinatorError", "none of 2 succeeded: no; no", "any"]


def text_of(size: int) -> str:
    return "x" * size


VIRTUAL = ChildConfig[Any](is_virtual=True)


@durable_execution
async def large(event: Any, ctx: DurableContext) -> int:
    async def inside(ctx: DurableContext) -> str:
        return await ctx.step("s", text_of, 300_000)

    async def child(ctx: DurableContext) -> str:
        return await ctx.run_in_child_context("virtual", inside, config=VIRTUAL)

    text = await ctx.run_in_child_context("child", child)
    await ctx.wait("w", 1)
    return len(text)


@durable_execution
def large_blocking(event: Any, ctx: SyncDurableContext) -> int:
    def inside(ctx: SyncDurableContext) -> str:
        return ctx.step("s", text_of, 300_000)

    def child(ctx: SyncDurableContext) -> str:
        return ctx.run_in_child_context("virtual", inside, config=VIRTUAL)

    text = ctx.run_in_child_context("child", child)
    ctx.wait("w", 1)
    return len(text)


async def test_a_large_child_is_made_anew_with_the_virtual_ones_in_it() -> None:
    async with TestEngine(functions=[large, large_blocking]) as t:
        said = [(await t.run(function)).result for function in (large, large_blocking)]

    assert said == [300_000, 300_000]
