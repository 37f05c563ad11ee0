"""Looks at a backend that does not tell by itself what has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from durably.clock import Clock
from durably.core.polling import poll_delay_seconds
from durably.drivers.deadline import TimeLeft, before_end


class Polls:
    """One timer for all operations that wait: each is due for a look of its own, all share one."""

    __slots__ = ("_clock", "_loop", "_poll", "_time_left", "_timer", "_waiting")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        poll: Callable[[], None],
        time_left: TimeLeft | None = None,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._poll = poll
        self._time_left = time_left
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[str, tuple[int, datetime | None]] = {}

    def look_for(self, operation_id: str, expected_at: datetime | None) -> None:
        """Look when the operation is expected to change, and then again and again."""
        self._waiting[operation_id] = (0, expected_at)
        self._arm(0, expected_at)

    def forget(self, operation_id: str) -> None:
        """Look for it no longer."""
        self._waiting.pop(operation_id, None)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, polls_made: int, expected_at: datetime | None) -> None:
        delay = poll_delay_seconds(polls_made, self._clock.now(), expected_at)
        if before_end(delay, self._time_left) is None:
            return
        due = self._loop.time() + delay
        if self._timer is None or due < self._timer.when():
            self.close()
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        self._poll()
        for operation_id, (polls_made, expected_at) in list(self._waiting.items()):
            self._waiting[operation_id] = (polls_made + 1, expected_at)
            self._arm(polls_made + 1, expected_at)
