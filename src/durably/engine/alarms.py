"""Wakes this process for the timers of executions whose invocation runs in it."""

from __future__ import annotations

from collections.abc import Callable

from durably.clock import Clock
from durably.engine.execution import next_timer_at
from durably.engine.facts import MICROSECONDS, microseconds_of
from durably.engine.tips import Tip

_MAX_SECONDS = 60.0
_SLACK_SECONDS = 0.0005


class Alarms:
    """One for each tip, set for the earliest of its timers.

    Args:
        clock: whose time it is.
        ring: called with a tip of which something is due.
    """

    def __init__(self, clock: Clock, ring: Callable[[Tip], None]) -> None:
        self._clock = clock
        self._ring = ring

    def arm(self, tip: Tip) -> None:
        """Set the alarm of *tip* for what is due next."""
        due = next_timer_at(tip.execution)
        if due == tip.timer_due:
            return
        tip.disarm()
        tip.timer_due = due
        now = microseconds_of(self._clock.now())
        delay = min(max((due - now) / MICROSECONDS, 0) + _SLACK_SECONDS, _MAX_SECONDS)
        tip.timer = self._clock.call_later(delay, self._look, tip)

    def _look(self, tip: Tip) -> None:
        tip.timer = None
        tip.timer_due = 0
        if next_timer_at(tip.execution) <= microseconds_of(self._clock.now()):
            self._ring(tip)
        else:
            self.arm(tip)
