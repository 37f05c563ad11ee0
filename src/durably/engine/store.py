"""What the service needs of whatever keeps its journals: a few methods, each one transaction.

A store knows nothing of the protocol. Facts are bytes to it, a summary is columns, and `wake_at`
is the one thing it schedules by.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec.structs import force_setattr

from durably.checks import check_flag, listed_in
from durably.engine.arns import LATEST
from durably.engine.tally import Tally
from durably.limits import as_count, as_sought, check_instant

C_co = TypeVar("C_co", covariant=True)


class VersionConflict(Exception):  # noqa: N818 - not an error: somebody else was first
    """The execution has changed since the version that a change expected, or its claim is gone.

    Nothing of the refused call was stored. Load the execution again and decide anew.
    """

    def __init__(self, arn: str) -> None:
        super().__init__(f"{arn} has changed, or is claimed by somebody else")
        self.arn = arn


class Summary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What can be searched without reading a journal.

    Attributes:
        function_name: the function that runs, without its version.
        execution_name: unique for the function while the execution is kept.
        status: an execution status of the wire, or PARKED's reason in `parked_reason`.
        parent_arn: the execution that invoked this one, if any.
        parked_reason: why nothing wakes it, when it is parked.
        delete_at: when retention may remove it; only for a closed execution.
        version: of the function.
    """

    function_name: str
    execution_name: str
    status: str
    started_at: datetime
    ended_at: datetime | None = None
    parent_arn: str | None = None
    parked_reason: str | None = None
    delete_at: datetime | None = None
    version: str = LATEST


class KeepClaim(msgspec.Struct, frozen=True, gc=False):
    """Leave the schedule as it is: the execution stays with whoever has claimed it."""


class WakeAt(msgspec.Struct, frozen=True, gc=False):
    """Release any claim; somebody must look at the execution again at *at*, or never (`None`)."""

    at: datetime | None


class WakeUnlessClaimed(msgspec.Struct, frozen=True, gc=False):
    """Somebody must look at it at *at*, or never; but who has claimed it has it, and will look.

    For changes from outside: the claim may be younger than the state that they were decided on.
    """

    at: datetime | None


Wake: TypeAlias = KeepClaim | WakeAt | WakeUnlessClaimed


class Line:
    """What changes of one execution rest on, one upon the other: its state in one process.

    A store that several processes write to breaks the line of a change that it does not write, and
    writes none of a broken line. The version of a later one might fit, by what another process has
    added, and yet it was decided on what never came to be.

    Attributes:
        is_broken: a change was not written.
    """

    __slots__ = ("is_broken",)

    def __init__(self) -> None:
        self.is_broken = False


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one transaction adds to one execution.

    Attributes:
        expected_version: how many facts the execution has; 0 creates it, with at least one fact.
        summary: what it is from now on. Function, name, start and parent never change.
        claim_epoch: when given, the change is an owner's: it is refused unless the execution is
            claimed under exactly this epoch.
        callback_ids: callback ids that exist from now on.
        line: what it rests on; `None`: on what is stored.
    """

    arn: str
    expected_version: int
    facts: tuple[bytes, ...]
    summary: Summary
    wake: Wake
    claim_epoch: int | None = None
    callback_ids: tuple[str, ...] = ()
    line: Line | None = None


class Claim(msgspec.Struct, frozen=True, gc=False):
    """The right to run one execution until the lease ends.

    Attributes:
        epoch: new with every acquisition; every owner-side write carries it.
        is_takeover: the previous owner never released it, so its invocation is lost.
    """

    arn: str
    function_name: str
    epoch: int
    is_takeover: bool


class Stored(msgspec.Struct, frozen=True, gc=False):
    """An execution as it is kept.

    Attributes:
        facts: all of them; up to the first damage, if there is one.
        version: how many there are, the unreadable ones included: what a change of it expects.
        damage: why they are not all there, if they are not.
    """

    arn: str
    facts: tuple[bytes, ...]
    summary: Summary
    wake_at: datetime | None
    claim_epoch: int | None
    version: int
    damage: str | None = None


class Listed(msgspec.Struct, frozen=True, gc=False):
    """One line of a listing."""

    arn: str
    summary: Summary
    wake_at: datetime | None
    is_claimed: bool


class Query(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which executions to list, newest first unless *oldest_first*.

    Attributes:
        after: the `next_marker` of the page before.
        is_parked: only executions that nothing will wake before `resume`, or only others.
        limit: how many a page has at most, 1 to 10,000.

    Raises:
        ValidationError: a field is not a legal one.
    """

    function_name: str | None = None
    execution_name: str | None = None
    statuses: tuple[str, ...] = ()
    started_after: datetime | None = None
    started_before: datetime | None = None
    parent_arn: str | None = None
    is_parked: bool | None = None
    oldest_first: bool = False
    after: str | None = None
    limit: int = 100

    def __post_init__(self) -> None:
        for field in ("function_name", "execution_name", "parent_arn", "after"):
            if (text := getattr(self, field)) is not None:
                force_setattr(self, field, as_sought(text, field))
        listed = listed_in(self.statuses, "statuses", 'a tuple of statuses, such as ("RUNNING",)')
        statuses = tuple([as_sought(status, "statuses") for status in listed])
        force_setattr(self, "statuses", statuses)
        for field in ("started_after", "started_before"):
            check_instant(getattr(self, field), field)
        if self.is_parked is not None:
            check_flag(self.is_parked, "is_parked")
        check_flag(self.oldest_first, "oldest_first")
        as_count(self.limit, "limit", minimum=1, maximum=_MAX_PAGE)


_MAX_PAGE = 10_000

KEY_BYTES = 32


