"""What is due when, in one execution."""

from __future__ import annotations

from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import NamedTuple


class TimerKind(IntEnum):
    """What happens when a timer is due. At one instant the lower kind comes first."""

    WAIT_OVER = 0
    STEP_READY = 1
    CALLBACK_TIMEOUT = 2
    HEARTBEAT_TIMEOUT = 3


class Timer(NamedTuple):
    """One operation's timer. Instants are microseconds since the epoch, as in facts."""

    due: int
    operation: int
    kind: TimerKind


_FEWEST_WORTH_CLEARING = 64


class Timers:
    """The armed timers of one execution, changed by its one owner.

    A timer called off stays in the heap until it comes to the top or half of the heap is dead, so
    arming and calling off cost the same however many there are.
    """

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._due: dict[tuple[int, TimerKind], int] = {}

    def __len__(self) -> int:
        return len(self._due)

    def arm(self, operation: int, kind: TimerKind, due: int) -> None:
        """Have *operation*, given by its place, move at *due*; an earlier such timer is void."""
        self._due[operation, kind] = due
        heappush(self._heap, Timer(due, operation, kind))
        self._clear()

    def call_off(self, operation: int, kind: TimerKind) -> None:
        """Forget a timer, if it is armed."""
        if self._due.pop((operation, kind), None) is not None:
            self._clear()

    def due_of(self, operation: int, kind: TimerKind) -> int | None:
        """Say when one timer is due, `None` when it is not armed."""
        return self._due.get((operation, kind))

    def earliest(self) -> int | None:
        """Say when the next timer is due."""
        return self._heap[0].due if self._heap else None

    def first(self) -> Timer | None:
        """Give the next timer that is due."""
        return self._heap[0] if self._heap else None

    def due_by(self, now: int) -> list[Timer]:
        """Give every timer due at *now* or before, earliest first. Nothing is changed.

        Only those and their neighbours in the heap are looked at.
        """
        due: list[Timer] = []
        places = [0] if self._heap and self._heap[0].due <= now else []
        while places:
            place = places.pop()
            timer = self._heap[place]
            if self._due.get((timer.operation, timer.kind)) == timer.due:
                due.append(timer)
            left = 2 * place + 1
            places += [n for n in self._heap_range(left) if self._heap[n].due <= now]
        return sorted(set(due))

    def _heap_range(self, left: int) -> range:
        return range(left, min(left + 2, len(self._heap)))

    def _clear(self) -> None:
        heap = self._heap
        if len(heap) > _FEWEST_WORTH_CLEARING and len(heap) > 2 * len(self._due):
            heap[:] = [Timer(due, *key) for key, due in self._due.items()]
            heapify(heap)
        while heap and self._due.get((heap[0].operation, heap[0].kind)) != heap[0].due:
            heappop(heap)
