"""Conditions that are looked at again and again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Never

from durably import DurableContext, WaitForConditionError
from tests.conformance.handlers.coroutines import same
from tests.conformance.handlers.shared import Base64, RequirementError, until
from tests.conformance.suite import Suite

suite = Suite()


async def one_more(state: int) -> int:
    return state + 1


async def broken(_state: int) -> Never:
    raise RequirementError("the check is broken")


async def _count(ctx: DurableContext, name: str | None, start: int, end: int, **how: int) -> Any:
    return await ctx.wait_for_condition(
        name, one_more, until(lambda state: state >= end, start, **how)
    )


@suite.serves("6-1")
async def condition_basic(threshold: int, ctx: DurableContext) -> Any:
    return await _count(ctx, None, 0, threshold)


@suite.serves("6-2")
async def condition_met_at_once(threshold: int, ctx: DurableContext) -> Any:
    config = until(lambda state: state >= threshold, threshold)
    return await ctx.wait_for_condition(None, same, config)


@suite.serves("6-3")
async def condition_named(threshold: int, ctx: DurableContext) -> Any:
    return await _count(ctx, "poll-status", 0, threshold)


@suite.serves("6-4")
async def condition_from_five(threshold: int, ctx: DurableContext) -> Any:
    return await _count(ctx, None, 5, threshold)


@suite.serves("6-5")
async def condition_every_two_seconds(threshold: int, ctx: DurableContext) -> Any:
    return await _count(ctx, None, 0, threshold, delay=2)


@suite.serves("6-6")
async def condition_never_met(_event: Any, ctx: DurableContext) -> Any:
    config = until(lambda _state: False, 0, attempts=3)
    return await ctx.wait_for_condition(None, one_more, config)


@suite.serves("6-7")
async def condition_check_fails(_event: None, ctx: DurableContext) -> Any:
    return await ctx.wait_for_condition(None, broken, until(lambda _state: True, 0))


@suite.serves("6-8")
async def condition_failure_caught(_event: None, ctx: DurableContext) -> Any:
    try:
        return await ctx.wait_for_condition(None, broken, until(lambda _state: True, 0))
    except WaitForConditionError:
        return "recovered"


@suite.serves("6-9")
async def condition_of_object(_event: None, ctx: DurableContext) -> Any:
    async def look(state: dict[str, Any]) -> dict[str, Any]:
        attempts = state["attempts"] + 1
        return {"status": "DONE" if attempts == 2 else "PENDING", "attempts": attempts}

    config = until(lambda state: state["status"] == "DONE", {"status": "PENDING", "attempts": 0})
    return await ctx.wait_for_condition(None, look, config)


@suite.serves("6-10")
async def condition_of_null(_event: None, ctx: DurableContext) -> Any:
    async def nothing(_state: None) -> None:
        return None

    return await ctx.wait_for_condition(None, nothing, until(lambda _state: True, None))


@suite.serves("6-11")
async def condition_with_serdes(_event: None, ctx: DurableContext) -> Any:
    async def longer(state: str) -> str:
        return f"{state}x"

    config = replace(until(lambda state: len(state) == 2, ""), serdes=Base64())
    return await ctx.wait_for_condition(None, longer, config)


@suite.serves("6-12")
async def condition_then_step(threshold: int, ctx: DurableContext) -> int:
    async def tenfold(value: int) -> int:
        return value * 10

    return await ctx.step(None, tenfold, await _count(ctx, None, 0, threshold))


@suite.serves("6-13")
async def condition_after_condition(_event: Any, ctx: DurableContext) -> Any:
    return await _count(ctx, None, await _count(ctx, None, 0, 2), 4)
