"""News that a backend in this process brings, at awkward moments."""

from __future__ import annotations

from typing import Any

from durably import DurableContext
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
