"""The second look: an invocation may have stopped, but not for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Cooldown:
    """Looks away for a while, and then again; the while begins anew when something has moved."""

    __slots__ = ("_look", "_loop", "_seconds", "_since", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, look: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._look = look
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look away from now on."""
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._end)

    def cancel(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        self._timer = None
        left = self._since + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._end)
        else:
            self._look()
