"""Event loops whose end does not wait for user code that will not end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

log = logging.getLogger("durably.engine")

T = TypeVar("T")

UNWINDING_SECONDS: Final = 2.0

left_behind: Final[set[asyncio.Task[Any]]] = set()
"""Tasks that swallowed their cancellation. Loops hold tasks weakly; these are kept as they are."""


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* as `asyncio.run` does, but leave tasks behind that swallow their cancellation."""
    runner = asyncio.Runner()
    has_ended = True
    try:
        try:
            return runner.run(main)
        finally:
            has_ended = runner.run(end_tasks())
    finally:
        if has_ended:
            runner.close()


async def end_tasks() -> bool:
    """Cancel every task of the loop but this one, and say whether all of them end in time."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if not others:
        return True
    _, left = await asyncio.wait(others, timeout=UNWINDING_SECONDS)
    for task in left:
        log.error("a task does not end when it is cancelled, and is left behind: %r", task)
    left_behind.update(left)
    return not left
