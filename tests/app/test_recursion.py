"""Code that recurses too deep: a typed error that it can catch, and nothing recorded by halves."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from durably import (
    ContextUsageError,
    DurableContext,
    Engine,
    ExecutionFailedError,
    RetryPresets,
    StepConfig,
    StepError,
    SyncDurableContext,
    durable_execution,
)
from durably.limits import MAX_NESTING

ONCE = StepConfig[Any](retry_strategy=RetryPresets.none())
DEEP = 2_000
NEARLY_ALL = sys.getrecursionlimit() - 130  # what runs the test needs some


async def nest(ctx: DurableContext, depth: int) -> int:
    return await ctx.run_in_child_context("c", nest, depth - 1) + 1 if depth else 0


async def nest_in_tasks(ctx: DurableContext, depth: int) -> int:
    """As `nest`, and each level in a task of its own, so that no stack is in the way."""
    if not depth:
        await ctx.wait("w", 60)
        return 0
    [below] = await asyncio.gather(ctx.run_in_child_context("c", nest_in_tasks, depth - 1))
    return below + 1


async def nest_in_branches(ctx: DurableContext, depth: int) -> int:
    if not depth:
        return 0
    batch = await ctx.map("m", [depth - 1], nest_in_branches)
    batch.throw_if_error()
    return batch.results()[0] + 1


async def nest_with_helpers(ctx: DurableContext, depth: int, helpers: int = 20) -> int:
    if helpers:
        return await nest_with_helpers(ctx, depth, helpers - 1)
    return await ctx.run_in_child_context("c", nest_with_helpers, depth - 1) + 1 if depth else 0


async def step_below(ctx: DurableContext, depth: int) -> int:
    return await step_below(ctx, depth - 1) if depth else await ctx.step("s", lambda: 1)


def nest_sync(ctx: SyncDurableContext, depth: int) -> int:
    return ctx.run_in_child_context("c", nest_sync, depth - 1) + 1 if depth else 0


def nest_sync_in_branches(ctx: SyncDurableContext, depth: int) -> int:
    if not depth:
        return 0
    batch = ctx.map("m", [depth - 1], nest_sync_in_branches)
    batch.throw_if_error()
    return batch.results()[0] + 1


def step_below_sync(ctx: SyncDurableContext, depth: int) -> int:
    return step_below_sync(ctx, depth - 1) if depth else ctx.step("s", lambda: 1)


class NeverRaisedError(Exception):
    pass


def handler_of(recurse: Callable[..., Any], catch: type[Exception] = NeverRaisedError) -> Any:
    """Make a durable function that recurses as deep as its input says."""
    if asyncio.iscoroutinefunction(recurse):

        async def handler(depth: int, ctx: DurableContext) -> int:
            try:
                return int(await recurse(ctx, depth))
            except catch:
                return await ctx.step("after", lambda: -1)
    else:

        def handler(depth: int, ctx: SyncDurableContext) -> int:  # type: ignore[misc]  # the other kind
            try:
                return int(recurse(ctx, depth))
            except catch:
                return ctx.step("after", lambda: -1)

    return durable_execution(handler)


@pytest.fixture
async def _untraced() -> AsyncIterator[None]:
    """Let nobody trace: a call that is traced takes more of the stack than its frame shows."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize(
    ("recurse", "depth", "said"),
    [
        (nest, DEEP, "inside of 64 others"),
        (nest_in_tasks, DEEP, "inside of 64 others"),
        (nest_in_branches, DEEP, "inside of 64 others"),
        (nest_with_helpers, DEEP, "less than 150 calls were left"),
        (step_below, NEARLY_ALL, "less than 150 calls were left"),
        (nest_sync, DEEP, "inside of 64 others"),
        (nest_sync_in_branches, DEEP, "inside of 64 others"),
        (step_below_sync, NEARLY_ALL, "less than 150 calls were left"),
    ],
)
async def test_too_deep_a_recursion_is_an_error_of_the_call_that_can_be_caught(
    recurse: Callable[..., Any], depth: int, said: str
) -> None:
    fails, catches = handler_of(recurse), handler_of(recurse, ContextUsageError)
    fails.name, catches.name = "fails", "catches"
    async with Engine("memory:", [fails, catches]) as engine:
        failed, caught = await engine.start(fails, depth), await engine.start(catches, depth)

        with pytest.raises(ExecutionFailedError, match=f"ContextUsageError: .*{said}"):
            await failed.result(5)
        assert await caught.result(5) == -1
        assert [(await run.describe()).failures for run in (failed, caught)] == [0, 0]


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize(
    ("recurse", "depth"),
    [
        (nest, MAX_NESTING),
        (nest_in_branches, MAX_NESTING),
        (nest_sync, MAX_NESTING),
        (nest_sync_in_branches, MAX_NESTING),
    ],
)
async def test_contexts_lie_in_one_another_as_deep_as_is_said(
    recurse: Callable[..., Any], depth: int
) -> None:
    handler = handler_of(recurse)
    async with Engine("memory:", [handler]) as engine:
        assert await (await engine.start(handler, depth)).result(5) == depth


def endless() -> int:
    return endless() + 1


async def endless_async() -> int:
    return await endless_async() + 1


@durable_execution
async def recursing(event: str, ctx: DurableContext) -> str | None:
    body: Any = {"def": endless, "async def": endless_async}[event]
    try:
        await ctx.step("s", body, config=ONCE)
    except StepError as error:
        return error.error_type
    return None


@durable_execution
def recursing_sync(event: str, ctx: SyncDurableContext) -> str | None:
    body: Any = {"def": endless, "async def": endless_async}[event]
    try:
        ctx.step("s", body, config=ONCE)
    except StepError as error:
        return error.error_type
    return None


@pytest.mark.parametrize("function", [recursing, recursing_sync], ids=["async", "sync"])
@pytest.mark.parametrize("event", ["def", "async def"])
async def test_a_step_that_recurses_without_end_fails_as_any_other(
    function: Any, event: str
) -> None:
    async with Engine("memory:", [function]) as engine:
        run = await engine.start(function, event)

        assert await run.result(5) == "RecursionError"
        assert (await run.describe()).failures == 0
