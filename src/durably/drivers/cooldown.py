"""The second look: an invocation may have stopped, but not for certain."""

from __future__ import annotations

from collections.abc import Callable

from durably.clock import Clock, Timer


class Cooldown:
    """Looks away for a while, and then again; the while begins anew when something has moved."""

    __slots__ = ("_clock", "_has_moved", "_look", "_seconds", "_since", "_timer")

    def __init__(self, clock: Clock, seconds: float, look: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._look = look
        self._since = 0.0
        self._has_moved = False
        self._timer: Timer | None = None

    def start(self) -> None:
        """Look away from now on."""
        self._since = self._clock.monotonic()
        if self._timer is None:
            self._arm(self._seconds)
        else:
            self._has_moved = True

    def cancel(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        self._timer = None
        if self._has_moved:
            self._arm(self._since + self._seconds - self._clock.monotonic())
        else:
            self._look()

    def _arm(self, seconds: float) -> None:
        self._has_moved = False
        self._timer = self._clock.call_when_quiet(seconds, self._end)
