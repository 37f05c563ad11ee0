"""A process that can die: everything that runs in it ends there, and nothing of it is done after.

Which process code belongs to goes with its context, into every task and thread that it starts. The
event loop is the test's, and so is whatever else runs in it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

_UNWINDING_SECONDS = 5.0

process: ContextVar[Process | None] = ContextVar("durably_process", default=None)
"""The process that this code runs in; `None` for the test itself."""


class CrashedError(BaseException):
    """Unwinds code whose process has died. Nothing that it still does counts."""


class Process:
    """One life of a worker.

    Args:
        dies_at: the point where it does; `None`: nowhere.

    Attributes:
        points: where it has come by, each with a name of its own.
        died: set once it is dead.
    """

    def __init__(self, dies_at: str | None = None) -> None:
        self.points: list[str] = []
        self.is_dead = False
        self.died = asyncio.Event()
        self._dies_at = dies_at
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()

    def passes(self, point: str) -> bool:
        """Note that it comes to *point*, from whatever thread; say whether it is dead now."""
        with self._lock:
            if self.is_dead:
                return True
            self._counts[point] += 1
            many = self._counts[point]
            name = point if many == 1 else f"{point} #{many}"
            self.points.append(name)
            self.is_dead = name == self._dies_at
        if self.is_dead:
            self._end_everything()
        return self.is_dead

    def _end_everything(self) -> None:
        if _running_loop() is self._loop:
            self._cancel(asyncio.current_task())
        else:
            self._loop.call_soon_threadsafe(self._cancel, None)

    def _cancel(self, current: asyncio.Task[Any] | None) -> None:
        """Cancel all that runs but *current*, which unwinds by what it raises."""
        for task in list(self._tasks):
            if task is not current:
                task.cancel()
        self.died.set()

    async def bury(self) -> None:
        """Wait until everything of it has unwound."""
        while left := [task for task in self._tasks if not task.done()]:
            _, stubborn = await asyncio.wait(left, timeout=_UNWINDING_SECONDS)
            if stubborn:
                return

    def add(self, task: asyncio.Task[Any]) -> None:
        """Note a task of this process."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextmanager
def inside(life: Process) -> Generator[None]:
    """Let what is done here be done in that process."""
    token = process.set(life)
    try:
        yield
    finally:
        process.reset(token)


@contextmanager
def tracked_tasks() -> Generator[None]:
    """Have each process know its tasks: before Python 3.12 a task does not tell its context."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()

    def make(
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T] | Generator[Any, None, T],
        **options: Any,
    ) -> asyncio.Future[T]:
        made: Any = before or asyncio.Task
        task = made(loop, work, **options) if before else made(work, loop=loop, **options)
        context = options.get("context")
        owner = process.get() if context is None else context.get(process)
        if owner is not None:
            owner.add(task)
        return task  # type: ignore[no-any-return]  # whatever the factory before makes

    loop.set_task_factory(make)
    try:
        yield
    finally:
        loop.set_task_factory(before)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
