"""How the updates of a thread-driven invocation reach its backend."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from durably.drivers.backends import Backend, Driver
from durably.drivers.client import (
    AnyClient,
    AsyncDurableExecutionClient,
    DurableExecutionClient,
    PushingClient,
    pushes,
)
from durably.drivers.news import News
from durably.drivers.outbox import Batch, Outbox
from durably.drivers.paging import checkpoint_with_all_pages
from durably.drivers.starting import start_thread
from durably.errors import (
    TerminationReason,
    UnrecoverableError,
    ValidationError,
    classify_checkpoint_error,
)
from durably.seams import IdSource
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.update import OperationUpdate

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

T = TypeVar("T")

Wait = Callable[[], None]
"""Returns when the reply has been merged, or the invocation ends. Called without the lock."""


class ThreadDriver(Driver, Protocol):
    """An invocation in threads. `merge` leaves it to `news` to tell plugins, without the lock."""

    lock: threading.RLock
    changed: threading.Condition
    news: News

    @property
    def is_ending(self) -> bool:
        """Whether no operation is accepted any more."""
        ...


class ThreadBackend(Backend, Protocol):
    """A backend that blocks. All but `drain`, `persist_last` and `close` under the lock."""

    def persist(self, update: OperationUpdate) -> Wait:
        """Take *update*; the answer waits until it is accepted."""
        ...

    def persist_last(self, update: OperationUpdate) -> None:
        """Return when *update* has been accepted, after the handler has ended.

        Raises:
            UnrecoverableError: it was not.
        """
        ...

    def drain(self) -> bool:
        """Say whether everything posted has been accepted, once that is known.

        `False`: the backend has taken the authority of this invocation away.

        Raises:
            UnrecoverableError: something was refused, or nobody knows.
        """
        ...

    def close(self) -> None:
        """Send nothing more, and let go of every thread."""
        ...


class LoopBackend:
    """A backend in an event loop of this process, called from threads."""

    pushes = True

    def __init__(
        self, arn: str, client: PushingClient, loop: asyncio.AbstractEventLoop, driver: ThreadDriver
    ) -> None:
        self._arn = arn
        self._client = client
        self._loop = loop
        self._driver = driver
        with suppress(RuntimeError):  # the loop is closed: the first call will say so
            loop.call_soon_threadsafe(client.listen, driver.hear)

    def is_idle(self) -> bool:
        """Whether nothing is on its way; what is posted changes no record by itself."""
        return True

    def post(self, update: OperationUpdate) -> None:
        """Hand *update* to the loop."""
        try:
            self._loop.call_soon_threadsafe(self._post, update)
        except RuntimeError as error:  # the loop is closed
            self._driver.break_off(classify_checkpoint_error(error))

    def _post(self, update: OperationUpdate) -> None:
        try:
            self._client.post(update)
        except Exception as error:  # noqa: BLE001 - classified: a client may fail in any way
            self._driver.break_off(classify_checkpoint_error(error))

    def persist(self, update: OperationUpdate) -> Wait:
        """Have the loop send *update*."""
        reply = _start_in_loop(self._loop, self._send(update))

        def wait() -> None:
            try:
                response = reply.result()
            except Exception as error:
                raise self._driver.break_off(classify_checkpoint_error(error)) from error
            if response.checkpoint_token is None:
                raise self._driver.stop(TerminationReason.OPERATION_TERMINATED)

        return wait

    def persist_last(self, update: OperationUpdate) -> None:
        """Have the loop send *update*, and wait for the reply."""
        try:
            _start_in_loop(self._loop, self._send(update)).result()
        except Exception as error:
            raise classify_checkpoint_error(error) from error

    def poll(self) -> None:
        """Do nothing: what changes is pushed."""

    def drain(self) -> bool:
        """Do nothing: what was posted is written with the end of the invocation."""
        return True

    def close(self) -> None:
        """Do nothing: the loop is not ours."""

    async def _send(self, update: OperationUpdate) -> CheckpointResponse:
        request = CheckpointRequest(
            durable_execution_arn=self._arn, checkpoint_token="", updates=(update,)
        )
        response = await self._client.checkpoint(request)
        # Here, in the loop, so that replies and what is pushed are taken over in their order.
        # Plugins are told elsewhere: a hook may block, and the loop is everybody's.
        self._driver.merge(response.new_execution_state.operations)
        return response


class SendingBackend:
    """A backend elsewhere: one request in flight, sent by a thread that this invocation owns."""

    pushes = False

    def __init__(
        self,
        arn: str,
        token: str,
        client: DurableExecutionClient,
        driver: ThreadDriver,
        ids: IdSource,
    ) -> None:
        self._client = client
        self._driver = driver
        answers_at_once = getattr(client, "answers_at_once", False)
        transport = self._send if answers_at_once else self._hand_over
        self._outbox = Outbox(arn, token, ids, transport)
        self._handed_over: Batch | None = None
        self._to_send = threading.Condition(driver.lock)
        self._sender: threading.Thread | None = None
        self._is_left = False
        self._broken: UnrecoverableError | None = None

    def is_idle(self) -> bool:
        """Whether nothing is queued or in flight."""
        return self._outbox.is_empty

    def post(self, update: OperationUpdate) -> None:
        """Queue *update*."""
        self._outbox.add(update)

    def persist(self, update: OperationUpdate) -> Wait:
        """Queue *update*."""
        accepted: list[OperationUpdate] = []
        self._outbox.add(update, lambda: accepted.append(update))

        def wait() -> None:
            if not accepted:
                with self._driver.lock:
                    self._driver.changed.wait_for(lambda: accepted or self._driver.is_ending)

        return wait

    def persist_last(self, update: OperationUpdate) -> None:
        """Queue *update*, and wait for the reply."""
        with self._driver.lock:
            self._outbox.add(update)
        self.drain()

    def poll(self) -> None:
        """Ask for a round trip; who waits for a record is woken when it changes."""
        self._outbox.force()

    def drain(self) -> bool:
        """Wait until nothing is queued or in flight."""
        with self._driver.lock:
            self._driver.changed.wait_for(lambda: self._outbox.is_empty)
            if self._broken is not None:
                raise self._broken
            return not self._outbox.is_closed

    def close(self) -> None:
        """End the sender; what is in flight, if anything, is nobody's any longer."""
        with self._driver.lock:
            self._is_left = self._is_left or not self._outbox.is_empty
            self._outbox.close()
            self._to_send.notify()
            self._driver.changed.notify_all()  # who waits for what is in flight need not
        if self._sender is not None and not self._is_left:
            self._sender.join()

    def _hand_over(self, batch: Batch) -> None:
        self._handed_over = batch
        if self._sender is None:
            self._sender = start_thread("durably checkpoints", self._send_all)
        self._to_send.notify()

    def _send_all(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._send(batch)
            self._driver.news.tell()

    def _next_batch(self) -> Batch | None:
        with self._driver.lock:
            self._to_send.wait_for(lambda: self._handed_over or self._outbox.is_closed)
            batch, self._handed_over = self._handed_over, None
            return None if self._outbox.is_closed else batch

    def _send(self, batch: Batch) -> None:
        try:
            response = checkpoint_with_all_pages(self._client, batch.request)
        except Exception as error:  # noqa: BLE001 - classified: a client may fail in any way
            self._fail(error)
        else:
            self._take(response)

    def _take(self, response: CheckpointResponse) -> None:
        with self._driver.lock:
            if self._outbox.sending is None:
                return  # the invocation is over
            batch = self._outbox.accept(response)
            self._driver.merge(response.new_execution_state.operations, batch.updates)
            for accepted in batch.accepted:
                accepted()
            if self._outbox.is_closed and not batch.closes_execution:
                self._driver.stop(TerminationReason.OPERATION_TERMINATED)
            self._outbox.send()
            self._driver.changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._driver.lock:
            if self._outbox.sending is None:
                return  # the invocation is over
            self._outbox.close()
            self._broken = classify_checkpoint_error(error)
            self._driver.break_off(self._broken)
            self._driver.changed.notify_all()


class BlockingClient:
    """A client of an event loop, called from threads."""

    def __init__(
        self, client: AsyncDurableExecutionClient, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._client = client
        self._loop = loop

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """See `DurableExecutionClient.checkpoint`."""
        return _start_in_loop(self._loop, self._client.checkpoint(request)).result()

    def get_execution_state(self, request: GetExecutionStateRequest) -> GetExecutionStateResponse:
        """See `DurableExecutionClient.get_execution_state`."""
        return _start_in_loop(self._loop, self._client.get_execution_state(request)).result()


def _start_in_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> Future[T]:
    import asyncio  # noqa: PLC0415 - it is there already, because the client needs it

    try:
        return asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError as error:  # the loop is closed
        from concurrent.futures import Future  # noqa: PLC0415 - asyncio has brought it

        work.close()
        failed: Future[T] = Future()
        failed.set_exception(error)
        return failed


def blocking(client: AnyClient, loop: asyncio.AbstractEventLoop | None) -> DurableExecutionClient:
    """Give *client* as one that blocks.

    Raises:
        ValidationError: it needs an event loop, and there is none.
    """
    if not inspect.iscoroutinefunction(client.checkpoint):
        return cast("DurableExecutionClient", client)
    if loop is None:
        raise ValidationError("client", "an asynchronous client needs an event loop: use an Engine")
    return BlockingClient(cast("AsyncDurableExecutionClient", client), loop)


def backend_for(
    arn: str,
    token: str,
    client: AnyClient,
    loop: asyncio.AbstractEventLoop | None,
    ids: IdSource,
) -> Callable[[ThreadDriver], ThreadBackend]:
    """Say how to make the backend of an invocation."""
    if pushes(client) and loop is not None:
        return partial(LoopBackend, arn, client, loop)
    return lambda driver: SendingBackend(arn, token, blocking(client, loop), driver, ids)
