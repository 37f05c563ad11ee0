"""Maps, `def`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from durably import MapConfig, NestingType, SyncDurableContext
from tests.conformance.handlers.functions import greet, same
from tests.conformance.handlers.shared import (
    JoinedResults,
    Prefixed,
    RequirementError,
    items_in_order,
    verdict,
)
from tests.conformance.suite import Suite

suite = Suite()


def judged(_ctx: SyncDurableContext, item: str) -> str:
    """Give *item*, unless it says otherwise."""
    match item:
        case "fail":
            raise RequirementError("as required")
        case "never":
            raise AssertionError("this item must not be started")
        case _:
            return item


def upper(_ctx: SyncDurableContext, item: str) -> str:
    return item.upper()


def stepped(ctx: SyncDurableContext, item: str) -> Any:
    return ctx.step(None, same, item)


def _verdict(
    ctx: SyncDurableContext, items: list[str], fields: str = "", **limits: Any
) -> dict[str, object]:
    return verdict(ctx.map("map", items, judged, items_in_order(**limits)), *fields.split())


@suite.serves("9-1")
def map_basic(names: list[str], ctx: SyncDurableContext) -> list[str]:
    def welcome(item: SyncDurableContext, name: str) -> str:
        return item.step(None, greet, name)

    return (ctx.map("map", names, welcome, items_in_order())).results()


@suite.serves("9-2")
def map_without_name(numbers: list[int], ctx: SyncDurableContext) -> list[int]:
    def double(_item: SyncDurableContext, number: int) -> int:
        return number * 2

    return (ctx.map(None, numbers, double, items_in_order())).results()


@suite.serves("9-3")
def map_with_index(numbers: list[int], ctx: SyncDurableContext) -> list[int]:
    def add(_item: SyncDurableContext, number: int, index: int) -> int:
        return number + index

    return (ctx.map("map", numbers, add, items_in_order())).results()


@suite.serves("9-4")
def map_of_nothing(items: list[str], ctx: SyncDurableContext) -> list[str]:
    return (ctx.map("map", items, judged, items_in_order())).results()


@suite.serves("9-5")
def map_fails_fast(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    return _verdict(ctx, ["ok", "fail", "never"], tolerated_failure_count=0)


@suite.serves("9-6")
def map_rethrows(_event: None, ctx: SyncDurableContext) -> None:
    config = items_in_order(tolerated_failure_count=0)
    (ctx.map("map", ["fail", "never"], judged, config)).throw_if_error()


@suite.serves("9-7")
def map_of_enough(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    fields = "completionReason successCount totalCount"
    return _verdict(ctx, ["a", "b", "never", "never"], fields, min_successful=2)


@suite.serves("9-8")
def map_tolerates(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    return _verdict(ctx, ["ok", "fail", "ok"], tolerated_failure_count=1)


@suite.serves("9-9")
def map_tolerates_no_more(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    fields = "completionReason successCount failureCount totalCount"
    return _verdict(ctx, ["fail", "fail", "never"], fields, tolerated_failure_count=1)


@suite.serves("9-10")
def map_tolerates_no_quarter(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    fields = "completionReason successCount failureCount totalCount"
    items = ["fail", "fail", "never", "never"]
    return _verdict(ctx, items, fields, tolerated_failure_percentage=25)


@suite.serves("9-11")
def map_two_at_once(_event: None, ctx: SyncDurableContext) -> list[str]:
    config = MapConfig(max_concurrency=2)
    return (ctx.map("map", ["r0", "r1", "r2"], judged, config)).results()


@suite.serves("9-12")
def map_flat(_event: None, ctx: SyncDurableContext) -> Any:
    config = replace(items_in_order(), nesting_type=NestingType.FLAT)
    return (ctx.map("map", ["fa", "fb"], stepped, config)).results()


@suite.serves("9-13")
def map_named_items(numbers: list[int], ctx: SyncDurableContext) -> list[int]:
    def tenfold(_item: SyncDurableContext, number: int) -> int:
        return number * 10

    config = replace(items_in_order(), item_namer=lambda item, _index: f"item-{item}")
    return (ctx.map("named-items", numbers, tenfold, config)).results()


@suite.serves("9-14")
def map_with_item_serdes(_event: Any, ctx: SyncDurableContext) -> list[str]:
    config = replace(items_in_order(), item_serdes=Prefixed())
    return (ctx.map("map", ["x", "y"], upper, config)).results()


@suite.serves("9-15")
def map_goes_on_after_wait(_event: None, ctx: SyncDurableContext) -> Any:
    def pause_second(item: SyncDurableContext, value: str, index: int) -> Any:
        if index == 1:
            item.wait(None, 1)
        return stepped(item, value)

    return (ctx.map("map", ["r0", "r1"], pause_second, items_in_order())).results()


@suite.serves("9-16")
def map_of_large_result(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    def large(_item: SyncDurableContext, letter: str) -> str:
        return letter * 70 * 1024

    batch = ctx.map("map", ["a", "b", "c", "d"], large, items_in_order())
    return verdict(batch, "successCount", "totalCount")


@suite.serves("9-17")
def map_is_replayed(_event: Any, ctx: SyncDurableContext) -> list[str]:
    batch = ctx.map("map", ["a", "b"], upper, items_in_order())
    ctx.wait(None, 1)
    return batch.results()


@suite.serves("9-18")
def map_failure_is_replayed(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    config = items_in_order(tolerated_failure_count=1)
    batch = ctx.map("map", ["ok", "fail"], judged, config)
    ctx.wait(None, 1)
    return verdict(batch)


@suite.serves("9-19")
def map_with_serdes(_event: Any, ctx: SyncDurableContext) -> list[str]:
    config = replace(items_in_order(), serdes=JoinedResults())
    return (ctx.map("map", ["x", "y"], upper, config)).results()


@suite.serves("9-20")
def map_with_serdes_is_replayed(_event: Any, ctx: SyncDurableContext) -> list[str]:
    config = replace(items_in_order(), serdes=JoinedResults())
    batch = ctx.map("map", ["x", "y"], upper, config)
    ctx.wait(None, 1)
    return batch.results()
