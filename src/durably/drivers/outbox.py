"""Updates on their way to a backend: in order, in batches, one request at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from durably.core.batch import batch_length
from durably.seams import IdSource
from durably.wire.api import CheckpointRequest, CheckpointResponse
from durably.wire.base import encode_api
from durably.wire.update import OperationUpdate

Accepted = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Queued:
    """An update that has not been sent, and whom to tell when it is accepted."""

    update: OperationUpdate
    size: int
    accepted: Accepted | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request carries, and whom to tell when it is accepted."""

    request: CheckpointRequest
    updates: tuple[OperationUpdate, ...]
    accepted: tuple[Accepted, ...]


class Transport(Protocol):
    """Carries a request and, some time later or at once, brings its reply to the driver."""

    def __call__(self, batch: Batch) -> None:
        """Send *batch*."""
        ...


class Outbox:
    """The queue of one invocation. Its owner calls it from one thread, or under its lock."""

    __slots__ = ("_arn", "_forced", "_ids", "_queue", "_transport", "is_closed", "sending", "token")

    def __init__(self, arn: str, token: str, ids: IdSource, transport: Transport) -> None:
        self._arn = arn
        self._ids = ids
        self._transport = transport
        self._queue: deque[Queued] = deque()
        self._forced: list[Accepted] = []
        self.token = token
        self.sending: Batch | None = None
        self.is_closed = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is queued or in flight."""
        return self.sending is None and not self._queue and not self._forced

    def add(self, update: OperationUpdate, accepted: Accepted | None) -> None:
        """Queue *update*, and send what is queued unless a request is in flight."""
        self._queue.append(Queued(update, len(encode_api(update)), accepted))
        self._send()

    def force(self, accepted: Accepted) -> None:
        """Have a round trip made even without updates; all who ask share the next one."""
        self._forced.append(accepted)
        self._send()

    def accept(self, response: CheckpointResponse) -> Batch:
        """Take the reply to the request in flight, and send the next one."""
        batch, self.sending = self.sending, None
        assert batch is not None, "a reply answers a request"
        if response.checkpoint_token is None:
            self.close()
        else:
            self.token = response.checkpoint_token
        return batch

    def close(self) -> None:
        """Send nothing more."""
        self.is_closed = True
        self._queue.clear()
        self._forced.clear()

    def send_next(self) -> None:
        """Send what is queued, after the reply before has been dealt with."""
        self._send()

    def _send(self) -> None:
        if self.is_closed or self.sending is not None or not (self._queue or self._forced):
            return
        count = batch_length((queued.size for queued in self._queue), len(self.token))
        taken = [self._queue.popleft() for _ in range(count)]
        told = [queued.accepted for queued in taken if queued.accepted is not None]
        if not self._queue:
            told += self._forced
            self._forced = []
        updates = tuple(queued.update for queued in taken)
        request = CheckpointRequest(
            durable_execution_arn=self._arn,
            checkpoint_token=self.token,
            updates=updates,
            client_token=self._ids.hex(32),
        )
        self.sending = Batch(request, updates, tuple(told))
        self._transport(self.sending)
