"""The event loop of a process that runs one invocation after another, as on AWS Lambda."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator, Iterable
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar
from weakref import WeakSet

from durably.core.lifecycle import MAX_UNWIND_SECONDS
from durably.drivers.logs import package_log
from durably.errors import InvalidStateError
from durably.wire.arns import title_of

T = TypeVar("T")

_turn = threading.Lock()
"""Held by the thread that runs the loop."""

_tasks_of_invocation: ContextVar[WeakSet[asyncio.Task[Any]] | None] = ContextVar(
    "durably_tasks_of_invocation", default=None
)


def run_in_kept_loop(main: Coroutine[Any, Any, T], arn: str) -> T:
    """Run *main*, an invocation of execution *arn*, in a loop that is kept for the next one.

    That is because making one is slow. The tasks that it leaves behind are cancelled, and named in
    a warning: AWS Lambda would freeze them with the process, and let them go on during another
    invocation. A task that was made in a context of its own, such as a client's that outlives the
    invocation, is left alone.

    Raises:
        InvalidStateError: it was called in an event loop, or while another thread runs this one.
    """
    if _is_in_loop():
        main.close()
        raise InvalidStateError("this thread must not wait: await the function's `invoke` instead")
    if not _turn.acquire(blocking=False):
        main.close()
        raise InvalidStateError(
            "another thread runs an invocation of an `async def` handler: await the functions' "
            "`invoke` in one event loop instead"
        )
    try:
        return _run(_loop(), main, arn)
    finally:
        _turn.release()


def _run(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T], arn: str) -> T:
    tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
    token = _tasks_of_invocation.set(tasks)
    try:
        return loop.run_until_complete(main)
    finally:
        _tasks_of_invocation.reset(token)
        _clear(loop, tasks, arn)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(_make_task)
    return loop


def _make_task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, T] | Generator[Any, None, T],
    **options: Any,
) -> asyncio.Task[T]:
    """Make a task, and note whose it is: that cannot be asked of it before Python 3.12."""
    task = asyncio.Task(work, loop=loop, **options)
    context = options.get("context")
    known = _tasks_of_invocation
    tasks = known.get() if context is None else context.get(known)
    if tasks is not None:
        tasks.add(task)
    return task


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _clear(loop: asyncio.AbstractEventLoop, tasks: WeakSet[asyncio.Task[Any]], arn: str) -> None:
    left = [task for task in tasks if not task.done()]
    if not left:
        return
    named = _names(left)
    package_log.warning(
        "tasks of %s were still running when its invocation ended, and are cancelled: %s",
        title_of(arn),
        ", ".join(named),
        extra={"executionArn": arn, "tasks": named},
    )
    for task in left:
        task.cancel()
    _, stubborn = loop.run_until_complete(asyncio.wait(left, timeout=MAX_UNWIND_SECONDS))
    if stubborn:
        named = _names(stubborn)
        package_log.error(
            "tasks of %s do not unwind, and are left behind with their event loop: %s",
            title_of(arn),
            ", ".join(named),
            extra={"executionArn": arn, "tasks": named},
        )
        _loop.cache_clear()


def _names(tasks: Iterable[asyncio.Task[Any]]) -> list[str]:
    return sorted(f"{task.get_name()} ({_what(task)})" for task in tasks)


def _what(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "?")
