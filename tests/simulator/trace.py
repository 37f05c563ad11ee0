"""What happened in a run, for whoever has to find out why it failed; and what it has reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count

SOMETIMES = (
    "branch cut off",
    "stale token",
    "lost reply resolved",
    "callback won at the deadline",
    "callback answered too late",
    "callback answered twice",
    "summary replay",
    "lease takeover during a checkpoint",
    "takeover",
    "step interrupted",
    "parked",
    "paused under an invocation",
    "stopped under an invocation",
    "divergence found",
    "result cannot be written",
    "child ended after its parent",
    "start repeated",
    "start refused",
    "deleted",
    "retention removed",
    "state read in pages",
    "zombie refused",
    "empty checkpoint",
    "several updates in one request",
    "early completion",
    "retry of an attempt",
    "heartbeat timeout",
    "callback timeout",
    "execution timed out",
    "drained with work in flight",
    "soon change lost",
    "commit failed",
    "code of two versions at once",
    "call waited for a runtime",
)
"""States that long runs must reach: each at least once in so many seeds."""


class Trace:
    """One run.

    Attributes:
        tick: counts everything that is observed.
        reached: how often each of `SOMETIMES` was reached.
        events: what happened, in order, with the virtual second; only if it is *kept*.
    """

    def __init__(self, now: Callable[[], float], *, is_kept: bool = False) -> None:
        self.tick = count(1).__next__
        self.reached: Counter[str] = Counter()
        self.events: list[str] = []
        self._now = now
        self._is_kept = is_kept

    def reach(self, state: str) -> None:
        """Note that one of `SOMETIMES` was reached."""
        assert state in SOMETIMES, state
        self.reached[state] += 1
        self.say(f"({state})")

    def say(self, text: str) -> None:
        """Note what happened."""
        if self._is_kept:
            self.events.append(f"{self._now():12.6f}  {text}")
