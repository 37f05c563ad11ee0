"""The thread beside the event loop: it waits for the disk, and stands in when the loop is busy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Protocol, TypeAlias

_TICK_SECONDS = 0.0015
_IDLE_SECONDS = 0.1  # so long it goes on looking after it was told to


Look: TypeAlias = Callable[[], float | None]
"""Does what is to be done; says after how many seconds to look again, `None`: nothing waits."""


class Beside(Protocol):
    """What works beside the event loop: a thread, or in a simulation what stands for one."""

    def do(self, job: Callable[[], None], /) -> None:
        """Run *job*, after those before it."""
        ...

    def watch(self) -> None:
        """Look soon, and again until nobody has asked for it for a while."""
        ...

    def stop(self) -> None:
        """End, after the jobs that there are. What is done after that is not asked for here."""
        ...


class WriterThread:
    """Runs jobs, and while it is told to watch, calls *look* every now and then.

    Waking a thread costs more than a small write; therefore it goes on looking for a while by
    itself, and most calls of `watch` cost nothing. It starts when it is first needed.

    Args:
        look: what is called.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_watching = False
        self._is_wanted = False
        self._watch_until = 0.0

    def do(self, job: Callable[[], None]) -> None:
        """Run *job*, after those before it."""
        self._jobs.put(job)
        self._start()

    def watch(self) -> None:
        """Look soon, and again until nobody has asked for it for a while."""
        self._is_wanted = True
        if not self._is_watching:
            self._is_watching = True
            self.do(_nothing)

    def stop(self) -> None:
        """End the thread, after the jobs that it has."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="durably-writer", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        wait_seconds: float | None = None
        while True:
            try:
                job = self._jobs.get(timeout=wait_seconds)
            except Empty:
                pass
            else:
                if job is None:
                    return
                job()
            wait_seconds = self._watch() if self._is_watching else None

    def _watch(self) -> float | None:
        wait_seconds = self._look()
        if wait_seconds is not None:
            return wait_seconds
        now = monotonic()
        if self._is_wanted:
            self._is_wanted = False
            self._watch_until = now + _IDLE_SECONDS
        if now < self._watch_until:
            return _TICK_SECONDS
        # Somebody may hand in something at this moment and rely on the flag: look once more.
        self._is_watching = False
        wait_seconds = self._look()
        if wait_seconds is not None:
            self._is_watching = True
        return wait_seconds


def _nothing() -> None:
    """Only wake the thread up."""
