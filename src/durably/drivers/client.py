"""The ways to a backend: two calls, blocking or not, and a nearer form for one in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeGuard

from durably.checks import shown
from durably.errors import ValidationError
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.operation import Operation
from durably.wire.update import OperationUpdate

if TYPE_CHECKING:
    from durably.drivers.settings import Host


class DurableExecutionClient(Protocol):
    """A backend, reached by calls that block."""

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """Have the backend accept updates together, and learn what has changed.

        Raises:
            ApiError: the backend refused. Nothing was recorded.
            DurableExecutionClientError: it failed, and says for whom: invocation or execution.
        """
        ...

    def get_execution_state(self, request: GetExecutionStateRequest) -> GetExecutionStateResponse:
        """Read one page of the operations of an execution; raises as `checkpoint` does."""
        ...


class AsyncDurableExecutionClient(Protocol):
    """A backend, reached by calls that are awaited."""

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """Have the backend accept updates together, and learn what has changed.

        Raises:
            ApiError: the backend refused. Nothing was recorded.
            DurableExecutionClientError: it failed, and says for whom: invocation or execution.
        """
        ...

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        """Read one page of the operations of an execution; raises as `checkpoint` does."""
        ...


Listener: TypeAlias = Callable[[Sequence[Operation]], bool]
"""Takes note of operations that have changed; `False` when it ends anyway and will not see them."""


class PushingClient(Protocol):
    """A backend in this very process and event loop, bound to one invocation.

    Besides the two awaited calls it takes updates that nobody waits for, and tells by itself what
    changes from outside, so nobody need poll it.
    """

    @property
    def request_id(self) -> str:
        """What the backend calls this invocation."""
        ...

    @property
    def host(self) -> Host:
        """What the function runs on: its backend's clock is its own."""
        ...

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """See `AsyncDurableExecutionClient.checkpoint`. The token in *request* is not read."""
        ...

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        """See `AsyncDurableExecutionClient.get_execution_state`."""
        ...

    def post(self, update: OperationUpdate) -> None:
        """Take *update* in order, to be durable soon or with the next checkpoint.

        A refusal or failure surfaces at the next checkpoint.
        """
        ...

    def listen(self, listener: Listener) -> None:
        """Call *listener*, in the event loop, with every operation that changes from outside."""
        ...


def pushes(client: AnyClient) -> TypeGuard[PushingClient]:
    """Whether *client* is a `PushingClient`; no other is listened to.

    One of the user's may well have a `post`: it is how HTTP is spoken.
    """
    return hasattr(client, "listen") and hasattr(client, "post")


AnyClient: TypeAlias = DurableExecutionClient | AsyncDurableExecutionClient | PushingClient


def check_client(client: object) -> None:
    """Refuse what is no client.

    Raises:
        ValidationError: so it is.
    """
    methods = [getattr(client, name, None) for name in ("checkpoint", "get_execution_state")]
    if client is not None and not all(map(callable, methods)):
        wanted = "a client with checkpoint and get_execution_state"
        raise ValidationError("client", f"must be {wanted}, not {shown(client)}")
