"""How the updates of a task-driven invocation reach its backend."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Protocol, cast

from durably.drivers.client import (
    AnyClient,
    AsyncDurableExecutionClient,
    DurableExecutionClient,
    PushingClient,
)
from durably.drivers.outbox import Batch, Outbox
from durably.drivers.paging import checkpoint_with_all_pages, with_all_pages
from durably.errors import TerminationReason, UnrecoverableError, classify_checkpoint_error
from durably.seams import IdSource
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
)
from durably.wire.operation import Operation, OperationType
from durably.wire.update import OperationUpdate


class Driver(Protocol):
    """What a backend tells the invocation."""

    loop: asyncio.AbstractEventLoop

    def merge(
        self, operations: Sequence[Operation], accepted: Sequence[OperationUpdate] = ()
    ) -> bool:
        """Take over records that have changed; `True` if the invocation goes on with them."""
        ...

    def break_off(self, error: UnrecoverableError) -> BaseException:
        """End the invocation with *error*; give the signal to raise."""
        ...

    def stop(self, reason: TerminationReason) -> BaseException:
        """End the invocation as pending; give the signal to raise."""
        ...

    def note_quiet(self) -> None:
        """See whether the invocation may stop."""
        ...


class Backend(Protocol):
    """Takes updates in order."""

    pushes: bool

    def is_idle(self) -> bool:
        """Whether nothing is on its way that could change a record."""
        ...

    def post(self, update: OperationUpdate) -> None:
        """Take *update*; nobody waits for it."""
        ...

    async def persist(self, update: OperationUpdate) -> None:
        """Return when *update* has been accepted and the reply merged."""
        ...

    def poll(self) -> None:
        """Ask what has changed."""
        ...

    async def drain(self) -> None:
        """Return when everything posted has been accepted."""
        ...


class PushingBackend:
    """A backend in this process: no queue of ours, no polls."""

    pushes = True

    def __init__(self, arn: str, client: PushingClient, driver: Driver) -> None:
        self._arn = arn
        self._client = client
        self._driver = driver
        client.listen(driver.merge)

    def is_idle(self) -> bool:
        return True

    def post(self, update: OperationUpdate) -> None:
        try:
            self._client.post(update)
        except Exception as error:
            raise self._driver.break_off(classify_checkpoint_error(error)) from error

    async def persist(self, update: OperationUpdate) -> None:
        request = CheckpointRequest(
            durable_execution_arn=self._arn, checkpoint_token="", updates=(update,)
        )
        try:
            response = await self._client.checkpoint(request)
        except Exception as error:
            raise self._driver.break_off(classify_checkpoint_error(error)) from error
        self._driver.merge(response.new_execution_state.operations, (update,))
        if response.checkpoint_token is None and update.type is not OperationType.EXECUTION:
            raise self._driver.stop(TerminationReason.OPERATION_TERMINATED)

    def poll(self) -> None:
        return

    async def drain(self) -> None:
        return


class QueueingBackend:
    """A backend elsewhere: one request in flight, what gathers meanwhile goes in the next."""

    pushes = False

    def __init__(
        self, arn: str, token: str, client: AnyClient, driver: Driver, ids: IdSource
    ) -> None:
        self._driver = driver
        self._outbox = Outbox(arn, token, ids, self._transport_for(client))
        self._drained: list[asyncio.Future[None]] = []
        self._requests: set[asyncio.Task[None]] = set()

    def is_idle(self) -> bool:
        return self._outbox.is_empty

    def post(self, update: OperationUpdate) -> None:
        self._outbox.add(update, None)

    async def persist(self, update: OperationUpdate) -> None:
        waiter = self._driver.loop.create_future()
        self._outbox.add(update, lambda: waiter.done() or waiter.set_result(None))
        await waiter

    def poll(self) -> None:
        self._outbox.force(_nobody)

    async def drain(self) -> None:
        if not self._outbox.is_empty:
            waiter = self._driver.loop.create_future()
            self._drained.append(waiter)
            await waiter

    def _transport_for(self, client: AnyClient) -> Callable[[Batch], None]:
        if inspect.iscoroutinefunction(client.checkpoint):
            return lambda batch: self._send_in_task(
                cast("AsyncDurableExecutionClient", client), batch
            )
        blocking = cast("DurableExecutionClient", client)
        if getattr(client, "answers_at_once", False):
            return lambda batch: self._send_here(blocking, batch)
        return lambda batch: self._send_in_thread(blocking, batch)

    def _send_here(self, client: DurableExecutionClient, batch: Batch) -> None:
        try:
            response = client.checkpoint(batch.request)
        except Exception as error:
            self._fail(error)
        else:
            self._take(response)

    def _send_in_task(self, client: AsyncDurableExecutionClient, batch: Batch) -> None:
        async def send() -> None:
            try:
                response = await client.checkpoint(batch.request)
                response = await with_all_pages(client, batch.request, response)
            except Exception as error:
                self._fail(error)
            else:
                self._take(response)

        task = self._driver.loop.create_task(send())
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    def _send_in_thread(self, client: DurableExecutionClient, batch: Batch) -> None:
        loop = self._driver.loop

        def send() -> None:
            try:
                response = checkpoint_with_all_pages(client, batch.request)
            except Exception as error:
                loop.call_soon_threadsafe(self._fail, error)
            else:
                loop.call_soon_threadsafe(self._take, response)

        _client_threads().submit(send)

    def _take(self, response: CheckpointResponse) -> None:
        batch = self._outbox.accept(response)
        self._driver.merge(response.new_execution_state.operations, batch.updates)
        for accepted in batch.accepted:
            accepted()
        closes = any(update.type is OperationType.EXECUTION for update in batch.updates)
        if self._outbox.is_closed and not closes:
            self._driver.stop(TerminationReason.OPERATION_TERMINATED)
        self._outbox.send_next()
        if self._outbox.is_empty:
            for waiter in self._drained:
                if not waiter.done():
                    waiter.set_result(None)
            self._drained.clear()
            self._driver.note_quiet()

    def _fail(self, error: Exception) -> None:
        self._outbox.close()
        broken = classify_checkpoint_error(error)
        self._driver.break_off(broken)
        for waiter in self._drained:
            if not waiter.done():
                waiter.set_exception(broken)


def _nobody() -> None:
    """Nobody waits for a poll; who waits for a record is woken when it changes."""


@cache
def _client_threads() -> ThreadPoolExecutor:
    """Threads in which blocking clients send; one for each invocation that does so at a time."""
    return ThreadPoolExecutor(max_workers=32, thread_name_prefix="durably-client")
