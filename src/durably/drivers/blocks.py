"""Where tasks wait inside durable futures; counted, so that a stop can be seen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from durably.core.lifecycle import Activity

if TYPE_CHECKING:
    from durably.drivers.tasks import TaskRun


class Block:
    """One wait of one task.

    Args:
        is_drive: the task drives an operation, which cannot go on meanwhile.
        owns: the task runs the body of an open context.
    """

    __slots__ = ("_activity", "_is_drive", "_owns", "_waiter")

    def __init__(self, activity: Activity, *, is_drive: bool, owns: bool) -> None:
        self._activity = activity
        self._is_drive = is_drive
        self._owns = owns
        self._waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        activity.moving -= is_drive
        activity.parked_owners += owns

    def wake(self) -> None:
        """Let the task go on. It counts as moving from now on, not only when it runs."""
        if not self._waiter.done():
            self._waiter.set_result(None)
            self._count_back()

    async def wait(self) -> None:
        """Wait for `wake`."""
        try:
            await self._waiter
        except asyncio.CancelledError:
            if self._waiter.cancelled():
                self._count_back()
            raise

    def _count_back(self) -> None:
        self._activity.moving += self._is_drive
        self._activity.parked_owners -= self._owns


class Bell:
    """Rung by whatever ends; one task waits for it again and again."""

    __slots__ = ("_block", "_has_rung", "_is_drive", "_run")

    def __init__(self, run: TaskRun, *, is_drive: bool) -> None:
        self._run = run
        self._is_drive = is_drive
        self._block: Block | None = None
        self._has_rung = False

    def wake(self) -> None:
        """Ring."""
        self._has_rung = True
        if self._block is not None:
            self._block.wake()

    async def wait(self) -> None:
        """Wait until it has rung since the last time."""
        if not self._has_rung:
            owns = self._run.work.owns_a_context()
            self._block = Block(self._run.activity, is_drive=self._is_drive, owns=owns)
            try:
                await self._run.block(self._block)
            finally:
                self._block = None
        self._has_rung = False
