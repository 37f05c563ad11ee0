"""A file as a user would write it, for the command line to run."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from durably import (
    BatchResult,
    CallbackConfig,
    DurableContext,
    JsonSerdes,
    StepConfig,
    SyncDurableContext,
    durable_execution,
    exponential_backoff,
)
from durably.errors import TerminationReason, UnrecoverableInvocationError

FOLDER = Path(os.environ.get("ORDERS_FOLDER", "."))


@dataclass
class Order:
    id: str
    amount: float = 1.0


def note(line: str) -> None:
    """Have an effect that can be counted."""
    with (FOLDER / "effects").open("a") as effects:
        effects.write(f"{line}\n")


def pass_gate(name: str) -> None:
    """Say that somebody is here, and wait until the file `open NAME` is there."""
    (FOLDER / f"at {name}").touch()
    while not (FOLDER / f"open {name}").exists():
        Event().wait(0.01)


def say_something() -> None:
    """Write to standard output, as a user's code may."""
    print("a line that the user's code prints")  # noqa: T201 - that is the point
    subprocess.run([sys.executable, "-c", "print('and one of a program')"], check=True)


@durable_execution
async def fulfil(order: Order, ctx: DurableContext) -> dict[str, Any]:
    say_something()
    await ctx.step("charge", note, f"charge {order.id}")
    await ctx.wait("cooling off", 1)
    await ctx.step("ship", note, f"ship {order.id}")
    return {"order": order.id, "paid": order.amount}


@durable_execution
def gated(event: Any, ctx: SyncDurableContext) -> str:
    ctx.step("before", note, "before")
    ctx.step("gate", pass_gate, "gate")
    ctx.step("after", note, "after")
    return "through"


@durable_execution
async def gated_async(event: Any, ctx: DurableContext) -> str:
    await ctx.step("before", note, "before")
    await ctx.step("gate", pass_gate, "gate")
    await ctx.step("after", note, "after")
    return "through"


@durable_execution
async def approve(event: Any, ctx: DurableContext) -> Any:
    config = CallbackConfig[Any](serdes=JsonSerdes())
    callback = await ctx.create_callback("approval", config=config)
    return await callback.result()


@durable_execution
async def ask_by_tomorrow(event: Any, ctx: DurableContext) -> Any:
    config = CallbackConfig[Any](timeout=86_400)
    callback = await ctx.create_callback("approval", config=config)
    return await callback.result()


@durable_execution
async def stumble(event: Any, ctx: DurableContext) -> None:
    def call() -> None:
        raise ConnectionError("no route")

    strategy = exponential_backoff(initial_delay=3600, max_delay=3600)
    await ctx.step("call", call, config=StepConfig(retry_strategy=strategy))


@durable_execution
async def sleep_long(event: Any, ctx: DurableContext) -> None:
    await ctx.wait("winter", 90 * 86_400)


@durable_execution
async def approve_many(event: int, ctx: DurableContext) -> list[Any]:
    async def one(inner: DurableContext, number: int) -> Any:
        return await inner.invoke(f"approve {number}", "approve", {})

    approvals: BatchResult[Any] = await ctx.map("approvals", range(event), one)
    return approvals.results()


@durable_execution
async def refuse(event: Any, ctx: DurableContext) -> None:
    raise PermissionError("not \x1b[31mallowed\x1b[0m, \u202eever")


@durable_execution
async def odd(event: str, ctx: DurableContext) -> Any:
    """Returns what terminals obey, or what JSON cannot say."""
    return {"control": "\x9b31m\u202e\x7f", "nan": float("nan"), "huge": "x" * 7_000_000}[event]


@durable_execution
async def crash(event: Any, ctx: DurableContext) -> str:
    """Breaks its invocations until the file `repaired` is there."""
    if not (FOLDER / "repaired").exists():
        raise UnrecoverableInvocationError(TerminationReason.CUSTOM, "out of order")
    return "repaired"


def plain(event: Any, ctx: Any) -> None:
    """Not durable."""
