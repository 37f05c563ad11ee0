"""The threads that one invocation runs its branches in."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Protocol

from durably.core.op import Op
from durably.drivers.logs import package_log
from durably.drivers.starting import start_thread
from durably.errors import UnrecoverableInvocationError
from durably.wire.arns import title_of

MAX_BRANCH_THREADS = 32
"""Threads that one invocation runs branches in, besides those that wait for branches."""


_NAME = "durably branch"


class Work(Protocol):
    """Something to do.

    Attributes:
        op: what it is done for.
    """

    op: Op

    def run(self) -> None:
        """Do it. Raises nothing."""
        ...


class Source(Protocol):
    """Where work comes from."""

    def take(self) -> Work | None:
        """Give something to do, under the lock; `None` when somebody else has taken it."""
        ...


class Crew:
    """Threads that are started when there is work for them, up to a number, and end together.

    Args:
        lock: guards everything here; it is held by whoever calls `offer`.
        size: how many threads at most.
    """

    def __init__(self, lock: threading.RLock, size: int = MAX_BRANCH_THREADS) -> None:
        self._lock = lock
        self._size = size
        self._has_work = threading.Condition(lock)
        self._offers: deque[Source] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._is_dismissed = False

    @property
    def is_busy(self) -> bool:
        """Whether an offer made now would have to wait for a thread."""
        return self._idle == 0 and len(self._threads) >= self._size

    def offer(self, source: Source) -> None:
        """Have a thread take something of *source*.

        When no further thread is to be had, those that there are count as all.
        """
        self._offers.append(source)
        if self._idle >= len(self._offers):
            self._has_work.notify()
        elif len(self._threads) < self._size:
            try:
                self._threads.append(start_thread(_NAME, self._work))
            except UnrecoverableInvocationError:  # those that there are do it, or who waits for it
                self._size = len(self._threads)

    def dismiss(self, seconds: float, arn: str) -> None:
        """End the threads, and wait for them; leave those behind that go on after *seconds*."""
        with self._lock:
            self._is_dismissed = True
            self._offers.clear()
            self._has_work.notify_all()
        deadline = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        left = [thread.name for thread in self._threads if thread.is_alive()]
        if left:
            package_log.error(
                "branches of %s do not unwind, and are left behind: %s",
                title_of(arn),
                ", ".join(left),
                extra={"executionArn": arn, "threads": left},
            )

    def _work(self) -> None:
        thread = threading.current_thread()
        while (work := self._next()) is not None:
            thread.name = f"{_NAME} {work.op}"
            work.run()

    def _next(self) -> Work | None:
        with self._lock:
            while not self._is_dismissed:
                while self._offers:
                    work = self._offers.popleft().take()
                    if work is not None:
                        return work
                self._idle += 1
                self._has_work.wait()
                self._idle -= 1
        return None
