"""What is under way in an event loop: bodies of contexts, their operations, and tasks of ours."""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from durably.core.lifecycle import Activity
from durably.core.scope import Scope

if TYPE_CHECKING:
    from durably.drivers.task_future import TaskFuture


class OpenBody:
    """The body of a context while it runs, or the branches of a fan-out.

    Attributes:
        future: the operation that it belongs to, `None` for the handler.
        calls: its operations that have not ended, in the order of their calls.
    """

    __slots__ = ("calls", "future")

    def __init__(self, future: TaskFuture[Any] | None) -> None:
        self.future = future
        self.calls: dict[TaskFuture[Any], None] = {}


class OpenWork:
    """All of it, for one invocation.

    Args:
        on_crash: told of what a task of ours raised that is no failure of an operation.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        activity: Activity,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._activity = activity
        self._on_crash = on_crash
        self._bodies: dict[Scope, OpenBody] = {}
        self._owners: Counter[asyncio.Task[Any] | None] = Counter()
        self._tasks: dict[asyncio.Task[None], TaskFuture[Any]] = {}
        self._unstarted: list[TaskFuture[Any]] = []
        self._is_start_due = False
        self._leaving: dict[TaskFuture[Any], None] = {}
        self._gone: asyncio.Future[None] | None = None

    # Bodies

    def enter(self, scope: Scope, future: TaskFuture[Any] | None) -> None:
        """Note that the current task runs the body of *scope*, for *future*."""
        self._bodies[scope] = OpenBody(future)
        task = scope.owner = asyncio.current_task()
        self._owners[task] += 1
        self._activity.owners = len(self._owners)

    def leave(self, scope: Scope) -> list[TaskFuture[Any]]:
        """Note that the body is over; give up what it has left open, and tell what that was."""
        task = asyncio.current_task()
        scope.owner = None
        self._owners[task] -= 1
        if not self._owners[task]:
            del self._owners[task]
        self._activity.owners = len(self._owners)
        return self.close(scope)

    def open_branches(self, scope: Scope, future: TaskFuture[Any]) -> None:
        """Note that *future* has branches under *scope*."""
        self._bodies[scope] = OpenBody(future)

    def close(self, scope: Scope) -> list[TaskFuture[Any]]:
        """Close *scope*: nothing more is recorded under it, and what is open there is given up."""
        scope.is_closed = True
        body = self._bodies.pop(scope, None)
        if body is None:
            return []
        left = list(body.calls)
        for future in left:
            future.move(self._leaving)
            future.abandon()
        return left

    def find(self, scope: Scope) -> OpenBody | None:
        """Give the body of *scope* while it is open."""
        return self._bodies.get(scope)

    def owns_a_context(self) -> bool:
        """Whether the current task runs the body of an open context."""
        return asyncio.current_task() in self._owners

    # Operations that nobody drives yet

    def start_soon(self, future: TaskFuture[Any]) -> None:
        """Have *future* driven by a task of its own, unless it is awaited by then.

        That is a turn of the loop after the next, because it takes one turn until the tasks run
        that `asyncio.gather` and `asyncio.wait_for` make to await it.
        """
        future.task_context = contextvars.copy_context()
        self._unstarted.append(future)
        if not self._is_start_due:
            self._is_start_due = True
            self._loop.call_soon(self._pass_a_turn)

    def forget_unstarted(self, future: TaskFuture[Any]) -> None:
        """Note that *future* is driven by who awaits it."""
        if self._unstarted and self._unstarted[-1] is future:
            self._unstarted.pop()

    def _pass_a_turn(self) -> None:
        unstarted, self._unstarted = self._unstarted, []
        self._is_start_due = False
        if unstarted:
            self._loop.call_soon(self._start_unawaited, unstarted)

    def _start_unawaited(self, unstarted: Sequence[TaskFuture[Any]]) -> None:
        for future in unstarted:
            if future.is_primed:
                self.start(future)

    # Tasks

    def start(self, future: TaskFuture[Any]) -> None:
        """Drive *future* in a task of its own."""
        task = self._loop.create_task(
            future.drive(), name=f"durably {future.op}", context=future.task_context
        )
        future.claim(task)
        self._tasks[task] = future
        task.add_done_callback(self._forget_task)

    def is_ours(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether *task* was made to drive one operation."""
        return task in self._tasks

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        future = self._tasks.pop(task)
        future.close()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._on_crash(error)
        self.note_ended()

    # The end

    def abandon(self) -> None:
        """Give up every operation, in the order in which their contexts were opened."""
        for body in list(self._bodies.values()):
            for future in list(body.calls):
                future.abandon()

    def note_ended(self) -> None:
        """See whether everything is gone, if that is waited for."""
        gone = self._gone
        if gone is not None and not gone.done() and not self._leaving and not self._tasks:
            gone.set_result(None)

    async def close_all(self, seconds: float) -> list[TaskFuture[Any]]:
        """Close every body, and wait until all is unwound; tell what has not after *seconds*."""
        for scope in list(self._bodies):
            self.close(scope)
        if self._leaving or self._tasks:
            self._gone = self._loop.create_future()
            await asyncio.wait([self._gone], timeout=seconds)
        return list(self._leaving)


def current_task() -> asyncio.Task[Any] | None:
    """Give the task that this code runs in, `None` in a thread without an event loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
