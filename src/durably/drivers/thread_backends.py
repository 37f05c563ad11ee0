"""How the updates of a thread-driven invocation reach its backend."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from durably.drivers.client import (
    AnyClient,
    AsyncDurableExecutionClient,
    DurableExecutionClient,
    PushingClient,
)
from durably.drivers.outbox import Batch, Outbox
from durably.drivers.paging import checkpoint_with_all_pages
from durably.errors import (
    DurableSignal,
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
from durably.wire.operation import Operation, OperationType
from durably.wire.update import OperationUpdate

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Driver(Protocol):
    """What a backend tells the invocation."""

    lock: threading.RLock
    changed: threading.Condition

    def merge(
        self, operations: Sequence[Operation], accepted: Sequence[OperationUpdate] = ()
    ) -> bool:
        """Take over records that have changed; `True` if the invocation goes on with them."""
        ...

    def break_off(self, error: UnrecoverableError) -> DurableSignal:
        """End the invocation with *error*; give the signal to raise."""
        ...

    def stop(self, reason: TerminationReason) -> DurableSignal:
        """End the invocation as pending; give the signal to raise."""
        ...

    @property
    def is_ending(self) -> bool:
        """Whether no operation is accepted any more."""
        ...


class Backend(Protocol):
    """Takes updates in order."""

    pushes: bool

    def post(self, update: OperationUpdate) -> None:
        """Take *update*; nobody waits for it."""
        ...

    def persist(self, update: OperationUpdate) -> None:
        """Return when *update* has been accepted and the reply merged, or the invocation ends."""
        ...

    def poll(self) -> None:
        """Ask what has changed."""
        ...

    def drain(self) -> None:
        """Return when everything posted has been accepted."""
        ...

    def close(self) -> None:
        """Let go of every thread."""
        ...


class LoopBackend:
    """A backend in an event loop of this process, called from threads."""

    pushes = True

    def __init__(
        self, arn: str, client: PushingClient, loop: asyncio.AbstractEventLoop, driver: Driver
    ) -> None:
        self._arn = arn
        self._client = client
        self._loop = loop
        self._driver = driver
        client.listen(driver.merge)

    def post(self, update: OperationUpdate) -> None:
        """Hand *update* to the loop."""
        self._loop.call_soon_threadsafe(self._post, update)

    def _post(self, update: OperationUpdate) -> None:
        try:
            self._client.post(update)
        except Exception as error:
            self._driver.break_off(classify_checkpoint_error(error))

    def persist(self, update: OperationUpdate) -> None:
        """Have the loop send *update*, and wait for the reply."""
        request = CheckpointRequest(
            durable_execution_arn=self._arn, checkpoint_token="", updates=(update,)
        )
        try:
            response = _in_loop(self._loop, self._client.checkpoint(request))
        except Exception as error:
            raise self._driver.break_off(classify_checkpoint_error(error)) from error
        self._driver.merge(response.new_execution_state.operations, (update,))
        if response.checkpoint_token is None and update.type is not OperationType.EXECUTION:
            raise self._driver.stop(TerminationReason.OPERATION_TERMINATED)

    def poll(self) -> None:
        """Do nothing: what changes is pushed."""

    def drain(self) -> None:
        """Do nothing: what was posted is written with the end of the invocation."""

    def close(self) -> None:
        """Do nothing: the loop is not ours."""


class QueueingBackend:
    """A backend elsewhere: one request in flight, sent by a thread that this invocation owns."""

    pushes = False

    def __init__(
        self, arn: str, token: str, client: DurableExecutionClient, driver: Driver, ids: IdSource
    ) -> None:
        self._client = client
        self._driver = driver
        self._answers_at_once = bool(getattr(client, "answers_at_once", False))
        transport = self._send_here if self._answers_at_once else self._hand_over
        self._outbox = Outbox(arn, token, ids, transport)
        self._handed_over: Batch | None = None
        self._sender: threading.Thread | None = None
        self._is_closing = False

    def post(self, update: OperationUpdate) -> None:
        """Queue *update*."""
        with self._driver.lock:
            self._outbox.add(update, None)

    def persist(self, update: OperationUpdate) -> None:
        """Queue *update*, and wait for the reply that accepts it."""
        accepted = []
        with self._driver.lock:
            self._outbox.add(update, lambda: accepted.append(True))
            self._driver.changed.wait_for(lambda: accepted or self._driver.is_ending)

    def poll(self) -> None:
        """Ask for a round trip; who waits for a record is woken when it changes."""
        with self._driver.lock:
            self._outbox.force(_nobody)

    def drain(self) -> None:
        """Wait until nothing is queued or in flight.

        Raises:
            UnrecoverableError: something was not accepted.
        """
        with self._driver.lock:
            self._driver.changed.wait_for(lambda: self._outbox.is_empty or self._outbox.is_closed)
            if self._broken is not None:
                raise self._broken

    def close(self) -> None:
        """End the sender."""
        with self._driver.lock:
            self._is_closing = True
            self._outbox.close()
            self._driver.changed.notify_all()

    _broken: UnrecoverableError | None = None

    def _send_here(self, batch: Batch) -> None:
        try:
            response = self._client.checkpoint(batch.request)
        except Exception as error:
            self._fail(error)
        else:
            self._take(response)

    def _hand_over(self, batch: Batch) -> None:
        self._handed_over = batch
        if self._sender is None:
            name = "durably checkpoints"
            self._sender = threading.Thread(target=self._send_all, name=name, daemon=True)
            self._sender.start()
        self._driver.changed.notify_all()

    def _send_all(self) -> None:
        while True:
            with self._driver.lock:
                self._driver.changed.wait_for(lambda: self._handed_over or self._is_closing)
                batch, self._handed_over = self._handed_over, None
                if batch is None:
                    return
            try:
                response = checkpoint_with_all_pages(self._client, batch.request)
            except Exception as error:
                self._fail(error)
            else:
                self._take(response)

    def _take(self, response: CheckpointResponse) -> None:
        with self._driver.lock:
            batch = self._outbox.accept(response)
            self._driver.merge(response.new_execution_state.operations, batch.updates)
            for accepted in batch.accepted:
                accepted()
            closes = any(update.type is OperationType.EXECUTION for update in batch.updates)
            if self._outbox.is_closed and not closes:
                self._driver.stop(TerminationReason.OPERATION_TERMINATED)
            self._outbox.send_next()
            self._driver.changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._driver.lock:
            self._outbox.close()
            self._broken = classify_checkpoint_error(error)
            self._driver.break_off(self._broken)


class BlockingClient:
    """A client of an event loop, called from threads."""

    def __init__(
        self, client: AsyncDurableExecutionClient, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._client = client
        self._loop = loop

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """See `DurableExecutionClient.checkpoint`."""
        return _in_loop(self._loop, self._client.checkpoint(request))

    def get_execution_state(self, request: GetExecutionStateRequest) -> GetExecutionStateResponse:
        """See `DurableExecutionClient.get_execution_state`."""
        return _in_loop(self._loop, self._client.get_execution_state(request))


def _in_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    return asyncio.run_coroutine_threadsafe(work, loop).result()


def _nobody() -> None:
    """Nobody waits for a poll; who waits for a record is woken when it changes."""


def blocking(client: AnyClient, loop: asyncio.AbstractEventLoop | None) -> DurableExecutionClient:
    """Give *client* as one that blocks."""
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
) -> Callable[[Driver], Backend]:
    """Say how to make the backend of an invocation."""
    if isinstance(client, PushingClient) and loop is not None:
        return partial(LoopBackend, arn, client, loop)
    return lambda driver: QueueingBackend(arn, token, blocking(client, loop), driver, ids)
