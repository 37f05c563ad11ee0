"""How many invocations of which functions a worker has room for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum

from durably.engine.invokers import Invoker
from durably.engine.policy import DispatcherPolicy
from durably.engine.store import Claim


class Kind(Enum):
    """What limits how many invocations of a function there may be, beside their number in all."""

    THREADS = "the threads that such functions share"
    BOUNDED = "its own capacity"
    FREE = "nothing"


class Rooms:
    """The room of one worker. Asked at every look, for every function.

    Args:
        invoker: how functions are called.
        policy: how many invocations there may be in all.
        running: what runs now, each with its claim.
    """

    def __init__(
        self,
        invoker: Invoker,
        policy: DispatcherPolicy,
        running: Mapping[asyncio.Task[None], Claim],
    ) -> None:
        self._invoker = invoker
        self._policy = policy
        self._running = running

    def sorted_out(self, functions: Sequence[str]) -> Mapping[Kind, Sequence[str]]:
        """Put those together that have their room in common."""
        holds_thread, capacity = self._invoker.holds_thread, self._invoker.capacity
        threads: list[str] = []
        bounded: list[str] = []
        free: list[str] = []
        for name in functions:
            if holds_thread(name):
                threads.append(name)
            elif capacity(name) is None:
                free.append(name)
            else:
                bounded.append(name)
        return {Kind.THREADS: threads, Kind.BOUNDED: bounded, Kind.FREE: free}

    def of(self, kind: Kind, functions: Sequence[str]) -> Mapping[str, int]:
        """Say how many more invocations there may be of each; those without room are left out."""
        running = Counter([claim.function_name for claim in self._running.values()])
        room = self._policy.max_concurrency - running.total()
        if kind is Kind.THREADS:
            room = min(room, self._policy.max_threads - self._threads_held(running))
        if room <= 0:
            return {}
        if kind is not Kind.BOUNDED:
            return dict.fromkeys(functions, room)
        rooms: dict[str, int] = {}
        for name in functions:
            capacity = self._invoker.capacity(name)
            own = room if capacity is None else min(room, capacity - running[name])
            if own > 0:
                rooms[name] = own
        return rooms

    def _threads_held(self, running: Counter[str]) -> int:
        holds_thread = self._invoker.holds_thread
        return sum(amount for name, amount in running.items() if holds_thread(name))
