"""A wait: a time that passes without a process."""

from __future__ import annotations

from durably.core.effects import Park, Persist, Program
from durably.core.journal import Journal, due_at
from durably.core.op import Op
from durably.wire.operation import TERMINAL_STATUSES
from durably.wire.update import WaitOptions


def wait(journal: Journal, op: Op, seconds: int) -> Program[None]:
    """Record the wait once, then sleep until the backend says that it is over."""
    while True:
        record = journal.find(op.id)
        if record is None:
            journal.begin(op)
            yield Persist(op.start(wait_options=WaitOptions(wait_seconds=seconds)), wait=True)
        elif record.status in TERMINAL_STATUSES:
            return
        else:
            yield Park(op, due_at(record))


def never(op: Op) -> Program[None]:
    """Stay open, as *op* did when the context it was called on was closed."""
    while True:
        yield Park(op)
