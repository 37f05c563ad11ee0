"""What waits to be written to SQLite, and which of it is written next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from durably.stores.sqlite_ledger import Ledger

T = TypeVar("T")
# What is done in a transaction. It checks before it changes anything.
Work: TypeAlias = Callable[[Ledger], T]

_MAX_GROUP = 500  # how many of them may keep the event loop busy at a stretch
_SOON_SECONDS = 0.001  # a change that nobody waits for goes with any group after this time


@dataclass(slots=True, eq=False)
class Handed:
    """Something to be written, in the order in which it was handed in.

    Attributes:
        arns: the executions concerned; `None` when it must see everything handed in before.
        is_awaited: somebody waits for it; otherwise it is only to be written soon.
        future: wakes whoever waits and could not be answered at once.
    """

    work: Work[Any]
    arns: tuple[str, ...] | None
    at: float
    is_awaited: bool
    is_done: bool = False
    result: Any = None
    error: Exception | None = None
    future: asyncio.Future[Any] | None = None


def is_full(queue: deque[Handed]) -> bool:
    """Whether the next group may leave something that nothing keeps back."""
    return len(queue) >= _MAX_GROUP


def take(queue: deque[Handed], monotonic: Callable[[], float], *, everything: bool) -> list[Handed]:
    """Take the next group from *queue*, in the order of handing in for each execution.

    Unless *everything* is wanted, a change that nobody waits for stays until its execution's next
    work, with which it makes one row, or until it has waited long enough.
    """
    if len(queue) == 1 and queue[0].is_awaited:
        return [queue.popleft()]
    taken = [queue.popleft() for _ in range(min(len(queue), _MAX_GROUP))]
    if everything or not taken:
        return taken
    last = taken[-1]
    if last.is_awaited and all(one.is_awaited or one.arns == last.arns for one in taken):
        return taken
    old = monotonic() - _SOON_SECONDS
    wanted: set[str] = set()
    for handed in taken:
        if handed.arns is None:
            return taken
        if handed.is_awaited or handed.at <= old:
            wanted.update(handed.arns)
    left = [handed for handed in taken if wanted.isdisjoint(handed.arns or ())]
    queue.extendleft(reversed(left))
    kept = set(map(id, left))
    return [handed for handed in taken if id(handed) not in kept]


def take_before(queue: deque[Handed], last: Handed) -> list[Handed]:
    """Take from *queue* what must be written before *last*."""
    wanted = set(last.arns or ())
    before: list[Handed] = []
    for handed in reversed(queue):
        if not wanted.isdisjoint(handed.arns or ()):
            wanted.update(handed.arns or ())
            before.append(handed)
    for handed in before:
        queue.remove(handed)
    return before[::-1]
