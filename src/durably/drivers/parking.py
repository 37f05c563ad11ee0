"""Who waits for which record to change, in an event loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from durably.core.op import Op
from durably.drivers.blocks import Block
from durably.drivers.polls import Polls
from durably.wire.operation import Operation

if TYPE_CHECKING:
    from durably.drivers.task_future import TaskFuture


class Waiting:
    """An operation that waits for its record to change."""

    __slots__ = ("block", "future", "op")

    def __init__(self, future: TaskFuture[Any], op: Op, block: Block) -> None:
        self.future = future
        self.op = op
        self.block = block


class Parking:
    """All of them, by the id of the record.

    Args:
        polls: asks for news as long as anybody waits; nothing where news is pushed.
    """

    __slots__ = ("_polls", "_waiting")

    def __init__(self, polls: Polls | None) -> None:
        self._waiting: dict[str, list[Waiting]] = {}
        self._polls = polls

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, waiting: Waiting, expected_at: datetime | None) -> None:
        """Note that *waiting* waits; its record is expected to change at *expected_at* if known."""
        self._waiting.setdefault(waiting.op.id, []).append(waiting)
        if self._polls is not None:
            self._polls.look_for(waiting.op.id, expected_at)

    def remove(self, waiting: Waiting) -> None:
        """Note that *waiting* goes on."""
        same = self._waiting[waiting.op.id]
        same.remove(waiting)
        if not same:
            del self._waiting[waiting.op.id]
            if self._polls is not None:
                self._polls.forget(waiting.op.id)

    def wake(self, changed: Iterable[Operation]) -> None:
        """Wake who waits for one of the records that have changed."""
        for record in changed:
            for waiting in self._waiting.get(record.id, ()):
                waiting.block.wake()

    def awaited(self) -> Iterator[Op]:
        """Give the operations that somebody waits for."""
        for same in self._waiting.values():
            for waiting in same:
                if waiting.future.is_waited_for():
                    yield waiting.op

    def close(self) -> None:
        """Ask for news no longer."""
        if self._polls is not None:
            self._polls.close()
