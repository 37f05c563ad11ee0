"""Waiting for one execution, and showing meanwhile how it goes on."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from durably.app.assembly import Assembly
from durably.app.signals import StopSignals
from durably.cli.others import Others
from durably.cli.printing import counted, is_terminal
from durably.cli.progress import LiveProgress, PlainProgress, Progress, SilentProgress
from durably.cli.watching import is_suspended, look
from durably.clock import Clock
from durably.engine.views import Description, Standing
from durably.errors import StoreError

_MIN_INTERVAL_SECONDS = 0.2
_MAX_SHARE = 0.2  # of the time may go into looking
_MAX_CHILDREN = 24


class Left(Enum):
    """Why nobody waits for the execution any more, though it has not ended."""

    INTERRUPTED = "interrupted"
    SUSPENDED = "suspended"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Waits for one execution, and shows how it goes on.

    Attributes:
        began_at: when this process began its work on the store.
        began: how it stood when it was started, or found.
        is_new: whether it was started.
        waits: also while nothing can go on before a time or an event.
        is_quiet: shows nothing.
    """

    assembly: Assembly
    others: Others
    signals: StopSignals
    clock: Clock
    began_at: datetime
    began: Description
    is_new: bool
    waits: bool
    is_quiet: bool

    async def follow(self) -> Description | Left:
        """Give how the execution stands when it is closed or parked, or why that is not awaited."""
        began = self.began
        if began.ended_at is not None and began.ended_at < self.began_at:
            return began
        progress = self._progress()
        try:
            many = counted(began.operation_count, "operation")
            progress.say("started" if self.is_new else f"going on after {many}")
            self._tell_of_others(progress)
            came = await self._watch(progress)
            await self._finish(progress)
            return came
        finally:
            progress.close()

    def _progress(self) -> Progress:
        if self.is_quiet:
            return SilentProgress()
        title = f"{self.began.function_name}/{self.began.execution_name}"
        if is_terminal(sys.stderr):
            return LiveProgress(title, self.began.started_at, self.began_at)
        return PlainProgress(title, self.began_at)

    async def _watch(self, progress: Progress) -> Description | Left:
        ended = asyncio.ensure_future(self.assembly.service.wait_closed(self.began.arn))
        interrupted = self.signals.first
        interval = 0.0
        try:
            while True:
                await asyncio.wait(
                    (ended, interrupted), timeout=interval, return_when=asyncio.FIRST_COMPLETED
                )
                if ended.done():
                    return ended.result()
                if interrupted.done():
                    return Left.INTERRUPTED
                looked_at = self.clock.monotonic()
                if not self.waits and (left := await self._left()) is not None:
                    return left
                await self._show(progress)
                spent = self.clock.monotonic() - looked_at
                is_first = not interval  # that look brings what it needs with it
                interval = (
                    _MIN_INTERVAL_SECONDS
                    if is_first
                    else max(_MIN_INTERVAL_SECONDS, spent / _MAX_SHARE)
                )
        finally:
            ended.cancel()

    async def _left(self) -> Left | None:
        """Say why nothing can go on before a time or an event; `None` if it can."""
        service, arn = self.assembly.service, self.began.arn
        if not await is_suspended(service, arn):
            return None
        is_paused = (await service.why(arn)).standing is Standing.PAUSED
        return Left.PAUSED if is_paused else Left.SUSPENDED

    async def _finish(self, progress: Progress) -> None:
        if not self.is_quiet:
            with suppress(StoreError):  # how it ended is known all the same
                sight = await look(self.assembly.service, self.began.arn, max_children=0)
                progress.finish(sight, self.clock.now())

    async def _show(self, progress: Progress) -> None:
        if self.is_quiet:
            return
        with suppress(StoreError):  # the worker says so, and a picture can wait
            sight = await look(self.assembly.service, self.began.arn, max_children=_MAX_CHILDREN)
            progress.show(sight, self.clock.now())
            await self.others.look()
            self._tell_of_others(progress)

    def _tell_of_others(self, progress: Progress) -> None:
        news = self.others.news(self.began.arn)
        if news is not None:
            progress.say(news)
