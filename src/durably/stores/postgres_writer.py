"""Group commit: everything that waits goes in one transaction and one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import msgspec
import psycopg

from durably.engine.store import Change, Line, VersionConflict
from durably.engine.tally import Tally
from durably.errors import StoreError
from durably.stores.admission import break_lines, check_names, rests_on_nothing
from durably.stores.postgres_database import PostgresDatabase, pause_seconds
from durably.stores.postgres_errors import Meaning, meaning_of, store_error
from durably.stores.postgres_rows import change_as_json

_MAX_GROUP = 200  # calls in one transaction
_MAX_GROUP_BYTES = 4_000_000  # of facts, likewise: what is asked must be answered in time
_SOON_SECONDS = 0.001
_MAX_TRIES = 6
_NOT_AGAIN = (Meaning.VALUES, Meaning.FAILED)
_TAKEN_APART = (Meaning.VALUES, Meaning.LOCKED)

_DOUBT = (
    "The answer of the database was lost, so it may have been written. Look, or do the same again: "
    "under the same name nothing is done twice."
)

_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


class StepTransaction(Protocol):
    """A transaction that the code of a step has written in."""

    async def commit(self, parameters: Mapping[str, object]) -> bool:
        """Append what *parameters* say and commit; `False`: it was not, or nobody knows."""
        ...

    def release(self) -> None:
        """Undo what was not committed, and leave the connection to others."""
        ...


@dataclass(slots=True, eq=False)
class _Call:
    """Changes that are to be taken together, in the order in which they were handed in.

    Attributes:
        number: how many were handed in before it.
        arns: the executions concerned; none when it is only to be seen that all before is written.
        future: who waits for it; nobody does if it is only to be written soon.
        bodies: the facts of each change, packed.
        transaction: in which the code of a step has written what goes with them, if any.
        doubtful: it may have been written by a transaction whose answer was lost.
        is_alone: it is written in no group, since the one that it was in came to nothing.
    """

    number: int
    changes: tuple[Change, ...]
    arns: frozenset[str]
    future: asyncio.Future[None] | None
    bodies: list[bytes]
    transaction: StepTransaction | None = None
    doubtful: bool = False
    is_alone: bool = False

    @property
    def is_apart(self) -> bool:
        """Whether it is written beside the groups."""
        return self.is_alone or self.transaction is not None

    def refuse(self, error: Exception) -> Exception:
        """Give *error* as it is for this call: whether it was written may not be known."""
        told = store_error(error)
        if self.doubtful and isinstance(told, StoreError):
            return type(told)(str(told), remedy=_DOUBT)
        return told

    def answer(self, error: Exception | None) -> None:
        if self.future is None or self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


class PostgresWriter:
    """Writes changes, many in one transaction.

    One group is under way at a time; what comes meanwhile makes the next one. A transaction whose
    answer was lost is looked for before anything is written again.

    What goes with the writes of a step is committed with them, in the transaction of the step and
    in no group. Where one call of a group is to blame for what came of it, or waits for a row that
    somebody keeps, each of them is written in a transaction of its own. Groups of other executions
    go on meanwhile; what is of the same ones waits.

    Args:
        database: where.
        namespace_id: whose.
        tally: where it notes the sizes of groups.
    """

    def __init__(self, database: PostgresDatabase, namespace_id: int, tally: Tally) -> None:
        self._database = database
        self._space = namespace_id
        self._sizes = tally.group_sizes
        self._loop = asyncio.get_running_loop()
        self._numbers = count()
        self._waiting: list[_Call] = []
        self._failed: dict[str, Exception] = {}
        self._work: asyncio.Task[None] | None = None
        self._apart: dict[asyncio.Task[None], _Call] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def append(
        self, changes: Sequence[Change], transaction: StepTransaction | None = None
    ) -> None:
        """Have *changes* written together; return when they, and all before them, are durable.

        A *transaction* is committed with them, and released in any case.

        Raises:
            VersionConflict: one of them came too late, or a transaction was in the way of this
                one. None was written.
            StoreError: they could not be written.
        """
        if len(changes) > 1:
            check_names(changes)
        await self._hand_in(changes, frozenset(change.arn for change in changes), transaction)

    def append_soon(self, change: Change) -> None:
        """Have *change* written soon. If it is not, the next append of its execution fails."""
        self._waiting.append(self._call_of((change,), frozenset((change.arn,)), None))
        if self._timer is None and self._work is None:
            self._timer = self._loop.call_later(_SOON_SECONDS, self._start)

    async def settle_one(self, arn: str) -> None:
        """Return when everything handed in before of an execution is durable, or has failed."""
        beside = (*self._waiting, *self._apart.values())
        if self._work is not None or any(arn in call.arns for call in beside):
            await self._hand_in((), frozenset((arn,)), None)

    async def settle(self) -> None:
        """Return when everything handed in before is durable, or has failed."""
        if self._waiting or self._work is not None or self._apart:
            await self.append(())

    async def close(self) -> None:
        """Write what was handed in.

        Raises:
            StoreError: a change that nobody waited for could not be written.
        """
        await self.settle()
        for error in self._failed.values():
            if isinstance(error, StoreError):
                raise error

    async def _hand_in(
        self, changes: Sequence[Change], arns: frozenset[str], transaction: StepTransaction | None
    ) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(self._call_of(changes, arns, future, transaction))
        self._start()
        await future

    def _call_of(
        self,
        changes: Sequence[Change],
        arns: frozenset[str],
        future: asyncio.Future[None] | None,
        transaction: StepTransaction | None = None,
    ) -> _Call:
        bodies = [_pack(change.facts) for change in changes]
        number = next(self._numbers)
        return _Call(number, tuple(changes), arns, future, bodies, transaction)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._work is None:
            self._work = self._loop.create_task(self._write_all(), name="durably writer")

    async def _write_all(self) -> None:
        try:
            while group := self._take():
                await self._write([call for call in group if not self._has_failed(call)])
        finally:
            self._work = None

    def _take(self) -> list[_Call]:
        """Take the next group of what waits, and begin what is written apart.

        What is of an execution of which something is written apart stays, and what is behind it.
        """
        group: list[_Call] = []
        left: list[_Call] = []
        grouped: set[str] = set()
        room = _MAX_GROUP_BYTES
        kept = {arn for call in self._apart.values() for arn in call.arns}
        for place, call in enumerate(self._waiting):
            if len(group) == _MAX_GROUP or room <= 0:
                left += self._waiting[place:]
                break
            if self._must_stay(call, kept, has_left=bool(left)) or (
                call.is_apart and grouped & call.arns
            ):
                left.append(call)
                kept |= call.arns
            elif call.is_apart:
                kept |= call.arns
                self._begin_apart(call)
            else:
                grouped |= call.arns
                group.append(call)
                room -= sum(map(len, call.bodies))
        self._waiting = left
        return group

    def _must_stay(self, call: _Call, kept: set[str], *, has_left: bool) -> bool:
        if call.arns:
            return bool(kept & call.arns)
        # It is done when everything before it is.
        return has_left or any(one.number < call.number for one in self._apart.values())

    def _begin_apart(self, call: _Call) -> None:
        task = self._loop.create_task(self._write_apart(call), name="durably writer apart")
        self._apart[task] = call
        task.add_done_callback(self._end_apart)

    def _end_apart(self, task: asyncio.Task[None]) -> None:
        del self._apart[task]
        if self._waiting:
            self._start()

    async def _write_apart(self, call: _Call) -> None:
        transaction = call.transaction
        try:
            if self._has_failed(call):
                return
            if transaction is None:
                await self._write([call])
            else:
                self._tell(call, await self._commit(call, transaction))
        finally:
            if transaction is not None:
                transaction.release()

    async def _commit(self, call: _Call, transaction: StepTransaction) -> Exception | None:
        """Commit with *call* what a step has written, once; give what came in the way of it.

        Where that is not known it is a conflict, too: whoever waits reads the execution anew, and
        finds the outcome there or runs the step again, behind the same fence.
        """
        try:
            is_written = await transaction.commit(self._parameters([call]))
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            return error
        if not is_written:
            return VersionConflict(call.changes[0].arn)
        self._sizes.note(1)
        return None

    def _has_failed(self, call: _Call) -> bool:
        """Hand on the failure of an earlier change of the same execution, once, or of its line."""
        for change in call.changes:
            if change.arn in self._failed:
                if call.future is not None:
                    call.answer(self._failed.pop(change.arn))
                break_lines(call.changes)
                return True
        if rests_on_nothing(call.changes):
            call.answer(VersionConflict(call.changes[0].arn))
            break_lines(call.changes)
            return True
        return False

    async def _write(self, group: list[_Call]) -> None:
        try:
            # What only waits for the others needs nothing written.
            refused = await self._written(group) if any(call.changes for call in group) else {}
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            self._blame(group, error)
            return
        for number, call in enumerate(group):
            arn = refused.get(number)
            if arn is not None and call.future is not None:
                self._failed.pop(arn, None)  # whoever waits for this one is told of that one, too
            self._tell(call, None if arn is None else VersionConflict(arn))

    def _blame(self, group: list[_Call], error: Exception) -> None:
        """Tell all of a group that it failed; where one call is to blame, take them apart."""
        if len(group) == 1 or meaning_of(error) not in _TAKEN_APART:
            for call in group:
                self._tell(call, call.refuse(error))
            return
        for call in group:
            call.is_alone = bool(call.arns)
        self._waiting = group + self._waiting

    def _tell(self, call: _Call, error: Exception | None) -> None:
        if error is not None:
            break_lines(call.changes)
            # A refusal that breaks a line tells all who come later by that.
            is_told = isinstance(error, VersionConflict) and call.changes[0].line is not None
            if call.future is None and not is_told:
                self._failed[call.changes[0].arn] = error
        call.answer(error)

    async def _written(self, group: list[_Call]) -> dict[int, str]:
        """Write a group, and give the arns that calls were refused for, by their places in it."""
        failures = 0
        while True:
            try:
                refused = await self._try(group)
            except psycopg.Error as error:
                failures += 1
                meaning = meaning_of(error)
                if meaning is Meaning.UNKNOWN:
                    for call in group:
                        call.doubtful = True
                if failures == _MAX_TRIES or meaning in _NOT_AGAIN:
                    raise
                if meaning is Meaning.LOCKED and len(group) > 1:
                    raise
                await asyncio.sleep(pause_seconds(failures))
            else:
                self._sizes.note(sum(1 for call in group if call.changes))
                return refused

    async def _try(self, group: list[_Call]) -> dict[int, str]:
        rows = await self._database.run(self._database.text("append"), self._parameters(group))
        refused: dict[int, str] = dict(rows)
        for number in [place for place in refused if group[place].doubtful]:
            # It comes too late, perhaps because the transaction before this one has written it.
            if await self._is_written(group[number]):
                del refused[number]
        return refused

    def _parameters(self, group: Sequence[_Call]) -> dict[str, object]:
        return {
            "space": self._space,
            "calls": _json(_as_json(group)).decode(),
            "bodies": [body for call in group for body in call.bodies],
        }

    async def _is_written(self, call: _Call) -> bool:
        with_facts = [number for number, one in enumerate(call.changes) if one.facts]
        parameters = {
            "space": self._space,
            "arns": [call.changes[number].arn for number in with_facts],
            "positions": [call.changes[number].expected_version for number in with_facts],
            "bodies": [call.bodies[number] for number in with_facts],
        }
        rows = await self._database.run(self._database.text("written"), parameters)
        return 0 < len(rows) == len(with_facts)


def _as_json(group: Sequence[_Call]) -> list[dict[str, object]]:
    lines: dict[Line | None, int] = {}  # each gets a number
    return [
        {
            "is_soon": call.future is None,
            "changes": [
                change_as_json(change, body)
                | {"line": change.line and lines.setdefault(change.line, len(lines))}
                for change, body in zip(call.changes, call.bodies, strict=True)
            ],
        }
        for call in group
    ]
