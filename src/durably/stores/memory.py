"""The store for tests and for what need not outlive its process."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from durably.engine.roster import claim_name
from durably.engine.store import (
    KEY_BYTES,
    Census,
    Change,
    Claim,
    Listed,
    Page,
    Query,
    Stored,
    Summary,
    VersionConflict,
)
from durably.engine.tally import Tally
from durably.seams import IdSource, RandomIds
from durably.stores.admission import check_call, check_change, check_names, name_of, wakes
from durably.stores.instants import EPOCH, to_us
from durably.stores.paging import marker_after, place_of


class MemoryStore:
    """Keeps journals in this process, with the rules of every other store and no durability.

    No method ever suspends. What it holds stays when it is closed, until the object is gone.

    Attributes:
        tally: what is counted of this process's work on it.
        begin: none: no step can write to it.
    """

    begin = None

    def __init__(self, *, ids: IdSource | None = None) -> None:
        self._keys: tuple[bytes, ...] = ((ids or RandomIds()).nonce(KEY_BYTES),)
        self._executions: dict[str, _Execution] = {}
        self._by_name: dict[tuple[str, str], _Execution] = {}
        self._by_callback: dict[str, _Execution] = {}
        self._by_start: list[_Execution] = []
        self._due: dict[str, _Agenda] = {}
        self._expiring = _Agenda(_delete_at)
        self._refused: dict[str, VersionConflict] = {}
        self._created = 0
        self.tally = Tally()

    async def open(self) -> None:
        """Void every claim: whoever held one went away when the store was closed."""
        self._refused.clear()
        for execution in self._executions.values():
            if execution.owner is not None:
                execution.epoch += 1
                self._wake(execution, EPOCH)

    async def close(self) -> None:
        """Do nothing: everything handed in has been taken, and there is nothing to let go of."""

    async def keys(self) -> Sequence[bytes]:
        """Give the keys that tokens are made with, newest first."""
        return self._keys

    async def add_key(self, key: bytes) -> bool:
        """Make *key* the newest, and keep the one before."""
        self._keys = (key, self._keys[0])
        return True

    async def append(self, changes: Sequence[Change]) -> None:
        """Add each change's facts if nobody else has since its expected version; all or none."""
        check_call(changes)
        if self._refused:
            self._raise_refusal(changes)
        if len(changes) > 1:
            check_names(changes)
        executions = [self._admit(change) for change in changes]
        for change, execution in zip(changes, executions, strict=True):
            self._add(change, execution)

    def append_soon(self, change: Change) -> None:
        """Take *change* at once; if it is refused, the next append of its execution says so."""
        check_call((change,))
        if change.arn in self._refused:
            return
        try:
            self._add(change, self._admit(change))
        except VersionConflict as refusal:
            self._refused[change.arn] = refusal

    async def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        """Claim up to *limit* executions of *functions* that somebody must look at by *now*."""
        agendas = [self._due[name] for name in set(functions) if name in self._due]
        claims: list[Claim] = []
        while len(claims) < limit:
            earliest = min(filter(None, map(_Agenda.first, agendas)), default=None)
            if earliest is None or earliest[0] > now:
                break
            execution = earliest[2]
            is_takeover = execution.owner is not None
            execution.epoch += 1
            execution.owner = worker
            self._wake(execution, now + lease)
            name = execution.summary.function_name
            claims.append(Claim(execution.arn, name, execution.epoch, is_takeover))
        return claims

    async def extend(
        self, worker: str, epochs: Sequence[tuple[str, int]], until: datetime
    ) -> Sequence[str]:
        """Let claims (arn, epoch) last until *until* at least; give the arns of those gone."""
        gone: list[str] = []
        for arn, epoch in epochs:
            execution = self._executions.get(arn)
            if execution is None or execution.owner != worker or execution.epoch != epoch:
                gone.append(arn)
            else:
                self._wake(execution, max(execution.wake_at or until, until))
        return gone

    async def next_wake_at(self, functions: Sequence[str]) -> datetime | None:
        """Say when the earliest execution of *functions* is due, `None` when none ever is."""
        agendas = (self._due[name] for name in set(functions) if name in self._due)
        earliest = min(filter(None, map(_Agenda.first, agendas)), default=None)
        return None if earliest is None else earliest[0]

    async def find(self, arn: str) -> Stored | None:
        """Load an execution with all its facts."""
        execution = self._executions.get(arn)
        if execution is None:
            return None
        epoch = None if execution.owner is None else execution.epoch
        facts = tuple(execution.facts)
        version = len(facts)
        return Stored(arn, facts, execution.summary, execution.wake_at, epoch, version)

    async def find_by_name(self, function_name: str, execution_name: str) -> str | None:
        """Give the arn of the execution that a function's name stands for."""
        execution = self._by_name.get((function_name, execution_name))
        return None if execution is None else execution.arn

    async def find_by_callback(self, callback_id: str) -> str | None:
        """Give the arn of the execution that waits for a callback."""
        execution = self._by_callback.get(callback_id)
        return None if execution is None else execution.arn

    async def list(self, query: Query) -> Page:
        """Give one page of the executions that *query* asks for."""
        found: list[_Execution] = []
        for execution in self._in_order(query):
            if not _matches(execution.summary, query):
                continue
            if len(found) == query.limit:
                last = found[-1]
                return Page(tuple(map(_listed, found)), marker_after(last.started_us, last.number))
            found.append(execution)
        return Page(tuple(map(_listed, found)), None)

    async def census(self, statuses: Sequence[str], limit: int) -> Census:
        """Count the executions of each of *statuses*, and the parked ones; none beyond *limit*."""
        summaries = [execution.summary for execution in self._by_start]
        counted = Counter(summary.status for summary in summaries)
        parked = sum(summary.parked_reason is not None for summary in summaries)
        return Census(
            by_status={status: min(counted[status], limit) for status in statuses},
            parked=min(parked, limit),
            wake_at=await self.next_wake_at(tuple(self._due)),
        )

    async def delete(self, arn: str, expected_version: int) -> None:
        """Remove an execution, its facts and its callback ids."""
        execution = self._executions.get(arn)
        if execution is None or execution.owner is not None:
            raise VersionConflict(arn)
        if len(execution.facts) != expected_version:
            raise VersionConflict(arn)
        self._remove(execution)

    async def delete_expired(self, now: datetime, limit: int) -> int:
        """Remove up to *limit* closed executions whose `delete_at` has come; say how many."""
        deleted = 0
        while deleted < limit:
            earliest = self._expiring.first()
            if earliest is None or earliest[0] > now:
                break
            self._remove(earliest[2])
            deleted += 1
        return deleted

    def _raise_refusal(self, changes: Sequence[Change]) -> None:
        for change in changes:
            refusal = self._refused.pop(change.arn, None)
            if refusal is not None:
                raise refusal

    def _admit(self, change: Change) -> _Execution | None:
        """Give the execution, `None` if *change* may create it."""
        execution = self._executions.get(change.arn)
        if execution is None:
            check_change(change, 0, None)
            if name_of(change) in self._by_name:
                raise VersionConflict(change.arn)
            return None
        epoch = None if execution.owner is None else execution.epoch
        check_change(change, len(execution.facts), epoch)
        return execution

    def _add(self, change: Change, execution: _Execution | None) -> None:
        if execution is None:
            execution = self._create(change)
        execution.facts += change.facts
        if change.summary is not execution.summary:
            execution.summary = change.summary
            self._expiring.add(execution)
        # An id belongs to the first execution that has it.
        for callback_id in change.callback_ids:
            if self._by_callback.setdefault(callback_id, execution) is execution:
                execution.callback_ids += (callback_id,)
        if wakes(change.wake, is_claimed=execution.owner is not None):
            execution.owner = None
            self._wake(execution, change.wake.at)

    def _create(self, change: Change) -> _Execution:
        summary = change.summary
        self._created += 1
        execution = _Execution(change.arn, to_us(summary.started_at), self._created, summary)
        self._executions[change.arn] = execution
        self._by_name[name_of(change)] = execution
        if not self._by_start or _place(self._by_start[-1]) < _place(execution):
            self._by_start.append(execution)
        else:
            insort(self._by_start, execution, key=_place)
        self._expiring.add(execution)
        return execution

    def _wake(self, execution: _Execution, at: datetime | None) -> None:
        execution.wake_at = at
        if at is not None:
            summary = execution.summary
            name = claim_name(summary.function_name, summary.version)
            agenda = self._due.get(name)
            if agenda is None:
                agenda = self._due[name] = _Agenda(_wake_at)
            agenda.add(execution)

    def _remove(self, execution: _Execution) -> None:
        summary = execution.summary
        execution.wake_at = execution.owner = None
        execution.is_removed = True
        del self._executions[execution.arn]
        del self._by_name[summary.function_name, summary.execution_name]
        del self._by_start[bisect_left(self._by_start, _place(execution), key=_place)]
        for callback_id in execution.callback_ids:
            self._by_callback.pop(callback_id, None)  # handed in twice, it is there twice

    def _in_order(self, query: Query) -> Iterator[_Execution]:
        low, high = 0, len(self._by_start)
        if query.started_after is not None:
            low = self._position((to_us(query.started_after) + 1, 0))
        if query.started_before is not None:
            high = self._position((to_us(query.started_before), 0))
        if query.after is not None:
            started_us, number = place_of(query.after)
            if query.oldest_first:
                low = max(low, self._position((started_us, number + 1)))
            else:
                high = min(high, self._position((started_us, number)))
        order = range(low, high) if query.oldest_first else range(high - 1, low - 1, -1)
        return map(self._by_start.__getitem__, order)

    def _position(self, place: tuple[int, int]) -> int:
        return bisect_left(self._by_start, place, key=_place)


