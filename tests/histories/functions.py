"""What the histories beside this file were recorded of. It never changes: see README.md."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from threading import Event
from typing import Any

from durably import (
    CallbackConfig,
    ChildConfig,
    ChildContextError,
    CompletionConfig,
    ConcurrencyConfig,
    DurableContext,
    InvokeConfig,
    JsonSerdes,
    MapConfig,
    NamedParallelBranch,
    NestingType,
    ParallelConfig,
    PromiseCombinatorError,
    RetryDecision,
    StepConfig,
    StepError,
    StepSemantics,
    SyncDurableContext,
    WaitForCallbackConfig,
    WaitForConditionConfig,
    WaitForConditionDecision,
    WithRetryConfig,
    current_step,
    durable_execution,
)

AT_GATE = Event()


@dataclass
class Order:
    id: str
    items: list[str]
    total: Decimal
    due: date


@dataclass
class Payment:
    reference: str
    amount: Decimal


def again(error: Exception, attempts: int) -> RetryDecision:
    return RetryDecision.retry(1) if attempts < 3 else RetryDecision.no_retry()


def till_two(state: int, attempts: int) -> WaitForConditionDecision:
    if state >= 2:
        return WaitForConditionDecision.stop_polling()
    return WaitForConditionDecision.continue_waiting(1)


RETRIED = StepConfig[Any](retry_strategy=again)
ONCE = StepConfig[Any](semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=again)
POLLED = WaitForConditionConfig[int](initial_state=0, wait_strategy=till_two)
ROUNDS = WithRetryConfig(retry_strategy=again)
ANSWERED = WaitForCallbackConfig[Any](serdes=JsonSerdes())
FIRST = MapConfig(max_concurrency=2, completion_config=CompletionConfig(min_successful=1))
FLAT = ParallelConfig(nesting_type=NestingType.FLAT)
TOLERANT = MapConfig(completion_config=CompletionConfig(tolerated_failure_count=1))
OWN = ConcurrencyConfig(top_level_sub_type="Legs", iteration_sub_type="Leg")


def charge(order: Order) -> Payment:
    if current_step().attempt == 1:
        raise ConnectionError("the bank does not answer")
    return Payment(f"payment of {order.id}", order.total)


def label(item: str) -> str:
    if item == "broken":
        raise ValueError(f"{item} has no label")
    return f"label of {item}"


def refuse() -> None:
    raise PermissionError("not today")


def tell(callback_id: str) -> None:
    """Nobody is told: the recorder looks for callbacks himself."""


def look(state: int) -> int:
    return state + 1


def numbers() -> tuple[int, ...]:
    return (1, 2, 3)


@durable_execution
async def score(order: dict[str, Any], ctx: DurableContext) -> float:
    return await ctx.step("score", float, len(order["id"]))


@durable_execution
async def everything(  # noqa: C901, PLR0915 - all operations, one after the other
    order: Order, ctx: DurableContext
) -> dict[str, Any]:
    async def parcel(inner: DurableContext, item: str) -> str:
        text = await inner.step("label", label, item, config=StepConfig(retry_strategy=again))
        await inner.wait("dry", 1)
        return text

    async def attempt(inner: DurableContext, number: int) -> str:
        await inner.step("try", str, number)
        if number < 2:
            raise ValueError(number)
        return f"round {number}"

    async def large(inner: DurableContext) -> str:
        return await inner.step("letter", str, "x") * 300_000

    async def failing(inner: DurableContext) -> None:
        await inner.step("refuse", refuse, config=RETRIED)

    async def leg(inner: DurableContext, number: int) -> int:
        return await inner.step("leg", int, number)

    paid = await ctx.step("charge", charge, order, config=RETRIED)
    seen = await ctx.step("numbers", numbers, config=ONCE)
    await ctx.wait("cooling-off", timedelta(seconds=1))
    approval = await ctx.wait_for_callback("approval", tell, config=ANSWERED)
    callback = await ctx.create_callback("courier", CallbackConfig[str](timeout=3600))
    courier = await callback.result()
    looks = await ctx.wait_for_condition("stock", look, POLLED)
    rating = await ctx.invoke("rating", "score", {"id": order.id}, InvokeConfig[float]())
    parcels = await ctx.map("parcels", [*order.items, "broken"], parcel, TOLERANT)
    first = await ctx.map("first", order.items, parcel, FIRST)
    branches: list[Any] = [NamedParallelBranch("a", large), lambda c: c.step("b", str, "b")]
    both = await ctx.parallel("both", branches, FLAT)
    legs = await ctx.execute_concurrently("legs", [1, 2], leg, OWN)
    try:
        await ctx.run_in_child_context("failing", failing)
    except ChildContextError as error:
        refused = str(error)
    virtual = ChildConfig[str](is_virtual=True)
    inside = await ctx.run_in_child_context("inside", large, config=virtual)
    rounds: str = await ctx.with_retry("rounds", attempt, ROUNDS)
    one, two = await asyncio.gather(ctx.step("one", str, 1), ctx.step("two", str, 2))
    futures = [ctx.step("left", str, "left"), ctx.step("right", str, "right")]
    every = await ctx.all("every", futures)
    some = await ctx.any("some", [ctx.step("no", refuse, config=RETRIED), futures[1]])
    fastest = await ctx.race("fastest", [ctx.wait("slow", 60), ctx.step("fast", str, "fast")])
    settled = await ctx.all_settled("settled", futures)
    try:
        await ctx.all("none", [ctx.step("never", refuse, config=RETRIED)])
    except PromiseCombinatorError as error:
        never = str(error)
    return {
        "payment": paid.reference,
        "paid": paid.amount,
        "seen": list(seen),
        "answers": [approval, courier],
        "looks": looks,
        "rating": rating,
        "parcels": [item.status for item in parcels.all],
        "first": first.success_count,
        "both": [len(text) for text in both.results()],
        "legs": legs.results(),
        "said": [refused, never, rounds, one, two, some, fastest],
        "inside": len(inside),
        "every": every,
        "settled": [one.status for one in settled],
        "now": ctx.now().isoformat(),
        "chance": [ctx.random(), str(ctx.uuid4())],
        "due": order.due.isoformat(),
    }


@durable_execution
def everything_blocking(  # noqa: C901, PLR0915 - all operations, one after the other
    order: Order, ctx: SyncDurableContext
) -> dict[str, Any]:
    def parcel(inner: SyncDurableContext, item: str) -> str:
        text = inner.step("label", label, item, config=StepConfig(retry_strategy=again))
        inner.wait("dry", 1)
        return text

    def attempt(inner: SyncDurableContext, number: int) -> str:
        inner.step("try", str, number)
        if number < 2:
            raise ValueError(number)
        return f"round {number}"

    def large(inner: SyncDurableContext) -> str:
        return inner.step("letter", str, "x") * 300_000

    def failing(inner: SyncDurableContext) -> None:
        inner.step("refuse", refuse, config=RETRIED)

    def leg(inner: SyncDurableContext, number: int) -> int:
        return inner.step("leg", int, number)

    def never(inner: SyncDurableContext) -> None:
        inner.step("never", refuse, config=RETRIED)

    paid = ctx.step("charge", charge, order, config=RETRIED)
    seen = ctx.step("numbers", numbers, config=ONCE)
    ctx.wait("cooling-off", timedelta(seconds=1))
    approval = ctx.wait_for_callback("approval", tell, config=ANSWERED)
    courier = ctx.create_callback("courier", CallbackConfig[str](timeout=3600)).result()
    looks = ctx.wait_for_condition("stock", look, POLLED)
    rating = ctx.invoke("rating", "score", {"id": order.id}, InvokeConfig[float]())
    parcels = ctx.map("parcels", [*order.items, "broken"], parcel, TOLERANT)
    first = ctx.map("first", order.items, parcel, FIRST)
    branches: list[Any] = [NamedParallelBranch("a", large), lambda c: c.step("b", str, "b")]
    both = ctx.parallel("both", branches, FLAT)
    legs = ctx.execute_concurrently("legs", [1, 2], leg, OWN)
    try:
        ctx.run_in_child_context("failing", failing)
    except ChildContextError as error:
        refused = str(error)
    virtual = ChildConfig[str](is_virtual=True)
    inside = ctx.run_in_child_context("inside", large, config=virtual)
    rounds: str = ctx.with_retry("rounds", attempt, ROUNDS)
    left_right = [lambda inner: inner.step("l", str, "l"), lambda inner: inner.step("r", str, "r")]
    every = ctx.all("every", left_right)
    some = ctx.any("some", [never, left_right[1]])
    fastest = ctx.race("fastest", [lambda inner: inner.wait("slow", 60), left_right[0]])
    settled = ctx.all_settled("settled", [never, left_right[0]])
    try:
        ctx.all("none", [never])
    except PromiseCombinatorError as error:
        none = str(error)
    return {
        "payment": paid.reference,
        "paid": paid.amount,
        "seen": list(seen),
        "answers": [approval, courier],
        "looks": looks,
        "rating": rating,
        "parcels": [item.status for item in parcels.all],
        "first": first.success_count,
        "both": [len(text) for text in both.results()],
        "legs": legs.results(),
        "said": [refused, none, rounds, some, fastest],
        "inside": len(inside),
        "every": every,
        "settled": [one.status for one in settled],
        "now": ctx.now().isoformat(),
        "chance": [ctx.random(), str(ctx.uuid4())],
        "due": order.due.isoformat(),
    }


@durable_execution
async def large_batch(event: int, ctx: DurableContext) -> int:
    async def item(inner: DurableContext, number: int) -> int:
        return await inner.step("square", pow, number, 2)

    batch = await ctx.map("squares", range(event), item, MapConfig(max_concurrency=7))
    return sum(batch.results())


@durable_execution
def large_batch_blocking(event: int, ctx: SyncDurableContext) -> int:
    def item(inner: SyncDurableContext, number: int) -> int:
        return inner.step("square", pow, number, 2)

    batch = ctx.map("squares", range(event), item, MapConfig(max_concurrency=7))
    return sum(batch.results())


@durable_execution
async def interrupted(event: dict[str, Any], ctx: DurableContext) -> str:
    async def at_gate() -> str:
        AT_GATE.set()
        await asyncio.sleep(1)
        return "through"

    await ctx.step("before", str, "before")
    return await ctx.step("gate", at_gate, config=ONCE)


@durable_execution
async def failed(event: dict[str, Any], ctx: DurableContext) -> None:
    try:
        await ctx.step("first", refuse, config=RETRIED)
    except StepError as error:
        await ctx.step("second", str, error)
    await ctx.step("third", refuse, config=RETRIED)


@durable_execution
async def under_way(event: dict[str, Any], ctx: DurableContext) -> None:
    futures = [ctx.wait("night", 3600), ctx.create_callback("morning"), ctx.step("lights", str, "")]
    await asyncio.gather(*futures)
