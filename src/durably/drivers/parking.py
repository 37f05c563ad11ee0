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


class Parked:
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

    __slots__ = ("_parked", "_polls")

    def __init__(self, polls: Polls | None) -> None:
        self._parked: dict[str, list[Parked]] = {}
        self._polls = polls

    def __bool__(self) -> bool:
        return bool(self._parked)

    def add(self, parked: Parked, expected_at: datetime | None) -> None:
        """Note that *parked* waits; its record is expected to change at *expected_at*, if known."""
        self._parked.setdefault(parked.op.id, []).append(parked)
        if self._polls is not None:
            self._polls.watch(parked.op.id, expected_at)

    def remove(self, parked: Parked) -> None:
        """Note that *parked* goes on."""
        same = self._parked[parked.op.id]
        same.remove(parked)
        if not same:
            del self._parked[parked.op.id]
            if self._polls is not None:
                self._polls.forget(parked.op.id)

    def wake(self, changed: Iterable[Operation]) -> None:
        """Wake who waits for one of the records that have changed."""
        for record in changed:
            for parked in self._parked.get(record.id, ()):
                parked.block.wake()

    def awaited(self) -> Iterator[Op]:
        """Give the operations that somebody waits for."""
        for waiting in self._parked.values():
            for parked in waiting:
                if parked.future.is_waited_for():
                    yield parked.op

    def close(self) -> None:
        """Ask for news no longer."""
        if self._polls is not None:
            self._polls.close()
