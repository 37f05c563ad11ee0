"""Maps, `async def`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from durably import DurableContext, MapConfig, NestingType
from tests.conformance.handlers.coroutines import greet, same
from tests.conformance.handlers.shared import (
    JoinedResults,
    Prefixed,
    RequirementError,
    items_in_order,
    verdict,
)
from tests.conformance.suite import Suite

suite = Suite()


async def judged(_ctx: DurableContext, item: str) -> str:
    """Give *item*, unless it says otherwise."""
    match item:
        case "fail":
            raise RequirementError("as required")
        case "never":
            raise AssertionError("this item must not be started")
        case _:
            return item


async def upper(_ctx: DurableContext, item: str) -> str:
    return item.upper()


async def stepped(ctx: DurableContext, item: str) -> Any:
    return await ctx.step(None, same, item)


async def _verdict(
    ctx: DurableContext, items: list[str], fields: str = "", **limits: Any
) -> dict[str, object]:
    return verdict(await ctx.map("map", items, judged, items_in_order(**limits)), *fields.split())


@suite.serves("9-1")
async def map_basic(names: list[str], ctx: DurableContext) -> list[str]:
    async def welcome(item: DurableContext, name: str) -> str:
        return await item.step(None, greet, name)

    return (await ctx.map("map", names, welcome, items_in_order())).results()


@suite.serves("9-2")
async def map_without_name(numbers: list[int], ctx: DurableContext) -> list[int]:
    async def double(_item: DurableContext, number: int) -> int:
        return number * 2

    return (await ctx.map(None, numbers, double, items_in_order())).results()


@suite.serves("9-3")
async def map_with_index(numbers: list[int], ctx: DurableContext) -> list[int]:
    async def add(_item: DurableContext, number: int, index: int) -> int:
        return number + index

    return (await ctx.map("map", numbers, add, items_in_order())).results()


@suite.serves("9-4")
async def map_of_nothing(items: list[str], ctx: DurableContext) -> list[str]:
    return (await ctx.map("map", items, judged, items_in_order())).results()


@suite.serves("9-5")
async def map_fails_fast(_event: None, ctx: DurableContext) -> dict[str, object]:
    return await _verdict(ctx, ["ok", "fail", "never"], tolerated_failure_count=0)


@suite.serves("9-6")
async def map_rethrows(_event: None, ctx: DurableContext) -> None:
    config = items_in_order(tolerated_failure_count=0)
    (await ctx.map("map", ["fail", "never"], judged, config)).throw_if_error()


@suite.serves("9-7")
async def map_of_enough(_event: None, ctx: DurableContext) -> dict[str, object]:
    fields = "completionReason successCount totalCount"
    return await _verdict(ctx, ["a", "b", "never", "never"], fields, min_successful=2)


@suite.serves("9-8")
async def map_tolerates(_event: None, ctx: DurableContext) -> dict[str, object]:
    return await _verdict(ctx, ["ok", "fail", "ok"], tolerated_failure_count=1)


@suite.serves("9-9")
async def map_tolerates_no_more(_event: None, ctx: DurableContext) -> dict[str, object]:
    fields = "completionReason successCount failureCount totalCount"
    return await _verdict(ctx, ["fail", "fail", "never"], fields, tolerated_failure_count=1)


@suite.serves("9-10")
async def map_tolerates_no_quarter(_event: None, ctx: DurableContext) -> dict[str, object]:
    fields = "completionReason successCount failureCount totalCount"
    items = ["fail", "fail", "never", "never"]
    return await _verdict(ctx, items, fields, tolerated_failure_percentage=25)


@suite.serves("9-11")
async def map_two_at_once(_event: None, ctx: DurableContext) -> list[str]:
    config = MapConfig(max_concurrency=2)
    return (await ctx.map("map", ["r0", "r1", "r2"], judged, config)).results()


@suite.serves("9-12")
async def map_flat(_event: None, ctx: DurableContext) -> Any:
    config = replace(items_in_order(), nesting_type=NestingType.FLAT)
    return (await ctx.map("map", ["fa", "fb"], stepped, config)).results()


@suite.serves("9-13")
async def map_named_items(numbers: list[int], ctx: DurableContext) -> list[int]:
    async def tenfold(_item: DurableContext, number: int) -> int:
        return number * 10

    config = replace(items_in_order(), item_namer=lambda item, _index: f"item-{item}")
    return (await ctx.map("named-items", numbers, tenfold, config)).results()


@suite.serves("9-14")
async def map_with_item_serdes(_event: Any, ctx: DurableContext) -> list[str]:
    config = replace(items_in_order(), item_serdes=Prefixed())
    return (await ctx.map("map", ["x", "y"], upper, config)).results()


@suite.serves("9-15")
async def map_goes_on_after_wait(_event: None, ctx: DurableContext) -> Any:
    async def pause_second(item: DurableContext, value: str, index: int) -> Any:
        if index == 1:
            await item.wait(None, 1)
        return await stepped(item, value)

    return (await ctx.map("map", ["r0", "r1"], pause_second, items_in_order())).results()


@suite.serves("9-16")
async def map_of_large_result(_event: None, ctx: DurableContext) -> dict[str, object]:
    async def large(_item: DurableContext, letter: str) -> str:
        return letter * 70 * 1024

    batch = await ctx.map("map", ["a", "b", "c", "d"], large, items_in_order())
    return verdict(batch, "successCount", "totalCount")


@suite.serves("9-17")
async def map_is_replayed(_event: Any, ctx: DurableContext) -> list[str]:
    batch = await ctx.map("map", ["a", "b"], upper, items_in_order())
    await ctx.wait(None, 1)
    return batch.results()


@suite.serves("9-18")
async def map_failure_is_replayed(_event: None, ctx: DurableContext) -> dict[str, object]:
    config = items_in_order(tolerated_failure_count=1)
    batch = await ctx.map("map", ["ok", "fail"], judged, config)
    await ctx.wait(None, 1)
    return verdict(batch)


@suite.serves("9-19")
async def map_with_serdes(_event: Any, ctx: DurableContext) -> list[str]:
    config = replace(items_in_order(), serdes=JoinedResults())
    return (await ctx.map("map", ["x", "y"], upper, config)).results()


@suite.serves("9-20")
async def map_with_serdes_is_replayed(_event: Any, ctx: DurableContext) -> list[str]:
    config = replace(items_in_order(), serdes=JoinedResults())
    batch = await ctx.map("map", ["x", "y"], upper, config)
    await ctx.wait(None, 1)
    return batch.results()
