"""Tasks that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """All of them, until they are ended together.

    Attributes:
        is_ended: nothing runs in the background any more, and nothing begins to.
    """

    __slots__ = ("_tasks", "is_ended")

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_ended = False

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Have *coroutine* run in the background, unless that has ended."""
        if self.is_ended:
            coroutine.close()
            return
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cut off what runs. What that would have begun anew does not begin."""
        self.is_ended = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
