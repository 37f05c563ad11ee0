"""An event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

from durably.app.loops import UNWINDING_SECONDS, end_tasks
from durably.app.processes import Birthplace
from durably.errors import InvalidStateError

log = logging.getLogger("durably.engine")

T = TypeVar("T")

_OVER = "the engine was closed meanwhile: open another one"


class LoopThread:
    """Runs coroutines for callers that block.

    Nothing that user code raises ends the loop: it goes on until `close`.

    Attributes:
        birthplace: the process that the thread runs in.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self.birthplace = Birthplace()
        self._lock = threading.Lock()
        self._waiting: set[Future[Any]] = set()
        self._has_ended = False
        self._is_stopped = False
        self._is_over = False
        self._cause: BaseException | None = None
        self._closing: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for *work*. An interruption of the caller cancels it.

        Raises:
            InvalidStateError: the loop is over, it runs in another process, or this was called in
                the loop that would have to do the work.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise InvalidStateError(
                "this would wait for itself: an `async def` function has no use for a SyncEngine"
            )
        return self._result(self._submit(work))

    def close(self, work: Coroutine[Any, Any, None], seconds: float) -> None:
        """Do *work* as the last thing, and end the loop with its thread.

        What takes longer than *seconds* is left behind, and goes on as long as the process does.
        An interruption of the caller cancels *work*.
        """
        future = self._submit(self._finish(work))
        future.add_done_callback(self._stop)
        try:
            wait((future,), min(seconds, threading.TIMEOUT_MAX))
        except BaseException:
            self._loop.call_soon_threadsafe(self._hurry)
            wait((future,), UNWINDING_SECONDS)
            raise
        if not future.done():
            log.error("the engine does not close within %g s, and is left behind", seconds)
        elif self._has_ended:
            self._thread.join()
        self._give_up_waiting(but=future)
        if future.done():
            self._result(future)

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            self.birthplace.check()
        except InvalidStateError:
            work.close()
            raise
        with self._lock:
            if self._is_over:
                work.close()
                raise InvalidStateError(_OVER) from self._cause
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._waiting.add(future)
            return future

    def _result(self, future: Future[T]) -> T:
        try:
            return future.result()
        except CancelledError:
            raise InvalidStateError(_OVER) from self._cause
        except BaseException:
            future.cancel()
            raise
        finally:
            with self._lock:
                self._waiting.discard(future)

    async def _finish(self, work: Coroutine[Any, Any, None]) -> None:
        self._closing = asyncio.ensure_future(work)
        await asyncio.wait((self._closing,))
        self._has_ended = await end_tasks()
        self._closing.result()

    def _hurry(self) -> None:
        if self._closing is not None:
            self._closing.cancel()

    def _stop(self, _: Future[None]) -> None:
        if self._has_ended:
            self._is_stopped = True
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _work(self) -> None:
        try:
            while not self._is_stopped:
                self._run_until_it_is_stopped()
        except BaseException as error:
            self._cause = error
            log.exception("the engine's event loop broke")
        finally:
            self._give_up_waiting()
            self._loop.close()

    def _give_up_waiting(self, but: Future[Any] | None = None) -> None:
        with self._lock:
            self._is_over = True
            waiting = self._waiting - {but}
        for future in waiting:
            future.cancel()

    def _run_until_it_is_stopped(self) -> None:
        try:
            self._loop.run_forever()
        except (KeyboardInterrupt, SystemExit):
            # asyncio lets these two out of whatever callback or task raises them.
            log.exception("user code wanted to end the process; the engine goes on")
