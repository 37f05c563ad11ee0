"""Time that goes on only when it is told to."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from itertools import count

from durably.clock import SystemClock, Timer

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

QUIET_TURNS = 10
"""How many turns of the event loop code of the user's gets to go on, when nothing of ours does."""

_FEW = 64


class ManualClock(SystemClock):
    """A clock for tests: it stands still until `advance` moves it. Its timers are the machine's."""

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
        self._now += _as_timedelta(duration)


class VirtualClock:
    """A clock whose time passes when it is moved, and whose timers go off then.

    It stands still otherwise, however long anything takes. Its callbacks run in the event loop
    that they were asked for in.
    """

    def __init__(self, now: datetime = EPOCH) -> None:
        self._now = now
        self._timers: list[tuple[datetime, int, _Timer]] = []
        self._numbers = count()
        self._lock = threading.Lock()
        self._limit = _FEW

    def now(self) -> datetime:
        """Give the present instant."""
        return self._now

    def monotonic(self) -> float:
        """Give seconds since the first day of the year that tests begin in."""
        return (self._now - EPOCH).total_seconds()

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call *callback* with *args* in the event loop that runs here, after *seconds*."""
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()

        def ring() -> None:
            loop.call_soon(callback, *args, context=context)

        return self._arm(seconds, ring)

    def call_when_quiet(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* after some turns of the event loop, without letting time pass."""
        del seconds  # it is seen here, not waited for
        return Turns(asyncio.get_running_loop(), callback)

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Block this thread until *event* is set, or this clock or the machine's has gone on."""
        timer = self._arm(seconds, event.set)
        event.wait(seconds)
        timer.cancel()

    @property
    def next_due(self) -> datetime | None:
        """When the next timer goes off; `None` when there is none."""
        with self._lock:
            timer = self._first()
            return None if timer is None else timer.due

    def is_overdue(self) -> bool:
        """Whether a timer would have gone off by now, had time passed as fast as outside."""
        with self._lock:
            timer = self._first()
            return timer is not None and timer.real_due <= SystemClock().monotonic()

    def advance(self, duration: timedelta | float) -> None:
        """Let *duration* pass, a `timedelta` or seconds. What is due meanwhile is due at once."""
        self.advance_to(self._now + _as_timedelta(duration))

    def advance_to(self, at: datetime) -> None:
        """Let time pass until *at*; nothing, if that is past."""
        self._now = max(self._now, at)
        while (timer := self._take_due()) is not None:
            timer.ring()

    def _arm(self, seconds: float, ring: Callable[[], object]) -> _Timer:
        due = self._now + timedelta(seconds=seconds)
        timer = _Timer(due, SystemClock().monotonic() + seconds, ring)
        with self._lock:
            if len(self._timers) >= self._limit:
                self._drop_cancelled()
            heappush(self._timers, (due, next(self._numbers), timer))
        return timer

    def _first(self) -> _Timer | None:
        while self._timers and self._timers[0][2].is_cancelled:
            heappop(self._timers)
        return self._timers[0][2] if self._timers else None

    def _take_due(self) -> _Timer | None:
        with self._lock:
            timer = self._first()
            if timer is None or timer.due > self._now:
                return None
            heappop(self._timers)
            return timer

    def _drop_cancelled(self) -> None:
        self._timers = [entry for entry in self._timers if not entry[2].is_cancelled]
        heapify(self._timers)
        self._limit = 2 * len(self._timers) + _FEW


class _Timer:
    """A timer of a virtual clock, and when it would go off on the machine's."""

    __slots__ = ("due", "is_cancelled", "real_due", "ring")

    def __init__(self, due: datetime, real_due: float, ring: Callable[[], object]) -> None:
        self.due = due
        self.real_due = real_due
        self.ring = ring
        self.is_cancelled = False

    def cancel(self) -> None:
        """Do not go off."""
        self.is_cancelled = True


class Turns:
    """Calls back after some turns of an event loop."""

    __slots__ = ("_callback", "_handle", "_left", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        self._left = QUIET_TURNS
        self._handle = loop.call_soon(self._pass)

    def cancel(self) -> None:
        """Count no further."""
        self._handle.cancel()

    def _pass(self) -> None:
        self._left -= 1
        if self._left:
            self._handle = self._loop.call_soon(self._pass)
        else:
            self._callback()


def _as_timedelta(duration: timedelta | float) -> timedelta:
    return duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
