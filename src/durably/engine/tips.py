"""The latest state of executions that this process works on, and the changes it writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol

from durably.clock import Timer
from durably.engine.damage import execution_of
from durably.engine.evolution import evolve
from durably.engine.execution import Execution, wake_at
from durably.engine.facts import (
    CallbackStarted,
    ExecutionFailed,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    Fact,
    encode_fact,
    timestamp_of,
)
from durably.engine.limits import SERVICE_MAX_OPERATIONS, SERVICE_MAX_STORED_BYTES
from durably.engine.store import (
    Change,
    KeepClaim,
    Line,
    Stored,
    Summary,
    VersionConflict,
    Wake,
    WakeAt,
    WakeUnlessClaimed,
)
from durably.wire.arns import title_of
from durably.wire.operation import Operation

log = logging.getLogger("durably.engine")

CLOSING = frozenset({ExecutionSucceeded, ExecutionFailed, ExecutionStopped, ExecutionTimedOut})
"""The facts that end an execution."""

_KEEP = KeepClaim()


class Push(NamedTuple):
    """Operations that have changed, and how far into the changes they go."""

    operations: tuple[Operation, ...]
    mark: int


class Listener(Protocol):
    """Whoever wants to be told."""

    def __call__(self, operations: Sequence[Operation], /) -> bool:
        """Take note of operations that have changed from outside.

        `False`: the invocation ends anyway, and what it is told does not count.
        """
        ...


class Audience(Protocol):
    """The invocation that runs here, as far as a tip must know it."""

    epoch: int

    def capture(self) -> Push:
        """Take what has changed since the last capture; it is going to be told."""
        ...

    def tell(self, push: Push) -> None:
        """Tell it what has changed from outside, now that it is durable."""
        ...

    def release(self) -> None:
        """Let it know that it has no authority any more."""
        ...

    def lose(self, failure: BaseException) -> None:
        """Let it know that what it said last was not written."""
        ...


class Tip:
    """The latest of one execution, ahead of the store by what is being written.

    Attributes:
        session: the invocation that runs here under this process's claim.
        pins: how many are working with it.
        failure: why it must not be used any more: what it was ahead by was not written.
        writing: how many changes are being written.
        written: set when none is, for whoever waits for that.
        stored_bytes: what its facts take.
    """

    __slots__ = (
        "_line",
        "_status",
        "_summary",
        "execution",
        "failure",
        "pins",
        "session",
        "stored_bytes",
        "timer",
        "timer_due",
        "writing",
        "written",
    )

    def __init__(self, execution: Execution, stored_bytes: int = 0) -> None:
        self.execution = execution
        self.stored_bytes = stored_bytes
        self.session: Audience | None = None
        self.pins = 0
        self.writing = 0
        self.written: asyncio.Event | None = None
        self.failure: BaseException | None = None
        self.timer: Timer | None = None
        self.timer_due = 0
        self._line = Line()
        self._summary: Summary | None = None
        self._status = execution.status

    @classmethod
    def of(cls, stored: Stored) -> Tip:
        """Give the tip of an execution as it is stored."""
        return cls(execution_of(stored), sum(map(len, stored.facts)))

    def take(self, facts: Sequence[Fact], epoch: int | None = None) -> Change:
        """Let *facts* have happened, and give the change that writes them.

        Args:
            facts: what `decide` made of this very state.
            epoch: the claim of the owner whose change it is, `None` for one from outside.

        Raises:
            InvalidParameterValueException: one of them cannot be recorded. None has happened.
        """
        encoded = tuple([encode_fact(fact) for fact in facts])
        execution = self.execution
        before = execution.version
        operations_before = len(execution.operations)
        callback_ids: tuple[str, ...] = ()
        for fact in facts:
            evolve(execution, fact)
            if type(fact) is CallbackStarted:
                callback_ids += (fact.callback_id,)
        bytes_before = self.stored_bytes
        self.stored_bytes = bytes_before + sum(map(len, encoded))
        if (
            len(execution.operations) > SERVICE_MAX_OPERATIONS
            or self.stored_bytes > SERVICE_MAX_STORED_BYTES
        ):
            self._warn_of_quotas(operations_before, bytes_before)
        return Change(
            arn=execution.arn,
            expected_version=before,
            facts=encoded,
            summary=self._current_summary(execution),
            wake=_KEEP if _is_kept(execution, epoch) else self._wake(epoch),
            claim_epoch=epoch,
            callback_ids=callback_ids,
            line=self._line,
        )

    def _warn_of_quotas(self, operations_before: int, bytes_before: int) -> None:
        """Warn when AWS would have refused what was just taken, for the first time."""
        operations = len(self.execution.operations) - 1  # one stands for the execution itself
        if operations_before - 1 <= SERVICE_MAX_OPERATIONS < operations:
            self._warn(
                "operations", SERVICE_MAX_OPERATIONS, f"{SERVICE_MAX_OPERATIONS:,} operations"
            )
        if bytes_before <= SERVICE_MAX_STORED_BYTES < self.stored_bytes:
            self._warn("stored_bytes", SERVICE_MAX_STORED_BYTES, "100 MiB stored")

    def _warn(self, quota: str, limit: int, said: str) -> None:
        arn = self.execution.arn
        log.warning(
            "%s has more than %s: AWS allows an execution no more, and here it goes on",
            title_of(arn),
            said,
            extra={"executionArn": arn, "quota": quota, "limit": limit},
        )

    def _wake(self, epoch: int | None) -> Wake:
        execution = self.execution
        if self.session is None and epoch is None and not execution.is_closed:
            return WakeUnlessClaimed(wake_at(execution))
        if self.session is not None:
            self.session.release()
            self.session = None
            self.disarm()
        return WakeAt(wake_at(execution))

    def _current_summary(self, execution: Execution) -> Summary:
        summary = self._summary
        if (
            summary is None
            or execution.status is not self._status
            or execution.parked_reason is not summary.parked_reason
        ):
            self._status = execution.status
            summary = self._summary = summary_of(execution)
        return summary

    @property
    def is_durable(self) -> bool:
        """Whether all that somebody waits for to be written is durable."""
        return not self.writing and self.failure is None

    def stands_at(self, stored: int, written: int = 0) -> bool:
        """Whether it may be so far ahead of the store, which has *stored* facts, and had *written*.

        If something that nobody waited for was refused, nobody has heard of that yet.
        """
        return not self._line.is_broken and written <= stored <= self.execution.version

    @property
    def is_overtaken(self) -> bool:
        """Whether it must not be used any more because somebody else was first."""
        return isinstance(self.failure, VersionConflict)

    def note_written(self) -> None:
        """One change less is being written."""
        self.writing -= 1
        if not self.writing and self.written is not None:
            self.written.set()

    async def settle(self) -> None:
        """Return when all that somebody waits for to be written is durable.

        Raises:
            VersionConflict: it must not be used any more, as something was not written.
        """
        while self.writing:
            self.written = self.written or asyncio.Event()
            self.written.clear()
            await self.written.wait()
        if self.failure is not None:
            raise VersionConflict(self.execution.arn)

    def disarm(self) -> None:
        """Call off the timer of the invocation in flight."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.timer_due = 0


def _is_kept(execution: Execution, epoch: int | None) -> bool:
    """Whether the claim stays as it is: an invocation is in flight, and none but its own."""
    invocation = execution.invocation
    return invocation is not None and epoch in {None, invocation.epoch}


def summary_of(execution: Execution) -> Summary:
    """Give what the store lets be searched."""
    start = execution.start
    ended_at = None if execution.ended_at is None else timestamp_of(execution.ended_at)
    kept = timedelta(days=start.retention_days)
    return Summary(
        function_name=start.function_name,
        execution_name=start.execution_name,
        status=execution.status.value,
        started_at=timestamp_of(start.at),
        ended_at=ended_at,
        parent_arn=start.parent_arn,
        parked_reason=execution.parked_reason,
        delete_at=None if ended_at is None else ended_at + kept,
        version=start.version,
    )
