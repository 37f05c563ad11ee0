"""News that a backend in this process brings, at awkward moments."""

from __future__ import annotations

from typing import Any

from durably import DurableContext
from durably.core.observer import DurablePlugin, Observers, OperationInfo
from durably.drivers.futures import Returned, Suspended
from tests.unit.drivers.support import Pushing, Trial


def test_what_is_pushed_between_a_call_and_its_await_is_not_lost() -> None:
    is_second = False

    async def handler(ctx: DurableContext) -> Any:
        future = ctx.wait("w", 60)
        if is_second:
            trial.backend.clock.advance(60)
            client.push("w")
        await future
        return "woken"

    trial = Trial(handler, "pushing")
    assert isinstance(trial.client, Pushing)
    client = trial.client
    assert isinstance(trial.invoke(), Suspended)

    is_second = True

    assert trial.invoke() == Returned("woken")


class Ends(DurablePlugin):
    """Notes the ends of operations."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_operation_end(self, info: OperationInfo) -> None:
        self.told.append(f"{info.name}")


def test_what_is_pushed_to_an_invocation_that_ends_is_left_to_the_next_one_with_its_hooks() -> None:
    plugin, answers = Ends(), list[bool]()

    async def handler(ctx: DurableContext) -> Any:
        try:
            await ctx.wait("w", 60)
        finally:
            trial.backend.clock.advance(60)
            answers.append(client.push("w"))

    trial = Trial(
        handler,
        "pushing",
        observers=lambda journal: Observers([plugin], journal, trial.backend.clock.now, print),
    )
    assert isinstance(trial.client, Pushing)
    client = trial.client

    assert isinstance(trial.invoke(), Suspended)
    assert answers == [False]
    assert plugin.told == []
