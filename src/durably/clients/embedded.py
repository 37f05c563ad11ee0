"""The way of a function to a service in its own process."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from durably.clients.transactions import OpenTransactions
from durably.drivers.client import Listener
from durably.drivers.settings import Host
from durably.engine.sessions import Session
from durably.engine.store import Begin
from durably.engine.tally import Tally
from durably.errors import TransactionError
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.update import OperationAction, OperationUpdate

_MACHINE = Host()


class EmbeddedClient:
    """A `PushingClient` for one invocation: method calls into the service, no wire, no tokens.

    Args:
        session: the invocation.
        host: what the function runs on.
        begin: begins a transaction for a step, if the store has any.
        tally: where it notes how long checkpoints take.
    """

    __slots__ = ("_checkpoint_seconds", "_session", "_transactions", "host")

    def __init__(
        self,
        session: Session,
        host: Host = _MACHINE,
        *,
        begin: Begin | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._session = session
        self._checkpoint_seconds = (tally or Tally()).checkpoint_seconds
        self.host = host
        self._transactions: OpenTransactions | None = None
        if begin is not None:
            self._transactions = OpenTransactions(partial(begin, session.arn))
            self.host = replace(host, transactions=self._transactions)

    @property
    def request_id(self) -> str:
        """What the history calls this invocation."""
        return self._session.request_id

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """Have the updates accepted together; return when they are durable.

        With the outcome of a step that has written in a transaction, what it wrote is durable, too.
        If others were in the way of that, or the database refused it because of what the step had
        done, nothing is recorded, and the reply tells of no change.

        Raises:
            InvalidParameterValueException: they were refused, or this invocation has no authority
                any more. Nothing of them was recorded.
            StoreError: they could not be written.
        """
        began = self.host.clock.monotonic()
        response = await self._checkpoint(request)
        self._checkpoint_seconds.note(self.host.clock.monotonic() - began)
        return response

    async def _checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        opened = self._transactions
        taken = None if opened is None else opened.take(request.updates)
        if opened is None or taken is None:
            return await self._session.checkpoint(request.updates)
        operation_id, transaction = taken
        try:
            if any(update.action is not OperationAction.SUCCEED for update in request.updates):
                await transaction.abort()
                return await self._session.checkpoint(request.updates)
            response = await self._session.checkpoint(request.updates, transaction)
            if (complaint := transaction.complaint(is_over=True)) is not None:
                raise TransactionError(complaint)
            if transaction.failure is not None:
                opened.refuse(operation_id, transaction.failure)
            return response
        finally:
            await transaction.abort()  # it was not appended to if that is refused before

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        """Read one page of the operations."""
        return self._session.state(request.marker, request.max_items)

    def end(self) -> None:
        """Let go of what code of the invocation still has in its hands: it is over."""
        if self._transactions is not None:
            self._transactions.end()

    def post(self, update: OperationUpdate) -> None:
        """Take *update* in order, to be durable soon or with the next checkpoint.

        Raises:
            InvalidParameterValueException: it was refused, or this invocation has no authority.
        """
        self._session.post(update)

    def listen(self, listener: Listener) -> None:
        """Call *listener*, in the event loop, with every operation that changes from outside."""
        self._session.listen(listener)
