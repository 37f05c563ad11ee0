"""Updates on their way to a backend: in order, in batches, one request at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from durably.core.batch import batch_length
from durably.seams import IdSource, maybe
from durably.wire.api import CheckpointRequest, CheckpointResponse
from durably.wire.base import encode_api
from durably.wire.operation import OperationType
from durably.wire.update import OperationUpdate

Accepted = Callable[[], None]


class Batch(msgspec.Struct, frozen=True):
    """What one request carries, and whom to tell when it is accepted."""

    request: CheckpointRequest
    accepted: tuple[Accepted, ...]

    @property
    def updates(self) -> tuple[OperationUpdate, ...]:
        """The updates that it carries; none in a request that only asks for news."""
        return self.request.updates

    @property
    def closes_execution(self) -> bool:
        """Whether it carries the update after which there is no further token."""
        return any(update.type is OperationType.EXECUTION for update in self.updates)


Transport = Callable[[Batch], None]
"""Carries a request and, some time later or at once, brings its reply to the driver."""


class Outbox:
    """The queue of one invocation. Its owner calls it from one thread, or under its lock.

    Attributes:
        sending: the request in flight.
        is_closed: nothing is sent any more.
    """

    __slots__ = (
        "_arn",
        "_ids",
        "_is_forced",
        "_queue",
        "_token",
        "_transport",
        "is_closed",
        "sending",
    )

    def __init__(self, arn: str, token: str, ids: IdSource, transport: Transport) -> None:
        self._arn = arn
        self._token = token
        self._ids = ids
        self._transport = transport
        self._queue: deque[tuple[OperationUpdate, Accepted | None]] = deque()
        self._is_forced = False
        self.sending: Batch | None = None
        self.is_closed = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is queued or in flight."""
        return self.sending is None and not self._queue and not self._is_forced

    def add(self, update: OperationUpdate, accepted: Accepted | None = None) -> None:
        """Queue *update*, and send what is queued unless a request is in flight."""
        if not self.is_closed:
            self._queue.append((update, accepted))
            self.send()

    def force(self) -> None:
        """Have a round trip made even without updates; all who ask meanwhile share the next."""
        if not self.is_closed:
            self._is_forced = True
            self.send()

    def accept(self, response: CheckpointResponse) -> Batch:
        """Take the reply to the request in flight; without a token it was the last."""
        batch, self.sending = self.sending, None
        assert batch is not None, "a reply answers a request"
        if response.checkpoint_token is None:
            self.close()
        else:
            self._token = response.checkpoint_token
        return batch

    def close(self) -> None:
        """Send nothing more, and forget what is queued."""
        self.is_closed = True
        self.sending = None
        self._queue.clear()
        self._is_forced = False

    def send(self) -> None:
        """Send what is queued, unless a request is in flight."""
        if self.sending is not None or not (self._queue or self._is_forced):
            return
        taken = [self._queue.popleft() for _ in range(self._batch_length())]
        if not self._queue:
            self._is_forced = False
        request = CheckpointRequest(
            durable_execution_arn=self._arn,
            checkpoint_token=self._token,
            updates=tuple(update for update, _ in taken),
            client_token=self._ids.hex(32),
        )
        told = tuple(accepted for _, accepted in taken if accepted is not None)
        self.sending = Batch(request, told)
        self._transport(self.sending)

    def _batch_length(self) -> int:
        if len(self._queue) <= 1 or maybe("batch of one"):
            return min(len(self._queue), 1)
        sizes = (len(encode_api(update)) for update, _ in self._queue)
        return batch_length(sizes, len(self._token))
