"""The database's clock, kept in this process: what is due is due by one clock for all workers."""

from __future__ import annotations

from datetime import datetime

from durably.clock import SystemClock
from durably.stores.instants import from_us, to_us

_GOOD_SECONDS = 0.05
_STALE_SECONDS = 60.0


class DatabaseClock(SystemClock):
    """Shows the time of the database, as far as it is known; this machine's until it is.

    Between two looks at the database it counts this machine's seconds.
    """

    __slots__ = ("_ahead", "_looked_at", "_uncertainty")

    def __init__(self) -> None:
        self._ahead = to_us(super().now()) / 1e6 - self.monotonic()
        self._looked_at = float("-inf")
        self._uncertainty = float("inf")

    def now(self) -> datetime:
        """Give the present instant."""
        return from_us(round((self.monotonic() + self._ahead) * 1e6))

    @property
    def is_stale(self) -> bool:
        """Whether it is time for another look."""
        return self.monotonic() - self._looked_at > _STALE_SECONDS

    def take(self, instant_us: int, asked_at: float) -> None:
        """Take what the database said when it was asked at *asked_at*, by `monotonic`.

        A look that took long says little: the one before is kept, unless it has grown old.
        """
        now = self.monotonic()
        took = now - asked_at
        if took > max(self._uncertainty, _GOOD_SECONDS) and not self.is_stale:
            return
        self._uncertainty = took
        self._looked_at = now
        self._ahead = instant_us / 1e6 + took / 2 - now
