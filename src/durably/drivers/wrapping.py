"""Puts what plugins wrap around user code where that code runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from durably.core.wraps import MakeWraps


def in_task(body: Callable[..., Any], wraps: MakeWraps | None) -> Callable[..., Any]:
    """Give *body* with *wraps* around it, for a task: around what it gives to be awaited, too."""
    if wraps is None:
        return body

    async def wrapped(*args: Any) -> Any:
        with wraps():
            value = body(*args)
            return await value if inspect.isawaitable(value) else value

    return wrapped


def in_thread(body: Callable[..., Any], wraps: MakeWraps | None) -> Callable[..., Any]:
    """Give *body* with *wraps* around it, for a thread."""
    if wraps is None:
        return body

    def wrapped(*args: Any) -> Any:
        with wraps():
            return body(*args)

    return wrapped


def beside_task(body: Callable[[], Any], wraps: MakeWraps | None) -> Callable[[], Any]:
    """Give *body* with *wraps* around it, for a thread beside a task.

    What it gives may be awaited in the task: then *wraps* are around that once more.
    """
    if wraps is None:
        return body

    def wrapped() -> Any:
        with wraps():
            value = body()
        return in_task(lambda: value, wraps)() if inspect.isawaitable(value) else value

    return wrapped
