"""Whoever waits in this process for an execution to end."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress


class Waiter:
    """One who waits. What happens between two waits is not missed."""

    __slots__ = ("_happened",)

    def __init__(self) -> None:
        self._happened = asyncio.Event()

    async def wait(self, seconds: float | None) -> None:
        """Return when something has happened since the last time, or after *seconds*."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        self._happened.clear()

    def wake(self) -> None:
        """Something has happened."""
        self._happened.set()


class Waiters:
    """All who wait, by what they wait for."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[str, set[Waiter]] = {}

    @contextmanager
    def waiting(self, arn: str) -> Generator[Waiter]:
        """Wait for an execution."""
        waiter = Waiter()
        waiters = self._waiters.setdefault(arn, set())
        waiters.add(waiter)
        try:
            yield waiter
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(arn, None)

    def settle(self, arn: str) -> None:
        """Wake all who wait for an execution."""
        for waiter in self._waiters.get(arn, ()):
            waiter.wake()
