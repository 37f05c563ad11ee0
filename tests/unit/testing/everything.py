"""Every operation, in both flavours; whatever runs the body of a step is counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from durably import (
    CompletionConfig,
    DurableContext,
    MapConfig,
    RetryDecision,
    StepConfig,
    StepSemantics,
    SyncDurableContext,
    WaitForConditionConfig,
    WaitForConditionDecision,
    WithRetryConfig,
    current_step,
    durable_execution,
)

ENTERED: Counter[str] = Counter()


def enter(name: str) -> str:
    ENTERED[name] += 1
    return name


def flaky(name: str) -> str:
    """Fail in the first two attempts."""
    if current_step().attempt <= 2:
        ENTERED[name] += 1
        raise ConnectionError(name)
    return enter(name)


def again(error: Exception, attempts: int) -> RetryDecision:
    return RetryDecision.retry(5) if attempts < 4 else RetryDecision.no_retry()


def wait_till_three(state: int, attempts: int) -> WaitForConditionDecision:
    if state >= 3:
        return WaitForConditionDecision.stop_polling()
    return WaitForConditionDecision.continue_waiting(5)


def check(state: int) -> int:
    ENTERED["check"] += 1
    return state + 1


def ask(callback_id: str) -> None:
    ENTERED["ask"] += 1


RETRIED = StepConfig[Any](retry_strategy=again)
ONCE = StepConfig[Any](semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)
POLLED = WaitForConditionConfig[int](initial_state=0, wait_strategy=wait_till_three)
FIRST = MapConfig(max_concurrency=2, completion_config=CompletionConfig(min_successful=1))
ROUNDS = WithRetryConfig(retry_strategy=again)


@durable_execution
async def everything(event: dict[str, Any], ctx: DurableContext) -> dict[str, Any]:
    async def item(inner: DurableContext, number: int) -> str:
        await inner.step("item", enter, f"item {number}")
        await inner.wait("rest", 60)
        return await inner.step("after", enter, f"after {number}")

    async def attempt(inner: DurableContext, number: int) -> str:
        await inner.step("round", enter, f"round {number}")
        if number < 2:
            raise ValueError(number)
        return "round"

    async def large(inner: DurableContext) -> str:
        await inner.step("in large", enter, "large")
        return "x" * 300_000

    first = await ctx.step("first", enter, "first", config=ONCE)
    await ctx.step("flaky", flaky, "flaky", config=RETRIED)
    await ctx.wait("pause", 3600)
    answer = await ctx.wait_for_callback("approval", ask)
    callback = await ctx.create_callback("open")
    opened = await callback.result()
    count = await ctx.wait_for_condition("condition", check, POLLED)
    invoked = await ctx.invoke("other", "other-function", {"n": 1})
    parcels = await ctx.map("parcels", [1, 2, 3], item)
    first_of = await ctx.map("first of", [1, 2, 3], item, FIRST)
    both = await ctx.parallel("both", [lambda c: c.step("x", enter, "x"), large])
    rounds: str = await ctx.with_retry("rounds", attempt, ROUNDS)
    together = await asyncio.gather(ctx.step("a", enter, "a"), ctx.step("b", enter, "b"))
    any_of = await ctx.any("any", [ctx.step("c", enter, "c"), ctx.step("d", enter, "d")])
    return {
        "first": first,
        "answers": [answer, opened],
        "count": count,
        "invoked": invoked,
        "parcels": parcels.results(),
        "enough": first_of.success_count >= 1,
        "both": [str(one)[:1] for one in both.results()],
        "rounds": [rounds, *together, any_of],
        "now": ctx.now().isoformat(),
        "chance": ctx.random(),
    }


@durable_execution
def everything_blocking(event: dict[str, Any], ctx: SyncDurableContext) -> dict[str, Any]:
    def item(inner: SyncDurableContext, number: int) -> str:
        inner.step("item", enter, f"item {number}")
        inner.wait("rest", 60)
        return inner.step("after", enter, f"after {number}")

    def attempt(inner: SyncDurableContext, number: int) -> str:
        inner.step("round", enter, f"round {number}")
        if number < 2:
            raise ValueError(number)
        return "round"

    def large(inner: SyncDurableContext) -> str:
        inner.step("in large", enter, "large")
        return "x" * 300_000

    first = ctx.step("first", enter, "first", config=ONCE)
    ctx.step("flaky", flaky, "flaky", config=RETRIED)
    ctx.wait("pause", 3600)
    answer = ctx.wait_for_callback("approval", ask)
    opened = ctx.create_callback("open").result()
    count = ctx.wait_for_condition("condition", check, POLLED)
    invoked = ctx.invoke("other", "other-function", {"n": 1})
    parcels = ctx.map("parcels", [1, 2, 3], item)
    first_of = ctx.map("first of", [1, 2, 3], item, FIRST)
    both = ctx.parallel("both", [lambda c: c.step("x", enter, "x"), large])
    rounds = ctx.with_retry("rounds", attempt, ROUNDS)
    any_of = ctx.any("any", [lambda c: c.step("c", enter, "c"), lambda c: c.step("d", enter, "d")])
    return {
        "first": first,
        "answers": [answer, opened],
        "count": count,
        "invoked": invoked,
        "parcels": parcels.results(),
        "enough": first_of.success_count >= 1,
        "both": [str(one)[:1] for one in both.results()],
        "rounds": [rounds, any_of],
        "now": ctx.now().isoformat(),
        "chance": ctx.random(),
    }
