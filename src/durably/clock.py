"""Time as it is injected: what everything asks for the time, and its real form."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Give the present instant, aware and in UTC. It may jump, backwards too."""
        ...

    def monotonic(self) -> float:
        """Give seconds since some fixed moment. They never run backwards; for durations only."""
        ...


class SystemClock:
    """The clock of the machine."""

    __slots__ = ()

    def now(self) -> datetime:
        """Give the present instant, aware and in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the injected clock's real form

    def monotonic(self) -> float:
        """Give seconds since some fixed moment."""
        return time.monotonic()
