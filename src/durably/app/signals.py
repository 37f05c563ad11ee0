"""SIGINT and SIGTERM, as something to wait for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Takes the two signals over for as long as it is entered, in the main thread's event loop.

    Attributes:
        first: done with the first of them.
        second: done with the second.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.first: asyncio.Future[signal.Signals] = self._loop.create_future()
        self.second: asyncio.Future[signal.Signals] = self._loop.create_future()

    async def __aenter__(self) -> Self:
        """Take the signals over."""
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, self._received, number)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give them back."""
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)

    async def hurry(self, work: Coroutine[Any, Any, None]) -> None:
        """Do *work*, which a second signal cancels; it must then still end well."""
        task = asyncio.ensure_future(work)
        await asyncio.wait((task, self.second), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def _received(self, number: signal.Signals) -> None:
        for future in (self.first, self.second):
            if not future.done():
                future.set_result(number)
                return
