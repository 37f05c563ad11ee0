"""Group commit: everything that waits goes in one transaction and one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import count

import psycopg

from durably.engine.store import Change, VersionConflict
from durably.engine.tally import Tally
from durably.errors import StoreError
from durably.stores.admission import break_lines, check_names, rests_on_nothing
from durably.stores.postgres_calls import (
    Bundle,
    Call,
    StepTransaction,
    bundled,
    parameters_of,
    sought,
)
from durably.stores.postgres_database import PostgresDatabase, pause_seconds
from durably.stores.postgres_errors import Meaning, meaning_of

_MAX_GROUP = 200  # calls in one transaction
_MAX_GROUP_BYTES = 4_000_000  # of facts, likewise: what is asked must be answered in time
_SOON_SECONDS = 0.001
_MAX_TRIES = 6
_NOT_AGAIN = (Meaning.VALUES, Meaning.FAILED)


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
        self._waiting: list[Call] = []
        self._failed: dict[str, Exception] = {}
        self._work: asyncio.Task[None] | None = None
        self._apart: dict[asyncio.Task[None], Call] = {}
        self._timer: asyncio.TimerHandle | None = None
        # Who waits for a row keeps a connection: the others are for those who need not. After each
        # try it is another's turn, for most of a group that was taken apart need not wait either.
        self._room_apart = asyncio.Semaphore(max(1, database.max_connections // 2))

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
        arns = frozenset((change.arn,))
        self._waiting.append(Call(next(self._numbers), (change,), arns, None))
        if self._timer is None and self._work is None:
            self._timer = self._loop.call_later(_SOON_SECONDS, self._start)

    async def settle_of(self, *arns: str) -> None:
        """Return when everything handed in before of executions is durable, or has failed."""
        concerned = frozenset(arns)
        beside = (*self._waiting, *self._apart.values())
        if self._work is not None or any(concerned & call.arns for call in beside):
            await self._hand_in((), concerned, None)

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
        call = Call(next(self._numbers), tuple(changes), arns, future, transaction)
        self._waiting.append(call)
        self._start()
        await future

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

    def _take(self) -> list[Call]:
        """Take the next group of what waits, and begin what is written apart.

        What is of an execution of which something is written apart stays, and what is behind it.
        """
        group: list[Call] = []
        left: list[Call] = []
        grouped: set[str] = set()
        room = _MAX_GROUP_BYTES
        kept = {arn for call in self._apart.values() for arn in call.arns}
        stayed: set[str] = set()
        for place, call in enumerate(self._waiting):
            if len(group) == _MAX_GROUP or room <= 0:
                left += self._waiting[place:]
                break
            if self._must_stay(call, kept if call.changes else stayed, has_left=bool(left)) or (
                call.is_apart and grouped & call.arns
            ):
                left.append(call)
                if call.changes:  # else nobody has to wait for it
                    kept |= call.arns
                    stayed |= call.arns
            elif call.is_apart:
                kept |= call.arns
                self._begin_apart(call)
            else:
                grouped |= call.arns
                group.append(call)
                room -= sum(len(fact) for change in call.changes for fact in change.facts)
        self._waiting = left
        return group

    def _must_stay(self, call: Call, kept: set[str], *, has_left: bool) -> bool:
        if call.changes:
            return bool(kept & call.arns)
        # It is done when everything before it is, of its executions or of all.
        early = [one for one in self._apart.values() if one.number < call.number]
        if not call.arns:
            return has_left or bool(early)
        return bool(kept & call.arns) or any(one.arns & call.arns for one in early)

    def _begin_apart(self, call: Call) -> None:
        task = self._loop.create_task(self._write_apart(call), name="durably writer apart")
        self._apart[task] = call
        task.add_done_callback(self._end_apart)

    def _end_apart(self, task: asyncio.Task[None]) -> None:
        del self._apart[task]
        if self._waiting:
            self._start()

    async def _write_apart(self, call: Call) -> None:
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

    async def _commit(self, call: Call, transaction: StepTransaction) -> Exception | None:
        """Commit with *call* what a step has written, once; give what came in the way of it.

        Where that is not known it is a conflict, too: whoever waits reads the execution anew, and
        finds the outcome there or runs the step again, behind the same fence.
        """
        try:
            is_written = await transaction.commit(parameters_of([Bundle([call])], self._space))
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            return error
        if not is_written:
            return VersionConflict(call.changes[0].arn)
        self._sizes.note(1)
        return None

    def _has_failed(self, call: Call) -> bool:
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

    async def _write(self, group: Sequence[Call]) -> None:
        bundles = bundled(group)
        try:
            refused = await self._written(bundles)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            self._blame(bundles, error)
            return
        for number, bundle in enumerate(bundles):
            arn = refused.get(number)
            for call in bundle.calls:
                if arn is not None and call.future is not None:
                    self._failed.pop(arn, None)  # whoever waits for this one is told of that one
                self._tell(call, None if arn is None else VersionConflict(arn))

    def _blame(self, bundles: Sequence[Bundle], error: Exception) -> None:
        """Tell all of a group that it failed; where one call is to blame, take them apart."""
        calls = [call for bundle in bundles for call in bundle.calls]
        if _can_be_apart(bundles) and meaning_of(error) in {Meaning.LOCKED, Meaning.VALUES}:
            for call in calls:
                call.is_alone = bool(call.arns)
            self._waiting = calls + self._waiting
            return
        for bundle in bundles:
            for call in bundle.calls:
                if call.future is not None:  # who waits for it is told of those before it, too
                    for change in call.changes:
                        self._failed.pop(change.arn, None)
                self._tell(call, bundle.refuse(error))

    def _tell(self, call: Call, error: Exception | None) -> None:
        if error is not None:
            break_lines(call.changes)
            # A refusal that breaks a line tells all who come later by that.
            is_told = isinstance(error, VersionConflict) and call.changes[0].line is not None
            if call.future is None and not is_told:
                self._failed[call.changes[0].arn] = error
        call.answer(error)

    async def _written(self, bundles: Sequence[Bundle]) -> dict[int, str]:
        """Write them, and give the arns that some were refused for, by their places."""
        if not any(call.changes for bundle in bundles for call in bundle.calls):
            return {}  # they only wait for what was before them
        failures = 0
        while True:
            try:
                refused = await self._try(bundles)
            except psycopg.Error as error:
                failures += 1
                meaning = meaning_of(error)
                if meaning is Meaning.UNKNOWN:
                    for bundle in bundles:
                        bundle.doubtful = True
                is_for_apart = meaning is Meaning.LOCKED and _can_be_apart(bundles)
                if failures == _MAX_TRIES or meaning in _NOT_AGAIN or is_for_apart:
                    raise
                await asyncio.sleep(pause_seconds(failures))
            else:
                calls = [call for bundle in bundles for call in bundle.calls]
                self._sizes.note(sum(1 for call in calls if call.changes))
                return refused

    async def _try(self, bundles: Sequence[Bundle]) -> dict[int, str]:
        text, parameters = self._database.text("append"), parameters_of(bundles, self._space)
        async with self._room_apart if bundles[0].calls[0].is_alone else nullcontext():
            rows = await self._database.run(text, parameters)
        refused: dict[int, str] = dict(rows)
        for number in [place for place in refused if bundles[place].doubtful]:
            # It comes too late, perhaps because the transaction before this one has written it.
            if await self._is_written(bundles[number]):
                del refused[number]
        return refused

    async def _is_written(self, bundle: Bundle) -> bool:
        wanted = sought(bundle, self._space)
        rows = await self._database.run(self._database.text("written"), wanted)
        return 0 < len(rows) == len(wanted["arns"])


def _can_be_apart(bundles: Sequence[Bundle]) -> bool:
    """Whether calls are in one group, and none may have been written as it is.

    What may have been can only be found again by the rows that it was written in.
    """
    calls = [call for bundle in bundles for call in bundle.calls]
    return not (calls[0].is_alone or any(bundle.doubtful for bundle in bundles))
