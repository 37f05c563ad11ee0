"""Who waits for which record to change, where threads are unwound to wait."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from durably.core.journal import Journal
from durably.core.op import Op
from durably.core.polling import poll_delay_seconds
from durably.errors import BranchSuspended
from durably.wire.operation import Operation

if TYPE_CHECKING:
    from durably.drivers.nursery import BranchRun


class Awaited:
    """A record that somebody waits for to change, as it was when he began to.

    Attributes:
        expected_at: when it is expected to, if that is known.
    """

    __slots__ = ("_seen", "expected_at", "op")

    def __init__(self, journal: Journal, op: Op, expected_at: datetime | None) -> None:
        self.op = op
        self.expected_at = expected_at
        self._seen: Operation | None = journal.find(op.id)

    def has_changed(self, journal: Journal) -> bool:
        """Whether it has."""
        return journal.find(self.op.id) is not self._seen


class Asleep:
    """What sleeps until one of several records changes.

    Attributes:
        polls: how often somebody has looked for it in vain.
    """

    __slots__ = ("awaited", "polls")

    def __init__(self, awaited: list[Awaited]) -> None:
        self.awaited = awaited
        self.polls = 0

    def has_news(self, journal: Journal) -> bool:
        """Whether there is no reason to sleep any more."""
        return any(one.has_changed(journal) for one in self.awaited)

    def delay_seconds(self, now: datetime) -> float:
        """Say when to look for news that the backend does not tell by itself."""
        return min(poll_delay_seconds(self.polls, now, one.expected_at) for one in self.awaited)


class BranchAsleep(BranchSuspended):
    """Unwinds the thread of a branch that has nothing to do before a record changes."""


class Sleepers:
    """The branches that are asleep, by the records they wait for. All of it under the lock."""

    __slots__ = ("_by_record",)

    def __init__(self) -> None:
        self._by_record: dict[str, dict[BranchRun, Asleep]] = {}

    def add(self, branch: BranchRun, asleep: Asleep) -> None:
        """Have *branch* woken when one of the records changes."""
        for one in asleep.awaited:
            self._by_record.setdefault(one.op.id, {})[branch] = asleep

    def remove(self, branch: BranchRun) -> None:
        """Leave *branch* asleep."""
        assert branch.asleep is not None, "it is asleep"
        for one in branch.asleep.awaited:
            sleeping = self._by_record.get(one.op.id, {})
            sleeping.pop(branch, None)
            if not sleeping:
                self._by_record.pop(one.op.id, None)

    def wake(self, changed: Iterable[Operation]) -> None:
        """Wake the branches that wait for one of the records that have changed."""
        for record in changed:
            for branch in list(self._by_record.get(record.id, ())):
                self.remove(branch)
                branch.nursery.wake(branch)
