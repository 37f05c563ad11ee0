"""The way of a function to a service in its own process."""

from __future__ import annotations

from durably.drivers.client import Listener
from durably.drivers.settings import Host
from durably.engine.sessions import Session
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.update import OperationUpdate

_MACHINE = Host()


class EmbeddedClient:
    """A `PushingClient` for one invocation: method calls into the service, no wire, no tokens.

    Args:
        session: the invocation.
        host: what the function runs on.
    """

    __slots__ = ("_session", "host")

    def __init__(self, session: Session, host: Host = _MACHINE) -> None:
        self._session = session
        self.host = host

    @property
    def request_id(self) -> str:
        """What the history calls this invocation."""
        return self._session.request_id

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """Have the updates accepted together; return when they are durable.

        Raises:
            InvalidParameterValueException: they were refused, or this invocation has no authority
                any more. Nothing of them was recorded.
            StoreError: they could not be written.
        """
        return await self._session.checkpoint(request.updates)

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        """Read one page of the operations."""
        return self._session.state(request.marker, request.max_items)

    def post(self, update: OperationUpdate) -> None:
        """Take *update* in order, to be durable soon or with the next checkpoint.

        Raises:
            InvalidParameterValueException: it was refused, or this invocation has no authority.
        """
        self._session.post(update)

    def listen(self, listener: Listener) -> None:
        """Call *listener*, in the event loop, with every operation that changes from outside."""
        self._session.listen(listener)
