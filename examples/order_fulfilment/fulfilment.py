r"""Fulfil a CSV of orders: one execution for the file, and one for each order in it.

$ durably run examples/order_fulfilment/fulfilment.py:fulfil_orders --name july \
    --input '{"orders": "orders.csv", "shop": {"folder": "shop"}}' --store sqlite:july.db

Kill it whenever you like, and type the same again: it goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias

from durably import (
    CallbackTimeoutError,
    CompletionConfig,
    DurableContext,
    InvokeConfig,
    MapConfig,
    RetryPresets,
    StepConfig,
    StepError,
    StepInterruptedError,
    StepSemantics,
    WaitForCallbackConfig,
    WaitForConditionConfig,
    WaitStrategyConfig,
    create_wait_strategy,
    durable_execution,
    exponential_backoff,
    json_serdes,
)
from examples.order_fulfilment.shop import Item, Order, PrinterJam, Shop, read_orders


@dataclass(frozen=True, slots=True)
class Job:
    """What to do: which orders, in which shop, and how many of them at once."""

    orders: str
    shop: Shop
    at_once: int = 60


@dataclass(frozen=True, slots=True)
class Task:
    """One order of a job."""

    order: Order
    shop: Shop


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an order ended, and what it brought."""

    number: str
    status: str
    revenue: Decimal


# A payment must not be made twice: never run its step again by itself.
ONCE = StepConfig[str](
    semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=RetryPresets.none()
)
# A refusal is an answer: only a jam is tried again.
REFUSABLE = StepConfig[Any](
    retry_strategy=exponential_backoff(initial_delay=1, retryable_error_types=[PrinterJam])
)
APPROVAL = WaitForCallbackConfig[bool](timeout=timedelta(minutes=10), serdes=json_serdes(bool))
DELIVERY = WaitForConditionConfig[str](
    wait_strategy=create_wait_strategy(
        WaitStrategyConfig(
            should_continue_polling=lambda status: status != "delivered",
            initial_delay=1,
            max_delay=2,
        )
    ),
    initial_state="packed",
)
REFUSALS = {"CardDeclined": "declined", "OutOfStock": "out of stock"}

Compensation: TypeAlias = Callable[[], Awaitable[Any]]


@durable_execution
async def fulfil_orders(job: Job, ctx: DurableContext) -> dict[str, Any]:
    """Fulfil every order of a file; say how many ended how, and what they brought."""
    await ctx.step("open shop", job.shop.open)
    orders = await ctx.step("read orders", read_orders, job.orders)
    as_outcome = InvokeConfig(result_serdes=json_serdes(Outcome))

    async def fulfil(ctx: DurableContext, order: Order) -> Outcome:
        task = Task(order, job.shop)
        outcome: Outcome = await ctx.invoke("fulfil", "fulfil_order", task, as_outcome)
        return outcome

    config = MapConfig(
        max_concurrency=job.at_once,
        completion_config=CompletionConfig.all_completed(),
        item_namer=lambda order, _: order.number,
    )
    batch = await ctx.map("orders", orders, fulfil, config)
    batch.throw_if_error()
    return summary(batch.results())


@durable_execution
async def fulfil_order(task: Task, ctx: DurableContext) -> Outcome:
    """Bring one order to the customer, or undo what was done for it, last thing first."""
    order, shop = task.order, task.shop
    compensations: list[Compensation] = []
    try:
        status = await deliver(ctx, shop, order, compensations)
    except StepError as error:
        status = REFUSALS.get(error.error_type or "", "failed")
    if status != "delivered":
        for compensate in reversed(compensations):
            await compensate()
    await ctx.step("mail", shop.mail, order, status)
    return Outcome(order.number, status, order.total if status == "delivered" else Decimal(0))


async def deliver(
    ctx: DurableContext, shop: Shop, order: Order, compensations: list[Compensation]
) -> str:
    """Take an order all the way, noting how to undo each thing that was done."""
    await move_money(ctx, shop, "charge", order)
    compensations.append(partial(move_money, ctx, shop, "refund", order))
    await ctx.step("reserve", shop.reserve, order, config=REFUSABLE)
    compensations.append(partial(ctx.step, "release", shop.release, order))
    if order.is_large and not await is_approved(ctx, shop, order):
        return "refused"
    await ctx.wait("cooling off", timedelta(seconds=1))

    async def ship(ctx: DurableContext, item: Item) -> str:
        return await ctx.step("label", shop.ship, order, item, config=REFUSABLE)

    parcels = await ctx.map("ship", order.items, ship, MapConfig(max_concurrency=4))
    parcels.throw_if_error()
    return await ctx.wait_for_condition("delivery", partial(shop.track, order), DELIVERY)


async def is_approved(ctx: DurableContext, shop: Shop, order: Order) -> bool:
    """Ask the manager. Silence means no."""
    try:
        answer: bool = await ctx.wait_for_callback(
            "approval", shop.ask_manager, order, config=APPROVAL
        )
    except CallbackTimeoutError:
        return False
    return answer


async def move_money(ctx: DurableContext, shop: Shop, kind: str, order: Order) -> str:
    """Pay exactly once, by a step that runs at most once and a key that the bank can look up.

    If a crash cuts the step off, nobody here knows whether the money has moved. The bank does: so
    ask it, which can be repeated, and only pay again if it has not.
    """
    key = f"{kind}-{order.number}"
    while True:
        try:
            return await ctx.step(kind, shop.move_money, kind, order, key, config=ONCE)
        except StepError as error:
            if not isinstance(error.__cause__, StepInterruptedError):
                raise
        receipt = await ctx.step(f"look up {kind}", shop.find_payment, key)
        if receipt is not None:
            return receipt


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Count how the orders ended."""
    revenue = sum((outcome.revenue for outcome in outcomes), Decimal(0))
    counts = Counter(outcome.status for outcome in outcomes)
    return {"orders": len(outcomes), **dict(sorted(counts.items())), "revenue": str(revenue)}
