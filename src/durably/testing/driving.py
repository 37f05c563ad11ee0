"""How the executions of a test go on: what can run runs, and time passes only when nothing does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count

from durably.app.assembly import Assembly
from durably.errors import ResourceNotFoundException
from durably.testing.answers import Answering
from durably.testing.clock import QUIET_TURNS, VirtualClock
from durably.testing.errors import OperationNotFoundError, UnfinishedRunError, hides_frames
from durably.testing.runs import TestRun

__tracebackhide__ = hides_frames

MAX_SKIPS = 10_000
"""How often time may be skipped for one thing that is waited for."""

_LOOK_SECONDS = 0.005


class Driving:
    """Drives an engine on a virtual clock.

    Args:
        assembly: the engine.
        clock: the clock that it goes by.
        answering: whoever answers callbacks.
    """

    def __init__(self, assembly: Assembly, clock: VirtualClock, answering: Answering) -> None:
        self._assembly = assembly
        self._clock = clock
        self._answering = answering
        self._deadlines: list[tuple[datetime, int, TestRun]] = []
        self._numbers = count()

    def add(self, run: TestRun, *, may_time_out: bool) -> None:
        """Look after *run*, whose time-out nobody waits for unless it *may time out*."""
        deadline = run.description.times_out_at
        if deadline is not None and not may_time_out:
            heappush(self._deadlines, (deadline, next(self._numbers), run))

    async def settle(self) -> None:
        """Return when nothing runs and nothing is due; no time is skipped.

        Tasks of the user's that nothing of ours waits for get some turns to go on, as one may be
        about to answer a callback.
        """
        await self._come_to_rest()
        turns = 0
        while turns < QUIET_TURNS:
            await asyncio.sleep(0)
            turns += 1
            if self._assembly.running or await self._is_due():
                await self._come_to_rest()
                turns = 0

    async def until(self, is_reached: Callable[[], bool], what: Callable[[], str]) -> None:
        """Let everything go on until it *is reached*, skipping time.

        Raises:
            UnfinishedRunError: it never is; *what* says what is not reached.
        """
        for _ in range(MAX_SKIPS):
            await self._come_to_rest()
            if _holds(is_reached):
                return
            await self.settle()
            if _holds(is_reached):
                return
            due = await self._next_due()
            if due is None or self._is_too_late(due):
                said = "Nothing happens any more by itself"
                break
            self._clock.advance_to(due)
        else:
            said = f"Time was skipped {MAX_SKIPS:,} times"
        lines = [f"{said}, and {what()}", *self._answering.unmet()]
        raise UnfinishedRunError("\n".join(lines))

    async def advance(self, duration: timedelta) -> None:
        """Let *duration* pass, and do what is due meanwhile at its time."""
        end = self._clock.now() + duration
        await self.settle()
        while (due := await self._next_due()) is not None and due <= end:
            self._clock.advance_to(due)
            await self.settle()
        self._clock.advance_to(end)
        await self._assembly.service.delete_expired()

    async def _come_to_rest(self) -> None:
        """Return when nothing runs and nothing is due.

        What runs takes the time that it takes. Meanwhile a timer goes off when as much time has
        passed outside, lest a step that never ends on its own outlast its time-out.
        """
        while True:
            if self._assembly.running:
                await self._assembly.wait_for_running(_LOOK_SECONDS)
                self._let_overdue_timers_go_off()
            elif await self._is_due():
                self._assembly.service.waiters.check()
                await asyncio.sleep(0)
            elif not await self._answering.do_due():
                return

    def _let_overdue_timers_go_off(self) -> None:
        due = self._clock.next_due
        if due is not None and self._assembly.running and self._clock.is_overdue():
            self._clock.advance_to(due)

    async def _is_due(self) -> bool:
        due = await self._next_wake_at()
        return due is not None and due <= self._clock.now()

    async def _next_due(self) -> datetime | None:
        all_due = (self._clock.next_due, self._answering.next_due, await self._next_wake_at())
        return min((at for at in all_due if at is not None), default=None)

    async def _next_wake_at(self) -> datetime | None:
        return await self._assembly.service.store.next_wake_at(self._assembly.names)

    def _is_too_late(self, due: datetime) -> bool:
        """Whether nothing happens before an execution times out that was given all the time."""
        while self._deadlines and self._deadlines[0][0] <= due:
            _, number, run = self._deadlines[0]
            times_out_at = _times_out_at(run)
            if times_out_at is not None and times_out_at <= due:
                return True
            heappop(self._deadlines)
            if times_out_at is not None:  # it was paused meanwhile
                heappush(self._deadlines, (times_out_at, number, run))
        return False


def _times_out_at(run: TestRun) -> datetime | None:
    """Say when *run* times out; `None` if it has ended, is parked, or is gone."""
    try:
        found = run.description
    except ResourceNotFoundException:
        return None
    return found.times_out_at if found.parked_reason is None else None


def _holds(is_reached: Callable[[], bool]) -> bool:
    """Whether it is reached; what asks for an operation that is not there yet is not."""
    try:
        return is_reached()
    except OperationNotFoundError:
        return False
