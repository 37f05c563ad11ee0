"""What the backends of every kind of invocation have in common; each kind adds how it waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from durably.errors import TerminationReason, UnrecoverableError
from durably.wire.operation import Operation
from durably.wire.update import OperationUpdate


class Driver(Protocol):
    """What a backend tells the invocation."""

    def merge(
        self, operations: Sequence[Operation], accepted: Sequence[OperationUpdate] = ()
    ) -> None:
        """Take over records that a reply has changed."""
        ...

    def hear(self, operations: Sequence[Operation]) -> bool:
        """Take over what has changed outside; `False` if the next invocation is to be told."""
        ...

    def break_off(self, error: UnrecoverableError) -> BaseException:
        """End the invocation with *error*; give the signal to raise."""
        ...

    def stop(self, reason: TerminationReason) -> BaseException:
        """End the invocation as pending; give the signal to raise."""
        ...


class Backend(Protocol):
    """Takes updates in order.

    Attributes:
        pushes: it tells by itself what changes, so nobody need poll it.
    """

    pushes: bool

    def is_idle(self) -> bool:
        """Whether nothing is on its way that could change a record."""
        ...

    def post(self, update: OperationUpdate) -> None:
        """Take *update*; nobody waits for it."""
        ...

    def poll(self) -> None:
        """Ask what has changed."""
        ...
