"""The way of one process to the store, on which everything may go wrong that a store may do.

A view has the store's contract, no more and no less. What was handed in and is not written yet is
the memory of the process: it goes when that dies. What is written stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from durably.engine.store import (
    Census,
    Change,
    Claim,
    Page,
    Query,
    Store,
    Stored,
    VersionConflict,
)
from durably.errors import StoreError, StoreFullError, StoreUnavailableError
from durably.stores.admission import break_lines, rests_on_nothing
from tests.simulator.durable import noting
from tests.simulator.faults import LATE_ANSWER
from tests.simulator.loop import Place, Turn
from tests.simulator.observed import Claimed
from tests.simulator.stage import Attempted, Stage

T = TypeVar("T")

_SOON_SECONDS = 0.002
_LATE = 0.03  # of the answers, where others write meanwhile
_LATE_SECONDS = 5.0
_COMPLETED = 8
_CLOSING = frozenset({2, 3, 4, 5})


class View:
    """What all views have in common. Writes are left to each kind.

    Args:
        place: the process.
        inner: the store itself.
        is_owner: nobody else uses it, so opening it voids the claims of whoever did before.
    """

    begin = None  # no step of a world writes beside it

    def __init__(self, stage: Stage, place: Place, inner: Store, *, is_owner: bool) -> None:
        self.stage = stage
        self.place = place
        self.inner = inner
        self._is_owner = is_owner
        self.tally = inner.tally

    async def open(self) -> None:
        if self._is_owner:
            await self.inner.open()

    async def close(self) -> None:
        await self.flush()
        if self._is_owner:
            await self.inner.close()

    async def keys(self) -> Sequence[bytes]:
        return await self.inner.keys()

    async def add_key(self, key: bytes) -> bool:
        self._fail("append fails before")
        return await self.inner.add_key(key)

    # Writes

    async def append(self, changes: Sequence[Change]) -> None:
        arn = changes[0].arn if changes else ""
        write = _OwnersWrite(self, changes)
        try:
            self._fail("append fails before", arn)
            self._conflict(changes)
            is_lost = self.stage.faults.hits("append fails after", execution=arn)
            await self.write(changes, lambda: write.decided(is_accepted=True))
            if not self._is_owner and self.stage.is_likely(_LATE):
                self.stage.faults.note(LATE_ANSWER, execution=arn)
                await asyncio.sleep(self.stage.random.uniform(0, _LATE_SECONDS))
            if is_lost:
                raise StoreUnavailableError("the disk did not answer")
        except (VersionConflict, StoreError) as error:
            if isinstance(error, VersionConflict):
                write.decided(is_accepted=False)
            else:
                self.stage.trace.reach("commit failed")
            for one in {change.arn: None for change in changes}:
                self.stage.faults.note("not written", execution=one)
            raise
        finally:
            write.end()

    def _conflict(self, changes: Sequence[Change]) -> None:
        if changes and self.stage.faults.hits("append conflicts", execution=changes[0].arn):
            raise VersionConflict(changes[0].arn)

    async def write(self, changes: Sequence[Change], note: Callable[[], None]) -> None:
        """Do it, and call *note* at the moment when it is durable."""
        raise NotImplementedError

    def append_soon(self, change: Change) -> None:
        raise NotImplementedError

    async def flush(self) -> None:
        """Have everything written that was handed in."""
        raise NotImplementedError

    async def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        self._fail("claim fails before")
        await self._before_reading()
        claims = await self.inner.claim(worker, functions, now, lease, limit)
        for claim in claims:
            claimed = Claimed(claim.arn, claim.epoch, self.stage.trace.tick(), self.place.name)
            self.stage.claims.append(claimed)
            self.stage.trace.say(f"{worker} claims {claim.arn} in epoch {claim.epoch}")
            if claim.is_takeover:
                is_writing = self.stage.in_flight[claim.arn]
                self.stage.trace.reach("takeover")
                if is_writing:
                    self.stage.trace.reach("lease takeover during a checkpoint")
        self._fail("claim fails after")
        return claims

    async def extend(
        self, worker: str, epochs: Sequence[tuple[str, int]], until: datetime
    ) -> Sequence[str]:
        self._fail("claim fails before")
        sent = done = self.stage.trace.tick()

        def note() -> None:
            nonlocal done
            done = self.stage.trace.tick()

        gone = await self.noting(note, self.inner.extend(worker, epochs, until))
        for arn, epoch in epochs:
            self.stage.writes.append(
                Attempted(
                    kind="heartbeat",
                    execution=arn,
                    invocation="",
                    node=self.place.name,
                    epoch=epoch,
                    sent=sent,
                    done=done,
                    accepted=arn not in gone,
                    acknowledged=True,
                    client_token=f"heartbeat {done}",
                )
            )
        self._fail("claim fails after")
        return gone

    async def noting(self, note: Callable[[], None], work: Awaitable[T]) -> T:
        """Do *work*, and call *note* when it is durable."""
        value = await work
        note()
        return value

    async def delete(self, arn: str, expected_version: int) -> None:
        self._fail("append fails before", arn)
        await self._before_reading()
        await self.inner.delete(arn, expected_version)
        self.stage.trace.say(f"{arn} is deleted")
        self._fail("append fails after", arn)

    async def delete_expired(self, now: datetime, limit: int) -> int:
        self._fail("append fails before")
        deleted = await self.inner.delete_expired(now, limit)
        if deleted:
            self.stage.trace.reach("retention removed")
        self._fail("append fails after")
        return deleted

    # Reads

    async def next_wake_at(self, functions: Sequence[str]) -> datetime | None:
        return await self._read(lambda: self.inner.next_wake_at(functions))

    async def find(self, arn: str) -> Stored | None:
        return await self._read(lambda: self.inner.find(arn))

    async def find_by_name(self, function_name: str, execution_name: str) -> str | None:
        return await self._read(lambda: self.inner.find_by_name(function_name, execution_name))

    async def find_by_callback(self, callback_id: str) -> str | None:
        return await self._read(lambda: self.inner.find_by_callback(callback_id))

    async def census(self, statuses: Sequence[str], limit: int) -> Census:
        return await self._read(lambda: self.inner.census(statuses, limit))

    async def list(self, query: Query) -> Page:
        return await self._read(lambda: self.inner.list(query))

    async def _read(self, read: Callable[[], Awaitable[T]]) -> T:
        self._fail("read fails")
        await self._before_reading()
        return await read()

    async def _before_reading(self) -> None:
        await self.flush()
        if self.stage.is_likely(0.1):
            await asyncio.sleep(self.stage.random.uniform(0, 0.005))

    def _fail(self, kind: str, arn: str = "") -> None:
        if self.stage.faults.hits(kind, execution=arn):
            raise StoreUnavailableError(f"{kind}: by chance")


class _OwnersWrite:
    """A write by which the owner of an execution ends something, as it is observed."""

    def __init__(self, view: View, changes: Sequence[Change]) -> None:
        self._stage = view.stage
        self._place = view.place
        self._change = next((one for one in changes if one.claim_epoch is not None), None)
        self._sent = 0
        if self._change is not None:
            self._stage.in_flight[self._change.arn] += 1
            self._sent = self._stage.trace.tick()

    def decided(self, *, is_accepted: bool) -> None:
        change = self._change
        tags = () if change is None else [_tag(fact) for fact in change.facts]
        if change is None or change.claim_epoch is None or _COMPLETED not in tags:
            return
        done = self._stage.trace.tick()
        self._stage.writes.append(
            Attempted(
                kind="outcome" if _CLOSING.intersection(tags) else "release",
                execution=change.arn,
                invocation="",
                node=self._place.name,
                epoch=change.claim_epoch,
                sent=self._sent,
                done=done,
                accepted=is_accepted,
                acknowledged=True,
                client_token=f"end {done}",
            )
        )

    def end(self) -> None:
        if self._change is not None:
            self._stage.in_flight[self._change.arn] -= 1


def _tag(fact: bytes) -> int:
    """Give the tag of an encoded fact: the first thing in its array."""
    return fact[1]


def _nothing() -> None: ...


@dataclass(slots=True, eq=False)
class _Handed:
    """Something handed in; without *written* nobody waits for it."""

    changes: tuple[Change, ...]
    written: asyncio.Future[None] | None
    note: Callable[[], None] = _nothing
    error: Exception | None = None


class MemoryView(View):
    """A view of a store in memory, that writes in groups as the store on a disk does."""

    def __init__(self, stage: Stage, place: Place, inner: Store, *, is_owner: bool) -> None:
        super().__init__(stage, place, inner, is_owner=is_owner)
        self._queue: list[_Handed] = []
        self._refused: dict[str, Exception] = {}
        self._timer: Turn | None = None

    async def write(self, changes: Sequence[Change], note: Callable[[], None]) -> None:
        noted = noting(self.stage, changes, note)
        handed = _Handed(tuple(changes), self.stage.loop.create_future(), noted)
        self._queue.append(handed)
        if self._timer is None and self.stage.is_likely(0.3):
            self._commit()
        else:
            self._commit_within(0.005)
        assert handed.written is not None
        if not handed.written.done():
            await handed.written
        if handed.error is not None:
            raise handed.error

    def append_soon(self, change: Change) -> None:
        if self.stage.faults.hits("soon is lost", execution=change.arn):
            self.stage.trace.reach("soon change lost")
            self._refused[change.arn] = StoreUnavailableError("a change was lost: by chance")
            break_lines((change,))
            return
        self._queue.append(_Handed((change,), None))
        self._commit_within(_SOON_SECONDS)

    async def flush(self) -> None:
        if self._queue:
            self._commit()

    def _commit_within(self, seconds: float) -> None:
        if self._timer is not None:
            return
        delay = 0.0 if self.stage.is_likely(0.6) else self.stage.random.uniform(0, seconds)
        if self.stage.faults.hits("disk is slow"):
            delay = self.stage.faults.pick(0.1, 10)
        self._timer = self.stage.loop.call_later(delay, self._commit)

    def _commit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        queue, self._queue = self._queue, []
        broken: type[StoreError] | None = None
        if self.stage.faults.hits("disk fails"):
            broken = StoreUnavailableError
        elif self.stage.faults.hits("disk is full"):
            broken = StoreFullError
        for handed in queue:
            self._do(handed, broken)

    def _do(self, handed: _Handed, broken: type[StoreError] | None) -> None:
        arns = [change.arn for change in handed.changes]
        error = self._carry_out(handed, arns, broken)
        if error is not None:
            break_lines(handed.changes)
        if handed.written is None:
            if error is not None:
                self._refused[arns[0]] = error
            return
        for arn in arns:
            self._refused.pop(arn, None)
        handed.error = error
        if not handed.written.done():
            handed.written.set_result(None)

    def _carry_out(
        self, handed: _Handed, arns: Sequence[str], broken: type[StoreError] | None
    ) -> Exception | None:
        error = next((self._refused[arn] for arn in arns if arn in self._refused), None)
        if error is not None:
            return error
        if broken is not None:
            return broken("the group could not be written: by chance")
        if rests_on_nothing(handed.changes):
            return VersionConflict(arns[0])
        conflict = self.take(handed.changes)
        if conflict is None:
            handed.note()
        return conflict

    def take(self, changes: Sequence[Change]) -> VersionConflict | None:
        """Have the store take *changes*, or say why it does not."""
        try:
            at_once(self.inner.append(changes))
        except VersionConflict as conflict:
            return conflict
        return None


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what never suspends, as no method of the store in memory does."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it suspended")