class Page(msgspec.Struct, frozen=True, gc=False):
    """Executions found; *next_marker* asks for those after them, `None` when there are none."""

    executions: tuple[Listed, ...]
    next_marker: str | None


class Census(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many executions there are.

    Attributes:
        by_status: of each status that was asked about.
        parked: those of any status that have a reason to be parked.
        wake_at: when the earliest is due that is ever due, of whatever function.
    """

    by_status: Mapping[str, int]
    parked: int
    wake_at: datetime | None


class Transaction(Protocol[C_co]):
    """A transaction in which user code writes what is to be durable together with a change.

    Attributes:
        connection: what the user's code writes with.
        failure: why the database refuses what the code has done, where `append` finds that out.
    """

    failure: Exception | None

    @property
    def connection(self) -> C_co:
        """See above."""
        ...

    def complaint(self, *, is_over: bool) -> str | None:
        """Say what the code has done with the connection that it may not; it *is over* or not.

        Some of that is known only after `append`, which then comes too late.
        """
        ...

    def is_conflict(self, error: Exception) -> bool:
        """Whether the code has failed because another transaction was in the way."""
        ...

    async def append(self, changes: Sequence[Change]) -> None:
        """Add *changes* as `Store.append` does, and what was written here; all or none.

        Raises:
            VersionConflict: somebody was first, another transaction was in the way, nobody knows
                whether it was written, or there is a `failure`. Load the execution again.
            TransactionError: code still uses it.
            StoreError: it could not be written.
        """
        ...

    async def abort(self) -> None:
        """Undo what was written here, unless it was appended to."""
        ...


Begin: TypeAlias = Callable[..., Coroutine[Any, Any, Transaction[Any]]]
"""Begins a transaction for a step: `begin(arn, kind, blocking=…)`.

Its connection is of the class *kind*, for a thread if *blocking*. What was handed in before of the
execution is durable then. `ValidationError`: there is no such kind; `StoreError`: none to be had.
"""


class Store(Protocol):
    """Keeps journals. Every method is one transaction; times are passed in.

    A reader sees what is durable, and what this process has handed in before it.

    Attributes:
        tally: what is counted by it, and by those who work on it.
    """

    tally: Tally

    @property
    def begin(self) -> Begin | None:
        """How a step begins to write beside the store; `None` where no user code can."""
        ...

    async def open(self) -> None:
        """Make the store ready, and void the claims of owners that cannot be alive.

        Raises:
            StoreError: it cannot be used; the class says why and the text what to do.
        """
        ...

    async def close(self) -> None:
        """Write what was handed in, then let go of every file, lock and thread."""
        ...

    async def keys(self) -> Sequence[bytes]:
        """Give the keys that tokens are made with, newest first.

        Each has `KEY_BYTES`. The first is made with the store.
        """
        ...

    async def add_key(self, key: bytes) -> bool:
        """Make *key* the newest, keep only the one before; `False`: see `NEXT_KEY_AFTER`."""
        ...

    async def append(self, changes: Sequence[Change]) -> None:
        """Add each change's facts if nobody else has since its expected version; all or none.

        Returns when they, and what this process handed in before for the same executions, are
        durable; without a change, when everything handed in before is. One call has at most one
        change of each execution. Whether a call that is cancelled is written remains open.

        Raises:
            VersionConflict: somebody has, or the claim is gone, or the name of a new execution is
                taken by another one of the same function.
            StoreError: it could not be written. Nothing of the call was stored; where an answer was
                lost for good, the text says that this is not known.
        """
        ...

    def append_soon(self, change: Change) -> None:
        """Take *change*, and write it within 2 ms or before the next append of its execution.

        A change that is refused or fails makes that next append fail, and until then further
        changes handed in here for the same execution are dropped.
        """
        ...

    async def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        """Claim up to *limit* executions of *functions* that somebody must look at by *now*.

        Those due first come first. A claim lasts for *lease*; after it, the execution is due again.
        A version of a function is named as `claim_name` does.
        """
        ...

    async def extend(
        self, worker: str, epochs: Sequence[tuple[str, int]], until: datetime
    ) -> Sequence[str]:
        """Let claims (arn, epoch) last until *until* at least; give the arns of those gone."""
        ...

    async def next_wake_at(self, functions: Sequence[str]) -> datetime | None:
        """Say when the earliest execution of *functions* is due, `None` when none ever is."""
        ...

    async def find(self, arn: str) -> Stored | None:
        """Load an execution with all its facts.

        One whose facts are not what was written is given with what is left and its `damage`:
        it must be possible to stop and to delete it.
        """
        ...

    async def find_by_name(self, function_name: str, execution_name: str) -> str | None:
        """Give the arn of the execution that a function's name stands for."""
        ...

    async def find_by_callback(self, callback_id: str) -> str | None:
        """Give the arn of the execution that waits for a callback."""
        ...

    async def list(self, query: Query) -> Page:
        """Give one page of the executions that *query* asks for.

        The order is that of their starts; of those that started at the same instant, that of
        their creation.

        Raises:
            ValidationError: *query* goes on after a marker that no listing has returned.
        """
        ...

    async def census(self, statuses: Sequence[str], limit: int) -> Census:
        """Count the executions of each of *statuses*, and the parked ones; none beyond *limit*."""
        ...

    async def delete(self, arn: str, expected_version: int) -> None:
        """Remove an execution, its facts and its callback ids.

        Raises:
            VersionConflict: it has changed since, or is claimed.
        """
        ...

    async def delete_expired(self, now: datetime, limit: int) -> int:
        """Remove up to *limit* closed executions whose `delete_at` has come; say how many."""
        ...
