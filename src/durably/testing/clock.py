"""Time that goes on only when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """A clock for tests: it stands still until `advance` moves it."""

    __slots__ = ("_now",)

    def __init__(self, now: datetime = EPOCH) -> None:
        self._now = now

    def now(self) -> datetime:
        """Give the present instant."""
        return self._now

    def monotonic(self) -> float:
        """Give seconds since the first day of this clock's year."""
        return (self._now - EPOCH).total_seconds()

    def advance(self, duration: timedelta | float) -> None:
        """Let *duration* pass, a `timedelta` or seconds."""
        passed = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        self._now += passed
