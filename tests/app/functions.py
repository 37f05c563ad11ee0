"""Durable functions that the tests of the engine run, and what they need of the world."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from durably import (
    CallbackConfig,
    DurableContext,
    Engine,
    Execution,
    StepConfig,
    SyncDurableContext,
    durable_execution,
)
from durably.engine.views import Standing, Why
from durably.errors import TerminationReason, UnrecoverableInvocationError
from durably.retries import RetryPresets
from durably.serdes import JsonSerdes


@dataclass
class Order:
    id: str
    amount: float = 1.0


@dataclass
class Receipt:
    order: Order
    total: float


CALLS: Counter[str] = Counter()
"""How often each effect was had."""


class Gate:
    """Where a durable function waits until a test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self) -> str:
        self.reached.set()
        await self.opened.wait()
        return "through"


GATES: dict[str, Gate] = {}


async def count(name: str) -> int:
    CALLS[name] += 1
    return CALLS[name]


def count_in_thread(name: str) -> int:
    CALLS[name] += 1
    return CALLS[name]


@durable_execution
async def fulfil(order: Order, ctx: DurableContext) -> Receipt:
    total = await ctx.step("price", lambda: order.amount * 2)
    await ctx.step("charge", count, f"charge {order.id}")
    return Receipt(order, total)


@durable_execution
def fulfil_sync(order: Order, ctx: SyncDurableContext) -> Receipt:
    total = ctx.step("price", lambda: order.amount * 2)
    ctx.step("charge", count_in_thread, f"charge {order.id}")
    return Receipt(order, total)


@durable_execution
async def echo(event: Any, ctx: DurableContext) -> Any:
    return event


@durable_execution
async def gated(event: str, ctx: DurableContext) -> str:
    """Has one effect, waits at its gate, and has another one."""
    await ctx.step("before", count, f"before {event}")
    said: str = await ctx.step("gate", GATES[event])
    await ctx.step("after", count, f"after {event}")
    return said


@durable_execution
async def sleepy(event: str, ctx: DurableContext) -> str:
    await ctx.step("before", count, f"before {event}")
    await ctx.wait("nap", timedelta(seconds=1))
    await ctx.step("after", count, f"after {event}")
    return "awake"


@durable_execution
async def long_sleep(event: str, ctx: DurableContext) -> str:
    await ctx.wait("winter", timedelta(days=90))
    return "spring"


@durable_execution
async def ask(event: str, ctx: DurableContext) -> Any:
    """Asks the outside, and gives what that says."""

    async def tell(callback_id: str) -> None:
        ASKED[event].set_result(callback_id)

    config = CallbackConfig[Any](serdes=JsonSerdes())
    callback = await ctx.create_callback("approval", config=config)
    await ctx.step("tell", tell, callback.callback_id)
    return await callback.result()


ASKED: dict[str, asyncio.Future[str]] = {}


@durable_execution
async def parent(event: list[int], ctx: DurableContext) -> list[int]:
    """Invokes a child for each number, and that one a grandchild."""
    doubled = [ctx.invoke(f"double {number}", "double", number) for number in event]
    return [await one for one in doubled]


@durable_execution
def double(event: int, ctx: SyncDurableContext) -> int:
    half: int = ctx.invoke("one", "one", event)
    return half + event


@durable_execution
async def one(event: int, ctx: DurableContext) -> int:
    return await ctx.step("same", lambda: event)


@durable_execution
async def fail(event: str, ctx: DurableContext) -> None:
    async def refuse() -> None:
        raise ValueError(event)

    await ctx.step("refuse", refuse, config=StepConfig(retry_strategy=RetryPresets.none()))


@durable_execution
async def crash(event: str, ctx: DurableContext) -> str:
    """Breaks its invocations, until the test has repaired what is broken."""
    await ctx.step("before", count, f"before {event}")
    if event in BROKEN:
        raise UnrecoverableInvocationError(TerminationReason.CUSTOM, event)
    return "repaired"


BROKEN: set[str] = set()

ALL = [
    fulfil,
    fulfil_sync,
    echo,
    gated,
    sleepy,
    long_sleep,
    ask,
    parent,
    double,
    one,
    fail,
    crash,
]


async def reach(engine: Engine, run: Execution | str, standing: Standing) -> Why:
    """Wait until an execution stands so."""
    while True:
        found = await engine.why(run)
        if found.standing is standing:
            return found
        await asyncio.sleep(0.01)
