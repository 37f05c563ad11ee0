"""Executions on a PostgreSQL store that faults befall, and what must hold of them afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from durably import (
    DurableContext,
    DurableFunction,
    Engine,
    StepConfig,
    StepError,
    StepSemantics,
    current_step,
    durable_execution,
    exponential_backoff,
)
from durably.errors import StoreError
from durably.seams import RandomIds
from durably.wire.history import Event, EventType

_ONCE = StepConfig(
    semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY,
    retry_strategy=exponential_backoff(max_attempts=1),
)
_CLOSING = {
    EventType.EXECUTION_SUCCEEDED,
    EventType.EXECUTION_FAILED,
    EventType.EXECUTION_STOPPED,
    EventType.EXECUTION_TIMED_OUT,
}
_ids = RandomIds()


@dataclass(slots=True)
class Ledger:
    """What has really happened, out of the reach of every fault."""

    entered: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    values: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def note(self) -> str:
        """Be the body of a step: have an effect, and a value that is different each time."""
        step = current_step()
        value = _ids.hex(12)
        self.entered[step.execution_arn, step.operation_id, step.attempt] += 1
        self.values.setdefault((step.execution_arn, step.operation_id), set()).add(value)
        return value


ledger = Ledger()


@durable_execution
async def order(event: int | str, ctx: DurableContext) -> list[str]:
    first = await ctx.step("first", ledger.note)
    try:
        once = await ctx.step("once", ledger.note, config=_ONCE)
    except StepError:
        once = ""
    await ctx.wait("pause", 1)
    items = await ctx.map("items", range(3), item)
    last = await ctx.step("last", ledger.note)
    return [first, once, *items.results(), last]


async def item(ctx: DurableContext, number: int) -> str:
    return await ctx.step("item", ledger.note)


@asynccontextmanager
async def fleet(*urls: str, function: DurableFunction = order) -> AsyncIterator[list[Engine]]:
    """Have a worker on each address."""
    engines = [Engine(url, [function], lease=2, grace=1, park_after=100) for url in urls]
    async with AsyncExitStack() as opened:
        for engine in engines:
            await opened.enter_async_context(engine)
        yield engines


async def start(engine: Engine, amount: int) -> list[str]:
    """Start so many orders, again and again until each is acknowledged; give their arns."""

    async def start_one(number: int) -> str:
        name = _ids.hex(20)
        while True:
            try:
                return (await engine.start(order, number, name=name)).arn
            except StoreError:
                await asyncio.sleep(0.05)

    return list(await asyncio.gather(*map(start_one, range(amount))))


async def wait_until(is_so: Callable[[], object]) -> None:
    """Wait until something is so."""
    while not is_so():  # noqa: ASYNC110 - it is not of this loop alone
        await asyncio.sleep(0.005)


async def check(engine: Engine, arns: list[str]) -> list[Event]:
    """Wait for what was acknowledged, and see that all of it is as it must be; give its history."""
    events: list[Event] = []
    for arn in arns:
        execution = await engine.get(arn)
        result = await execution.result()
        history = await _history(engine, arn)
        _check_history(history)
        _check_effects(arn, history, result)
        events += history
    return events


async def _history(engine: Engine, arn: str) -> list[Event]:
    page = await engine.history(arn)
    events = list(page.events)
    while page.next_marker is not None:
        page = await engine.history(arn, marker=page.next_marker)
        events += page.events
    return events


def _check_history(events: list[Event]) -> None:
    assert [event.event_id for event in events] == list(range(1, len(events) + 1))
    assert sorted(events, key=lambda event: event.event_timestamp) == events
    ends = [event.event_type for event in events if event.event_type in _CLOSING]
    assert ends == [EventType.EXECUTION_SUCCEEDED]
    outcomes = Counter(
        event.id for event in events if event.event_type.endswith(("Succeeded", "Failed"))
    )
    assert all(amount == 1 for id_, amount in outcomes.items() if id_ is not None)


def _check_effects(arn: str, events: list[Event], result: list[str]) -> None:
    ids = {
        event.id: event.name
        for event in events
        if event.event_type is EventType.STEP_STARTED and event.id is not None
    }
    known: set[str] = set()
    for id_, name in ids.items():
        known |= ledger.values.get((arn, id_), set())
        if name == "once":
            entries = [amount for key, amount in ledger.entered.items() if key[:2] == (arn, id_)]
            assert sum(entries) <= 1, "an at-most-once step ran twice"
    assert all(value in known for value in result if value), "a value that no step has returned"
    assert len(result) == 6
