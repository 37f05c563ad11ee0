"""May this invocation stop now, and why?"""

from __future__ import annotations

from collections.abc import Iterable

from durably.core.op import Op
from durably.errors import TerminationReason
from durably.wire.operation import OperationSubType, OperationType

COOLDOWN_SECONDS = 0.02
"""How long to look away before the second look, where other tasks of the user's may go on."""

MAX_SWALLOWED_SIGNALS = 100
MAX_UNWIND_SECONDS = 5.0
"""User code that swallows more signals, or takes longer to unwind, loses its token."""


class Activity:
    """What an invocation has under way, in numbers.

    Attributes:
        moving: operations that go on by themselves: those whose step body runs, that wait for a
            checkpoint, or that have not got so far. Parked ones, and contexts that wait for their
            body, are not.
        owners: tasks or threads that run the body of an open context.
        parked_owners: those of them that wait in a durable future.
    """

    __slots__ = ("moving", "owners", "parked_owners")

    def __init__(self) -> None:
        self.moving = 0
        self.owners = 0
        self.parked_owners = 0

    @property
    def is_certainly_over(self) -> bool:
        """Whether neither an operation nor any task of the user's can go on."""
        return self.moving == 0 and self.owners == self.parked_owners


def reason_to_stop(awaited: Iterable[Op]) -> TerminationReason | None:
    """Give the reason for which an invocation may stop that waits for *awaited* alone."""
    reason = None
    for op in awaited:
        if op.type is OperationType.STEP and op.sub_type == OperationSubType.STEP:
            return TerminationReason.RETRY_SCHEDULED
        if op.type is OperationType.WAIT:
            reason = TerminationReason.WAIT_SCHEDULED
        elif reason is None:
            reason = TerminationReason.CALLBACK_PENDING
    return reason
