"""Time as it is injected: what everything asks for the time, and its real form."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable


class Timer(Protocol):
    """Something that is going to be called."""

    def cancel(self) -> None:
        """Do not call it any more. One that was called is left alone."""
        ...


class Clock(Protocol):
    """Where the time comes from, and what lets it pass."""

    def now(self) -> datetime:
        """Give the present instant, aware and in UTC. It may jump, backwards too."""
        ...

    def monotonic(self) -> float:
        """Give seconds since some fixed moment. They never run backwards; for durations only."""
        ...

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call *callback* with *args* in the event loop that runs here, after *seconds*."""
        ...

    def call_when_quiet(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* when the event loop has had time to do whatever it still had to.

        A machine cannot see that, so it lets *seconds* pass.
        """
        ...

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Block this thread until *event* is set, but no longer than that."""
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

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call *callback* with *args* in the event loop that runs here, after *seconds*."""
        import asyncio  # noqa: PLC0415 - importing durably must not bring it

        return asyncio.get_running_loop().call_later(seconds, callback, *args)

    def call_when_quiet(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* after *seconds*."""
        return self.call_later(seconds, callback)

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Block this thread until *event* is set, but no longer than that."""
        event.wait(seconds)
