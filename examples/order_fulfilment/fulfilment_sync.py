r"""`fulfilment.py` for plain functions: the same operations, and every call blocks.

$ durably run examples/order_fulfilment/fulfilment_sync.py:fulfil_orders --name july \
    --input '{"orders": "orders.csv", "shop": {"folder": "shop"}}' --store sqlite:july.db

An execution that sleeps holds no thread: 300 orders need no more than those that do something.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from durably import (
    CallbackTimeoutError,
    CompletionConfig,
    InvokeConfig,
    MapConfig,
    StepError,
    StepInterruptedError,
    SyncDurableContext,
    durable_execution,
    json_serdes,
)
from examples.order_fulfilment.fulfilment import (
    APPROVAL,
    DELIVERY,
    ONCE,
    REFUSABLE,
    REFUSALS,
    Job,
    Outcome,
    Task,
    summary,
)
from examples.order_fulfilment.shop import Item, Order, Shop, read_orders


@durable_execution
def fulfil_orders(job: Job, ctx: SyncDurableContext) -> dict[str, Any]:
    """Fulfil every order of a file; say how many ended how, and what they brought."""
    ctx.step("open shop", job.shop.open)
    orders = ctx.step("read orders", read_orders, job.orders)
    as_outcome = InvokeConfig(result_serdes=json_serdes(Outcome))

    def fulfil(ctx: SyncDurableContext, order: Order) -> Outcome:
        outcome: Outcome = ctx.invoke("fulfil", "fulfil_order", Task(order, job.shop), as_outcome)
        return outcome

    config = MapConfig(
        max_concurrency=job.at_once,
        completion_config=CompletionConfig.all_completed(),
        item_namer=lambda order, _: order.number,
    )
    batch = ctx.map("orders", orders, fulfil, config)
    batch.throw_if_error()
    return summary(batch.results())


@durable_execution
def fulfil_order(task: Task, ctx: SyncDurableContext) -> Outcome:
    """Bring one order to the customer, or undo what was done for it, last thing first."""
    order, shop = task.order, task.shop
    compensations: list[Callable[[], Any]] = []
    try:
        status = deliver(ctx, shop, order, compensations)
    except StepError as error:
        status = REFUSALS.get(error.error_type or "", "failed")
    if status != "delivered":
        for compensate in reversed(compensations):
            compensate()
    ctx.step("mail", shop.mail, order, status)
    return Outcome(order.number, status, order.total if status == "delivered" else Decimal(0))


def deliver(
    ctx: SyncDurableContext, shop: Shop, order: Order, compensations: list[Callable[[], Any]]
) -> str:
    """Take an order all the way, noting how to undo each thing that was done."""
    move_money(ctx, shop, "charge", order)
    compensations.append(partial(move_money, ctx, shop, "refund", order))
    ctx.step("reserve", shop.reserve, order, config=REFUSABLE)
    compensations.append(partial(ctx.step, "release", shop.release, order))
    if order.is_large and not is_approved(ctx, shop, order):
        return "refused"
    ctx.wait("cooling off", timedelta(seconds=1))

    def ship(ctx: SyncDurableContext, item: Item) -> str:
        return ctx.step("label", shop.ship, order, item, config=REFUSABLE)

    parcels = ctx.map("ship", order.items, ship, MapConfig(max_concurrency=4))
    parcels.throw_if_error()
    return ctx.wait_for_condition("delivery", partial(shop.track, order), DELIVERY)


def is_approved(ctx: SyncDurableContext, shop: Shop, order: Order) -> bool:
    """Ask the manager. Silence means no."""
    try:
        answer: bool = ctx.wait_for_callback("approval", shop.ask_manager, order, config=APPROVAL)
    except CallbackTimeoutError:
        return False
    return answer


def move_money(ctx: SyncDurableContext, shop: Shop, kind: str, order: Order) -> str:
    """Pay exactly once, by a step that runs at most once and a key that the bank can look up.

    If a crash cuts the step off, nobody here knows whether the money has moved. The bank does: so
    ask it, which can be repeated, and only pay again if it has not.
    """
    key = f"{kind}-{order.number}"
    while True:
        try:
            return ctx.step(kind, shop.move_money, kind, order, key, config=ONCE)
        except StepError as error:
            if not isinstance(error.__cause__, StepInterruptedError):
                raise
        receipt = ctx.step(f"look up {kind}", shop.find_payment, key)
        if receipt is not None:
            return receipt
