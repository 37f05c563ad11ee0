"""How the updates of a task-driven invocation reach its backend."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeAlias, cast

from durably.drivers.backends import Backend, Driver
from durably.drivers.beside import in_thread
from durably.drivers.client import (
    AnyClient,
    AsyncDurableExecutionClient,
    DurableExecutionClient,
    PushingClient,
)
from durably.drivers.outbox import Batch, Outbox
from durably.drivers.paging import checkpoint_and_await_pages, checkpoint_with_all_pages
from durably.errors import TerminationReason, UnrecoverableError, classify_checkpoint_error
from durably.seams import IdSource
from durably.wire.api import CheckpointRequest, CheckpointResponse
from durably.wire.update import OperationUpdate

_Fetch: TypeAlias = Callable[[CheckpointRequest], Awaitable[CheckpointResponse]]


class TaskDriver(Driver, Protocol):
    """An invocation in an event loop."""

    loop: asyncio.AbstractEventLoop

    def note_quiet(self) -> None:
        """See whether the invocation may stop."""
        ...


class TaskBackend(Backend, Protocol):
    """A backend whose answers are awaited."""

    async def persist(self, update: OperationUpdate) -> None:
        """Return when *update* has been accepted and the reply merged."""
        ...

    async def persist_last(self, update: OperationUpdate) -> None:
        """Return when *update* has been accepted, after the handler has ended.

        Raises:
            UnrecoverableError: it was not.
        """
        ...

    async def drain(self) -> bool:
        """Say whether everything posted has been accepted, once that is known.

        `False`: the backend has taken the authority of this invocation away.

        Raises:
            UnrecoverableError: something was refused, or nobody knows.
        """
        ...

    async def close(self, seconds: float) -> None:
        """Send nothing more, and let go of every task; wait for them no longer than *seconds*."""
        ...


class PushingBackend:
    """A backend in this process: no queue of ours, no polls."""

    pushes = True

    def __init__(self, arn: str, client: PushingClient, driver: TaskDriver) -> None:
        self._arn = arn
        self._client = client
        self._driver = driver

    def is_idle(self) -> bool:
        """Whether nothing is on its way; what is posted changes no record by itself."""
        return True

    def post(self, update: OperationUpdate) -> None:
        """Hand *update* over."""
        try:
            self._client.post(update)
        except Exception as error:  # noqa: BLE001 - classified: a client may fail in any way
            self._driver.break_off(classify_checkpoint_error(error))

    async def persist(self, update: OperationUpdate) -> None:
        """Send *update*, and merge the reply."""
        try:
            response = await self._client.checkpoint(self._request(update))
        except Exception as error:
            raise self._driver.break_off(classify_checkpoint_error(error)) from error
        self._driver.merge(response.new_execution_state.operations)
        if response.checkpoint_token is None:
            raise self._driver.stop(TerminationReason.OPERATION_TERMINATED)

    async def persist_last(self, update: OperationUpdate) -> None:
        """Send *update*."""
        try:
            await self._client.checkpoint(self._request(update))
        except Exception as error:
            raise classify_checkpoint_error(error) from error

    def poll(self) -> None:
        """Do nothing: what changes is pushed."""

    async def drain(self) -> bool:
        """Do nothing: what was posted is written with the end of the invocation."""
        return True

    async def close(self, seconds: float) -> None:
        """Do nothing: the client knows when its invocation is over."""

    def _request(self, update: OperationUpdate) -> CheckpointRequest:
        return CheckpointRequest(
            durable_execution_arn=self._arn, checkpoint_token="", updates=(update,)
        )


class QueueingBackend:
    """A backend elsewhere: one request in flight, what gathers meanwhile goes in the next."""

    pushes = False

    def __init__(
        self, arn: str, token: str, client: AnyClient, driver: TaskDriver, ids: IdSource
    ) -> None:
        self._driver = driver
        self._outbox = Outbox(arn, token, ids, self._transport_for(client))
        self._broken: UnrecoverableError | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._requests: set[asyncio.Task[None]] = set()

    def is_idle(self) -> bool:
        """Whether nothing is queued or in flight."""
        return self._outbox.is_empty

    def post(self, update: OperationUpdate) -> None:
        """Queue *update*."""
        self._outbox.add(update)

    async def persist(self, update: OperationUpdate) -> None:
        """Queue *update*, and wait for the reply. If none comes the driver ends the wait."""
        waiter = self._driver.loop.create_future()

        def accepted() -> None:
            if not waiter.done():
                waiter.set_result(None)

        self._outbox.add(update, accepted)
        await waiter

    async def persist_last(self, update: OperationUpdate) -> None:
        """Queue *update*, and wait for the reply."""
        self._outbox.add(update)
        await self.drain()

    def poll(self) -> None:
        """Ask for a round trip; who waits for a record is woken when it changes."""
        self._outbox.force()

    async def drain(self) -> bool:
        """Wait until nothing is queued or in flight."""
        while not self._outbox.is_empty:
            self._emptied = self._driver.loop.create_future()
            await self._emptied
        if self._broken is not None:
            raise self._broken
        return not self._outbox.is_closed

    async def close(self, seconds: float) -> None:
        """Send nothing more; what is in flight is nobody's any longer."""
        self._outbox.close()
        for request in self._requests:
            request.cancel()
        if self._requests:
            await asyncio.wait(self._requests, timeout=seconds)

    def _transport_for(self, client: AnyClient) -> Callable[[Batch], None]:
        if inspect.iscoroutinefunction(client.checkpoint):
            fetch = partial(checkpoint_and_await_pages, cast("AsyncDurableExecutionClient", client))
            return partial(self._send_in_task, fetch)
        blocking = cast("DurableExecutionClient", client)
        if getattr(client, "answers_at_once", False):
            return partial(self._send_here, blocking)
        return partial(self._send_in_task, partial(_fetch_in_thread, blocking))

    def _send_here(self, client: DurableExecutionClient, batch: Batch) -> None:
        try:
            response = checkpoint_with_all_pages(client, batch.request)
        except Exception as error:  # noqa: BLE001 - classified: a client may fail in any way
            self._fail(error)
        else:
            self._take(response)

    def _send_in_task(self, fetch: _Fetch, batch: Batch) -> None:
        async def send() -> None:
            try:
                response = await fetch(batch.request)
            except Exception as error:  # noqa: BLE001 - classified: a client may fail in any way
                self._fail(error)
            else:
                self._take(response)

        task = self._driver.loop.create_task(send(), name="durably checkpoint")
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    def _take(self, response: CheckpointResponse) -> None:
        if self._outbox.sending is None:
            return  # the invocation is over
        batch = self._outbox.accept(response)
        self._driver.merge(response.new_execution_state.operations, batch.updates)
        for accepted in batch.accepted:
            accepted()
        if self._outbox.is_closed and not batch.closes_execution:
            self._driver.stop(TerminationReason.OPERATION_TERMINATED)
        self._outbox.send()
        self._note_sent()

    def _fail(self, error: Exception) -> None:
        if self._outbox.sending is None:
            return  # the invocation is over
        self._outbox.close()
        self._broken = classify_checkpoint_error(error)
        self._driver.break_off(self._broken)
        self._note_sent()

    def _note_sent(self) -> None:
        if not self._outbox.is_empty:
            return
        if self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)
        self._driver.note_quiet()


async def _fetch_in_thread(
    client: DurableExecutionClient, request: CheckpointRequest
) -> CheckpointResponse:
    work = partial(checkpoint_with_all_pages, client, request)
    return await in_thread(work, "durably checkpoint")
