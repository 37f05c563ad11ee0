"""The store of a test's executions: in memory, and it tells what has ended."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from random import Random
from typing import Any, TypeVar

from durably.app.histories import History
from durably.engine.facts import ChainedInvokeStarted, decode_fact
from durably.engine.store import Change
from durably.seams import RandomIds
from durably.stores.memory import MemoryStore

T = TypeVar("T")


class TestStore(MemoryStore):
    """Keeps what every memory store keeps.

    Attributes:
        closed: the executions that have ended.
        parked: those that nobody goes on with.
        asked: the callbacks that were made, each with its execution, until somebody takes them.
    """

    __test__ = False

    def __init__(self) -> None:
        super().__init__(ids=RandomIds(Random(0)))  # noqa: S311 - a test is to be repeated
        self.closed: set[str] = set()
        self.parked: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    async def append(self, changes: Sequence[Change]) -> None:
        """See `MemoryStore.append`."""
        await super().append(changes)
        for change in changes:
            self.asked += [(change.arn, callback_id) for callback_id in change.callback_ids]
            if change.summary.ended_at is not None:
                self.closed.add(change.arn)
            elif change.summary.parked_reason is not None:
                self.parked.add(change.arn)
            else:
                self.parked.discard(change.arn)

    def histories(self) -> tuple[History, ...]:
        """Give what has happened to each execution that there is, oldest first."""
        return tuple(History([decode_fact(fact) for fact in one.facts]) for one in self._by_start)

    def invoked(self) -> Iterator[str]:
        """Give the functions that executions have invoked."""
        for history in self.histories():
            for fact in history.facts:
                if isinstance(fact, ChainedInvokeStarted):
                    yield fact.function_name


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Give what *work* returns, which waits for nothing but a store that never suspends."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # typeshed: the value is Any
    work.close()
    raise AssertionError("a memory store does not suspend")
