"""What the workers run: orders, each of a seeded choice of parts, for coroutines and for threads.

Every value that a part gives starts with what a model can foresee, and ends with a word of chance:
if a body runs twice, its two values differ, and what the handler goes on with shows which of them
was recorded.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from random import Random
from threading import Event
from typing import Any

import msgspec

from durably import (
    DurableContext,
    StepConfig,
    StepSemantics,
    SyncDurableContext,
    WaitForConditionConfig,
    current_step,
    durable_execution,
)
from durably.errors import StepError
from durably.retries import (
    RetryDecision,
    RetryPresets,
    WaitForConditionDecision,
    exponential_backoff,
)
from tests.chaos.ledger import Asked, Entered, Ledger, Left

INTERRUPTED = "interrupted-"
ITEMS = 4
PARTS = (
    "first",
    "once",
    "retried",
    "flaky",
    "sleep",
    "items",
    "call",
    "answer",
    "check",
    "both",
    "nested",
    "large",
)
_MIN_PARTS = 5
_LARGE = 300_000
_SHOWN = 200


class Order(msgspec.Struct, frozen=True):
    """The input of one order."""

    run: str
    seed: int


class _Worker:
    """This process: its ledger, its number, and how it learns of callbacks."""

    ledger: Ledger
    life: int
    on_asked: Callable[[Asked], None]


def attach(ledger: Ledger, life: int, on_asked: Callable[[Asked], None]) -> None:
    """Say which process this is; before anything runs."""
    _Worker.ledger, _Worker.life, _Worker.on_asked = ledger, life, staticmethod(on_asked)


def parts_of(order: Order) -> list[str]:
    """Choose the parts of an order: the model of its handler."""
    random = Random(order.seed)  # noqa: S311 - the same in every process
    count = random.randint(_MIN_PARTS, len(PARTS))
    chosen = random.sample(PARTS, count)
    return [part for part in chosen if part != "large" or random.randrange(4) == 0]


def foreseen(part: str, order: Order) -> str:
    """Give the part of a value that is known beforehand."""
    return f"{part}{order.seed % 1000}"


_ONCE = StepConfig[Any](
    semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=RetryPresets.none()
)
_RETRIED = StepConfig[Any](
    semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY,
    retry_strategy=lambda _error, _attempt: RetryDecision.retry(1),
)
_FLAKY = StepConfig[Any](
    retry_strategy=exponential_backoff(max_attempts=50, initial_delay=1, max_delay=1)
)
_CHECKED = WaitForConditionConfig[int](
    wait_strategy=lambda state, _attempt: (
        WaitForConditionDecision.stop_polling()
        if state > 1
        else WaitForConditionDecision.continue_waiting(1)
    ),
    initial_state=0,
)


class FlakyError(Exception):
    """What the first attempt of a flaky step raises."""


# Bodies


def effect(part: str, order: Order, after: str, seen: str) -> str:
    """Be the body of a step: note that it has begun and that it has ended, with some time between.

    Part `once` and part `retried` are run at most once for each attempt.
    """
    step = current_step()
    place = (step.execution_arn, step.operation_id, step.attempt)
    is_once = part in ("once", "retried")
    _Worker.ledger.write(
        Entered(_Worker.life, order.run, *place, part, once=is_once, after=after, seen=seen)
    )
    chance = Random(os.urandom(8))  # noqa: S311 - how long it takes is nobody's secret
    Event().wait(chance.choice((0, 0.005, 0.05, 0.1, 0.2)))
    value = f"{foreseen(part, order)}-{chance.randbytes(6).hex()}"
    _Worker.ledger.write(Left(_Worker.life, *place, value))
    if part == "flaky" and step.attempt == 1:
        raise FlakyError("the first attempt fails")
    return value


async def short_effect(part: str, order: Order, after: str, seen: str) -> str:
    """Be the same as a coroutine that does not suspend: its process dies inside it, or after it."""
    step = current_step()
    place = (step.execution_arn, step.operation_id, step.attempt)
    _Worker.ledger.write(
        Entered(_Worker.life, order.run, *place, part, once=False, after=after, seen=seen)
    )
    value = f"{foreseen(part, order)}-{os.urandom(6).hex()}"
    _Worker.ledger.write(Left(_Worker.life, *place, value))
    return value


def ask(callback_id: str, order: Order, after: str, seen: str) -> None:
    """Be the submitter of a callback: have the outside told."""
    step = current_step()
    place = (step.execution_arn, step.operation_id, step.attempt)
    _Worker.ledger.write(
        Entered(_Worker.life, order.run, *place, "answer", once=False, after=after, seen=seen)
    )
    asked = Asked(callback_id, f"{foreseen('answer', order)}-{os.urandom(6).hex()}")
    _Worker.ledger.write(asked)
    _Worker.on_asked(asked)
    _Worker.ledger.write(Left(_Worker.life, *place, ""))


def look(state: int) -> int:
    """Be the check of a condition."""
    return state + 1


def joined(values: list[str]) -> str:
    """Make one value of several."""
    return "+".join(values)


def shown(value: str) -> str:
    """Give as much of *value* as tells it from every other: one is too large for the ledger."""
    return value[:_SHOWN]


# Handlers: the same twice, because users write both


@durable_execution
async def orders(order: Order, ctx: DurableContext) -> list[list[str]]:
    """Do the parts of an order, one after the other."""
    done: list[list[str]] = []
    after = seen = ""
    for part in parts_of(order):
        seen = shown(await _DO[part](ctx, order, after, seen))
        done.append([part, seen])
        after = part
    return done


async def _first(ctx: DurableContext, *at: Any) -> str:
    return await ctx.step("first", short_effect, "first", *at)


async def _once(ctx: DurableContext, order: Order, after: str, seen: str) -> str:
    try:
        return await ctx.step("once", effect, "once", order, after, seen, config=_ONCE)
    except StepError as error:
        return INTERRUPTED + str(error.error_type)


async def _retried(ctx: DurableContext, *at: Any) -> str:
    return await ctx.step("retried", effect, "retried", *at, config=_RETRIED)


async def _flaky(ctx: DurableContext, *at: Any) -> str:
    return await ctx.step("flaky", effect, "flaky", *at, config=_FLAKY)


async def _sleep(ctx: DurableContext, order: Order, *_at: Any) -> str:
    await ctx.wait("sleep", 1)
    return foreseen("sleep", order)


async def _items(ctx: DurableContext, order: Order, after: str, seen: str) -> str:
    async def item(inner: DurableContext, number: int) -> str:
        if number == 1:
            await inner.wait("pause", 1)
        return await inner.step("item", short_effect, "items", order, after, seen)

    batch = await ctx.map("items", range(ITEMS), item)
    return joined(batch.results())


async def _call(ctx: DurableContext, order: Order, after: str, seen: str) -> str:
    given = {"run": f"{order.run}.part", "seed": order.seed}
    return str(await ctx.invoke("call", "part", given))


async def _answer(ctx: DurableContext, order: Order, after: str, seen: str) -> str:
    return str(await ctx.wait_for_callback("answer", ask, order, after, seen))


async def _check(ctx: DurableContext, order: Order, *_at: Any) -> str:
    state = await ctx.wait_for_condition("check", look, _CHECKED)
    return f"{foreseen('check', order)}={state}"


async def _both(ctx: DurableContext, order: Order, after: str, seen: str) -> str:
    async def late(inner: DurableContext) -> str:
        await inner.wait("pause", 1)
        return await inner.step("late", effect, "both", order, after, seen)

    async def early(inner: DurableContext) -> str:
        return await inner.step("early", effect, "both", order, after, seen)

    batch = await ctx.parallel("both", [late, early])
    return joined(batch.results())


async def _nested(ctx: DurableContext, order: Order, after: str, seen: str) -> str:
    async def inside(inner: DurableContext) -> str:
        one = await inner.step("one", short_effect, "nested", order, after, seen)
        await inner.wait("pause", 1)
        two = await inner.step("two", effect, "nested", order, after, seen)
        return joined([one, two])

    return await ctx.run_in_child_context("nested", inside)


async def _large(ctx: DurableContext, order: Order, after: str, seen: str) -> str:
    async def inside(inner: DurableContext) -> str:
        value = await inner.step("large", short_effect, "large", order, after, seen)
        return value + "." * _LARGE

    return await ctx.run_in_child_context("large", inside)


_DO: dict[str, Callable[..., Awaitable[str]]] = {
    "first": _first,
    "once": _once,
    "retried": _retried,
    "flaky": _flaky,
    "sleep": _sleep,
    "items": _items,
    "call": _call,
    "answer": _answer,
    "check": _check,
    "both": _both,
    "nested": _nested,
    "large": _large,
}


@durable_execution
async def part(order: Order, ctx: DurableContext) -> str:
    """Be what an order calls: a step, a short sleep, a step."""
    one = await ctx.step("one", effect, "call", order, "", "")
    await ctx.wait("sleep", 1)
    two = await ctx.step("two", short_effect, "call", order, "", "")
    return joined([one, two])


@durable_execution
def orders_sync(order: Order, ctx: SyncDurableContext) -> list[list[str]]:
    """Do the parts of an order, in threads."""
    done: list[list[str]] = []
    after = seen = ""
    for name in parts_of(order):
        seen = shown(_DO_SYNC[name](ctx, order, after, seen))
        done.append([name, seen])
        after = name
    return done


def _once_sync(ctx: SyncDurableContext, order: Order, after: str, seen: str) -> str:
    try:
        return ctx.step("once", effect, "once", order, after, seen, config=_ONCE)
    except StepError as error:
        return INTERRUPTED + str(error.error_type)


def _sleep_sync(ctx: SyncDurableContext, order: Order, *_at: Any) -> str:
    ctx.wait("sleep", 1)
    return foreseen("sleep", order)


def _items_sync(ctx: SyncDurableContext, order: Order, after: str, seen: str) -> str:
    def item(inner: SyncDurableContext, number: int) -> str:
        if number == 1:
            inner.wait("pause", 1)
        return inner.step("item", effect, "items", order, after, seen)

    return joined(ctx.map("items", range(ITEMS), item).results())


def _call_sync(ctx: SyncDurableContext, order: Order, after: str, seen: str) -> str:
    given = {"run": f"{order.run}.part", "seed": order.seed}
    return str(ctx.invoke("call", "part", given))


def _check_sync(ctx: SyncDurableContext, order: Order, *_at: Any) -> str:
    state = ctx.wait_for_condition("check", look, _CHECKED)
    return f"{foreseen('check', order)}={state}"


def _both_sync(ctx: SyncDurableContext, order: Order, after: str, seen: str) -> str:
    def late(inner: SyncDurableContext) -> str:
        inner.wait("pause", 1)
        return inner.step("late", effect, "both", order, after, seen)

    def early(inner: SyncDurableContext) -> str:
        return inner.step("early", effect, "both", order, after, seen)

    return joined(ctx.parallel("both", [late, early]).results())


def _nested_sync(ctx: SyncDurableContext, order: Order, after: str, seen: str) -> str:
    def inside(inner: SyncDurableContext) -> str:
        one = inner.step("one", effect, "nested", order, after, seen)
        inner.wait("pause", 1)
        two = inner.step("two", effect, "nested", order, after, seen)
        return joined([one, two])

    return ctx.run_in_child_context("nested", inside)


def _large_sync(ctx: SyncDurableContext, order: Order, after: str, seen: str) -> str:
    def inside(inner: SyncDurableContext) -> str:
        return inner.step("large", effect, "large", order, after, seen) + "." * _LARGE

    return ctx.run_in_child_context("large", inside)


_DO_SYNC: dict[str, Callable[..., str]] = {
    "first": lambda ctx, *at: ctx.step("first", effect, "first", *at),
    "once": _once_sync,
    "retried": lambda ctx, *at: ctx.step("retried", effect, "retried", *at, config=_RETRIED),
    "flaky": lambda ctx, *at: ctx.step("flaky", effect, "flaky", *at, config=_FLAKY),
    "sleep": _sleep_sync,
    "items": _items_sync,
    "call": _call_sync,
    "answer": lambda ctx, *at: ctx.wait_for_callback("answer", ask, *at),
    "check": _check_sync,
    "both": _both_sync,
    "nested": _nested_sync,
    "large": _large_sync,
}

FUNCTIONS = (orders, orders_sync, part)
