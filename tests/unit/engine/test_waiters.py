"""Who waits is woken in turn: otherwise no simulated run would be the same twice."""

from __future__ import annotations

import asyncio

import pytest

from durably.clock import SystemClock
from durably.engine.waiters import Waiters
from durably.errors import InvalidStateError


async def _woken() -> list[int]:
    """Have many wait for one execution, and give the order in which they are woken."""
    waiters = Waiters(SystemClock())
    woken: list[int] = []

    async def wait(number: int) -> None:
        with waiters.waiting("arn") as waiter:
            await waiter.wait(None)
        woken.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(wait(number))
        await asyncio.sleep(0)
        waiters.settle("arn", None)
    return woken


def test_who_waits_longest_is_woken_first() -> None:
    assert asyncio.run(_woken()) == list(range(100))


def test_why_nobody_can_wait_any_more_stays_what_was_said_first() -> None:
    waiters = Waiters(SystemClock())
    waiters.abandon("it broke", ValueError())
    waiters.abandon("it was closed", None)
    with pytest.raises(InvalidStateError, match="it broke"):
        waiters.check()
