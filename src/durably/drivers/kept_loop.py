"""The event loop of a process that runs one invocation after another, as on AWS Lambda."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

from durably.core.lifecycle import MAX_UNWIND_SECONDS
from durably.drivers.logs import package_log
from durably.errors import InvalidStateError

T = TypeVar("T")


def run_in_kept_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* in a loop that is kept for the next time, because making one is slow.

    The tasks that it leaves behind are cancelled, and named in a warning: AWS Lambda would freeze
    them with the process, and let them go on during another invocation.

    Raises:
        InvalidStateError: it was called in an event loop, or by two threads at once.
    """
    loop = _loop()
    if _is_in_loop() or loop.is_running():
        main.close()
        raise InvalidStateError("this thread must not wait: await the function's `invoke` instead")
    try:
        return loop.run_until_complete(main)
    finally:
        _clear(loop)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _clear(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop)
    if not left:
        return
    names = sorted(f"{task.get_name()} ({_what(task)})" for task in left)
    package_log.warning(
        "tasks were still running when the invocation ended, and are cancelled",
        extra={"tasks": names},
    )
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.wait(left, timeout=MAX_UNWIND_SECONDS))
    if asyncio.all_tasks(loop):
        package_log.error("tasks do not unwind, and are left behind with their event loop")
        _loop.cache_clear()


def _what(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "?")
