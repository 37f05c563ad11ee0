"""Work that blocks, in a thread beside an event loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from durably.core.effects import Ok
from durably.drivers.starting import start_thread

T = TypeVar("T")


async def in_thread(work: Callable[[], T], name: str) -> T:
    """Run *work* in a thread of its own: one that hangs takes nobody's place, and no exit waits.

    When this is cancelled the thread is left behind, and what *work* gives is dropped.

    Raises:
        UnrecoverableInvocationError: there is no thread to be had, so *work* is not done.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Ok[T] | BaseException] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        outcome: Ok[T] | BaseException
        try:
            outcome = Ok(context.run(work))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            outcome = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_settle, ended, outcome)

    start_thread(name, run)
    outcome = await ended
    if isinstance(outcome, Ok):
        return outcome.value
    raise outcome


def _settle(ended: asyncio.Future[T], value: T) -> None:
    if not ended.done():
        ended.set_result(value)
