"""What plugins are told of changed records while threads run: in order, and without our lock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from durably.core.observer import Changes, Observers
from durably.wire.operation import Operation


class News:
    """Changes that the plugins of one invocation have not heard of yet. One thread tells them.

    Args:
        observers: the plugins, if there are any.
        lock: that of the invocation. Whoever calls `note` holds it. Whoever calls `tell` or
            `settle` must not, because hooks run in there; those take it for moments between.
    """

    def __init__(self, observers: Observers | None, lock: threading.RLock) -> None:
        self._observers = observers
        self._lock = lock
        self._told = threading.Condition(lock)
        self._untold: deque[Changes] = deque()
        self._teller: int | None = None

    def note(self, changed: Sequence[Operation]) -> None:
        """Take down what has changed, and everything that is known at this moment."""
        if self._observers is not None and changed:
            self._untold.append(self._observers.changes(changed))

    def tell(self) -> None:
        """Tell what was noted, unless another thread is at it: then that one tells this, too."""
        if self._observers is None:
            return
        with self._lock:
            if self._teller is not None:
                return
            self._teller = threading.get_ident()
        try:
            while (changes := self._next()) is not None:
                self._observers.tell_changes(changes)
        except BaseException:
            self._stop_telling()
            raise

    def settle(self, seconds: float | None = None) -> None:
        """Return when what was noted has been told, at the latest after *seconds*.

        Who goes on after this tells plugins of nothing before they have heard what led to it.
        """
        if self._observers is None:
            return
        self.tell()
        with self._lock:
            self._told.wait_for(lambda: self._teller in {None, threading.get_ident()}, seconds)

    def _next(self) -> Changes | None:
        with self._lock:
            if self._untold:
                return self._untold.popleft()
            self._stop_telling()
            return None

    def _stop_telling(self) -> None:
        with self._lock:
            self._teller = None
            self._told.notify_all()
