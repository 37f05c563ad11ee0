"""Whoever waits in this process for an execution to end."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress

from durably.clock import Clock
from durably.engine.execution import Execution
from durably.errors import InvalidStateError


class Waiter:
    """One who waits. What happens between two waits is not missed.

    Attributes:
        settled: the execution, once it was closed in this process.
    """

    __slots__ = ("_clock", "_happened", "settled")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._happened = asyncio.Event()
        self.settled: Execution | None = None

    async def wait(self, seconds: float | None) -> None:
        """Return when something has happened since the last time, or after *seconds*."""
        if seconds is None:
            await self._happened.wait()
        else:
            await wait_at_most(self._happened, seconds, self._clock)
        self._happened.clear()

    def wake(self) -> None:
        """Something has happened."""
        self._happened.set()


class Waiters:
    """All who wait, by what they wait for.

    Attributes:
        is_ending: whether nothing more is begun here, so that it is vain to begin to wait.
    """

    __slots__ = ("_clock", "_over", "_waiters", "is_ending")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # In the order in which they came: that of a set differs from run to run.
        self._waiters: dict[str, dict[Waiter, None]] = {}
        self._over: tuple[str, BaseException | None] | None = None
        self.is_ending = False

    @contextmanager
    def waiting(self, arn: str) -> Generator[Waiter]:
        """Wait for an execution."""
        waiter = Waiter(self._clock)
        waiters = self._waiters.setdefault(arn, {})
        waiters[waiter] = None
        try:
            yield waiter
        finally:
            del waiters[waiter]
            if not waiters:
                self._waiters.pop(arn, None)

    def settle(self, arn: str, execution: Execution | None) -> None:
        """Wake all who wait for an execution, with what it is if it is closed for certain."""
        for waiter in self._waiters.get(arn, ()):
            waiter.settled = waiter.settled or execution
            waiter.wake()

    def abandon(self, why: str, error: BaseException | None) -> None:
        """Nothing is worked on here any more: tell all who wait, now and from now on.

        The first reason stays: what ends afterwards only ends.
        """
        self._over = self._over or (why, error)
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.wake()

    def check(self) -> None:
        """Raise why nobody can wait any more, if so."""
        if self._over is not None:
            why, error = self._over
            raise InvalidStateError(why) from error


async def wait_at_most(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Wait for *event*, and no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            timer = clock.call_later(seconds, timeout.reschedule, _NOW)
            try:
                await event.wait()
            finally:
                timer.cancel()


_NOW = 0.0  # in the past of every event loop
