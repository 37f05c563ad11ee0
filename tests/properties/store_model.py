"""A store as plainly as it can be said: what the real ones are compared with."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from durably.engine.store import (
    Census,
    Change,
    Claim,
    KeepClaim,
    Query,
    Stored,
    Summary,
    VersionConflict,
    WakeUnlessClaimed,
)

REFUSED = "refused"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Execution:
    arn: str
    number: int
    summary: Summary
    facts: list[bytes] = field(default_factory=list)
    wake_at: datetime | None = None
    owner: str | None = None
    epoch: int = 0


class Model:
    def __init__(self) -> None:
        self.executions: dict[str, Execution] = {}
        self.callbacks: dict[str, str] = {}
        self.failed: set[str] = set()
        self.created = 0

    def reopen(self) -> None:
        for execution in self.executions.values():
            if execution.owner is not None:
                execution.epoch += 1
                execution.wake_at = BEGINNING

    def append(self, changes: list[Change]) -> str | None:
        for change in changes:
            if change.arn in self.failed:
                self.failed.remove(change.arn)
                return REFUSED
        if not all(map(self._fits, changes)) or self._names_clash(changes):
            return REFUSED
        for change in changes:
            self._apply(change)
        return None

    def append_soon(self, change: Change) -> None:
        if change.arn in self.failed:
            return
        if self._fits(change):
            self._apply(change)
        else:
            self.failed.add(change.arn)

    def claim(
        self, worker: str, functions: list[str], now: datetime, lease: timedelta, limit: int
    ) -> list[Claim]:
        due = [
            (execution.wake_at, execution.number, execution)
            for execution in self.executions.values()
            if execution.summary.function_name in functions
            and execution.wake_at is not None
            and execution.wake_at <= now
        ]
        claims = []
        for _, _, execution in sorted(due, key=lambda entry: entry[:2])[:limit]:
            is_takeover = execution.owner is not None
            execution.owner = worker
            execution.epoch += 1
            execution.wake_at = now + lease
            function = execution.summary.function_name
            claims.append(Claim(execution.arn, function, execution.epoch, is_takeover))
        return claims

    def extend(self, worker: str, epochs: list[tuple[str, int]], until: datetime) -> list[str]:
        gone = []
        for arn, epoch in epochs:
            execution = self.executions.get(arn)
            if execution and (execution.owner, execution.epoch) == (worker, epoch):
                execution.wake_at = max(execution.wake_at or until, until)
            else:
                gone.append(arn)
        return gone

    def next_wake_at(self, functions: list[str]) -> datetime | None:
        return min(
            (
                execution.wake_at
                for execution in self.executions.values()
                if execution.summary.function_name in functions and execution.wake_at is not None
            ),
            default=None,
        )

    def census(self, statuses: list[str], limit: int) -> Census:
        held = self.executions.values()
        counted = Counter(execution.summary.status for execution in held)
        parked = sum(execution.summary.parked_reason is not None for execution in held)
        due = [execution.wake_at for execution in held if execution.wake_at is not None]
        return Census(
            by_status={status: min(counted[status], limit) for status in statuses},
            parked=min(parked, limit),
            wake_at=min(due, default=None),
        )

    def find(self, arn: str) -> Stored | None:
        execution = self.executions.get(arn)
        if execution is None:
            return None
        epoch = None if execution.owner is None else execution.epoch
        facts = tuple(execution.facts)
        return Stored(arn, facts, execution.summary, execution.wake_at, epoch, len(facts))

    def find_by_name(self, function_name: str, execution_name: str) -> str | None:
        for execution in self.executions.values():
            summary = execution.summary
            if (summary.function_name, summary.execution_name) == (function_name, execution_name):
                return execution.arn
        return None

    def list(self, query: Query) -> list[str]:
        found = [
            execution
            for execution in self.executions.values()
            if _is_wanted(execution.summary, query)
        ]
        found.sort(key=lambda execution: (execution.summary.started_at, execution.number))
        arns = [execution.arn for execution in found]
        return arns if query.oldest_first else arns[::-1]

    def delete(self, arn: str, expected_version: int) -> str | None:
        execution = self.executions.get(arn)
        if execution is None or execution.owner is not None:
            return REFUSED
        if len(execution.facts) != expected_version:
            return REFUSED
        self._remove(arn)
        return None

    def expired(self, now: datetime) -> set[str]:
        return {
            execution.arn
            for execution in self.executions.values()
            if execution.summary.delete_at is not None and execution.summary.delete_at <= now
        }

    def forget(self, arns: set[str]) -> None:
        for arn in arns:
            self._remove(arn)

    def _fits(self, change: Change) -> bool:
        execution = self.executions.get(change.arn)
        if execution is None:
            summary = change.summary
            is_free = self.find_by_name(summary.function_name, summary.execution_name) is None
            return is_free and not change.expected_version and change.claim_epoch is None
        if change.claim_epoch is not None and (
            execution.owner is None or execution.epoch != change.claim_epoch
        ):
            return False
        return len(execution.facts) == change.expected_version

    def _names_clash(self, changes: Sequence[Change]) -> bool:
        names = [
            (change.summary.function_name, change.summary.execution_name)
            for change in changes
            if not change.expected_version
        ]
        return len(set(names)) < len(names)

    def _apply(self, change: Change) -> None:
        if change.arn not in self.executions:
            self.created += 1
            self.executions[change.arn] = Execution(change.arn, self.created, change.summary)
        execution = self.executions[change.arn]
        execution.facts.extend(change.facts)
        execution.summary = change.summary
        for callback_id in change.callback_ids:
            self.callbacks.setdefault(callback_id, change.arn)
        spared = isinstance(change.wake, WakeUnlessClaimed) and execution.owner is not None
        if not spared and not isinstance(change.wake, KeepClaim):
            execution.wake_at = change.wake.at
            execution.owner = None

    def _remove(self, arn: str) -> None:
        del self.executions[arn]
        self.callbacks = {one: owner for one, owner in self.callbacks.items() if owner != arn}


def outcome(answer: object) -> object:
    """Say what a call of a real store came to, as the model says it."""
    if isinstance(answer, VersionConflict):
        return REFUSED
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _is_wanted(summary: Summary, query: Query) -> bool:
    return not (
        (query.function_name is not None and summary.function_name != query.function_name)
        or (query.execution_name is not None and summary.execution_name != query.execution_name)
        or (query.statuses and summary.status not in query.statuses)
        or (query.started_after is not None and summary.started_at <= query.started_after)
        or (query.started_before is not None and summary.started_at >= query.started_before)
        or (query.parent_arn is not None and summary.parent_arn != query.parent_arn)
        or (query.is_parked is not None and (summary.parked_reason is not None) != query.is_parked)
    )