@dataclass(slots=True, eq=False)
class _Execution:
    """One execution. Whoever owns it has claimed it and not released it."""

    arn: str
    started_us: int
    number: int
    summary: Summary
    facts: list[bytes] = field(default_factory=list[bytes])
    wake_at: datetime | None = None
    owner: str | None = None
    epoch: int = 0
    is_removed: bool = False
    callback_ids: tuple[str, ...] = ()


_Entry: TypeAlias = tuple[datetime, int, _Execution]


class _Agenda:
    """Executions by when they are due. Entries that have been overtaken are skipped."""

    def __init__(self, due_at: Callable[[_Execution], datetime | None]) -> None:
        self._due_at = due_at
        self._entries: list[_Entry] = []
        self._limit = 64

    def add(self, execution: _Execution) -> None:
        at = self._due_at(execution)
        if at is None:
            return
        if len(self._entries) >= self._limit:
            self._drop_overtaken()
        heappush(self._entries, (at, execution.number, execution))

    def first(self) -> _Entry | None:
        """Give the earliest entry, and leave it where it is."""
        entries = self._entries
        while entries:
            if self._stands(entries[0]):
                return entries[0]
            heappop(entries)
        return None

    def _stands(self, entry: _Entry) -> bool:
        return self._due_at(entry[2]) == entry[0]

    def _drop_overtaken(self) -> None:
        # An execution that wakes at the same instant twice has two entries that stand.
        standing = {entry[1]: entry for entry in self._entries if self._stands(entry)}
        self._entries = list(standing.values())
        heapify(self._entries)
        self._limit = 2 * len(self._entries) + 64


def _wake_at(execution: _Execution) -> datetime | None:
    return execution.wake_at


def _delete_at(execution: _Execution) -> datetime | None:
    return None if execution.is_removed else execution.summary.delete_at


def _place(execution: _Execution) -> tuple[int, int]:
    return execution.started_us, execution.number


def _matches(summary: Summary, query: Query) -> bool:
    return (
        query.function_name in (None, summary.function_name)
        and query.execution_name in (None, summary.execution_name)
        and query.parent_arn in (None, summary.parent_arn)
        and query.is_parked in (None, summary.parked_reason is not None)
        and (not query.statuses or summary.status in query.statuses)
    )


def _listed(execution: _Execution) -> Listed:
    is_claimed = execution.owner is not None
    return Listed(execution.arn, execution.summary, execution.wake_at, is_claimed)
