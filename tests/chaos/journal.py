"""What the database says after a worker has died: read as of one moment, and judged by itself.

The rules here are the journal's own (I5, I7, I10, I11, I18, L2). They share the format of facts
with the engine, and nothing else: no `evolve`, no store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from zlib import crc32

import msgspec

from durably.engine import facts as f
from durably.engine.rules import EXIT_ERROR

Report: TypeAlias = Callable[[str, str], None]
"""Takes a violation: the rule, and what broke it."""
View: TypeAlias = Callable[[Report], AbstractContextManager[Any]]
"""Gives a connection that shows the database as of one moment; `None` while there is no schema."""

_STATUSES: dict[type[f.Fact], str] = {
    f.ExecutionSucceeded: "SUCCEEDED",
    f.ExecutionFailed: "FAILED",
    f.ExecutionStopped: "STOPPED",
    f.ExecutionTimedOut: "TIMED_OUT",
}
_CLOSING = tuple(_STATUSES)
_OF_OPERATIONS = (
    f.StepRetried,
    f.ContextSucceeded,
    f.ContextFailed,
    f.StepSucceeded,
    f.StepFailed,
    f.WaitSucceeded,
    f.WaitCancelled,
    f.CallbackSucceeded,
    f.CallbackFailed,
    f.CallbackTimedOut,
    f.ChainedInvokeSucceeded,
    f.ChainedInvokeFailed,
    f.ChainedInvokeTimedOut,
    f.ChainedInvokeStopped,
    f.ChainedInvokeCancelled,
)


@dataclass(slots=True)
class Recorded:
    """One operation. *begun* and *ended* count attempts of a step."""

    id: str
    name: str | None
    parent_id: str | None
    begun: int = 0
    ended: int = 0
    end: Any = None

    @property
    def result(self) -> Any:
        """Its recorded result, read; `None` while it has none."""
        text = getattr(self.end, "result", None)
        return None if text is None else msgspec.json.decode(text)


@dataclass(slots=True)
class Row:
    """One execution as its row says."""

    id: int
    arn: str
    function: str
    name: str
    parent_arn: str | None
    status: str
    parked_reason: str | None
    ended_at: int | None
    wake_at: int | None
    owner: str | None


@dataclass(slots=True)
class Journal:
    """One execution as its facts say."""

    row: Row
    facts: tuple[bytes, ...] = ()
    operations: dict[str, Recorded] = field(default_factory=dict)
    callbacks: dict[str, str] = field(default_factory=dict)
    children: dict[str, str] = field(default_factory=dict)
    started: f.ExecutionStarted | None = None
    closing: Any = None
    last_at: int = 0
    lost: int = 0
    broken_off: int = 0

    @property
    def result(self) -> Any:
        """The recorded result, read; `None` while there is none."""
        text = getattr(self.closing, "result", None)
        return None if text is None else msgspec.json.decode(text)

    def at_root(self, name: str) -> Recorded | None:
        """Find an operation of the handler itself."""
        for operation in self.operations.values():
            if operation.name == name and operation.parent_id is None:
                return operation
        return None


class Database:
    """All journals, as of the latest look; each look must continue the one before."""

    def __init__(self, view: View, report: Report) -> None:
        self._view = view
        self._report = report
        self.journals: dict[str, Journal] = {}

    def look(self, *, is_last: bool) -> None:
        """Read it, and judge it: what was closed the last time only if this look *is the last*."""
        with self._view(self._report) as connection:
            if connection is not None:
                self._read(connection, is_last=is_last)
            elif self.journals:  # else the first life has died before there was anything
                self._report("acknowledged", "all is gone")
        for journal in self.journals.values():
            self._check_row(journal)
            self._check_children(journal)

    @property
    def claimed(self) -> int:
        """How many executions somebody holds a claim of."""
        return sum(journal.row.owner is not None for journal in self.journals.values())

    def _read(self, connection: Any, *, is_last: bool) -> None:
        rows = connection.execute(
            "SELECT executions.id, arn, functions.name, executions.name, parent_arn, status, "
            "parked_reason, ended_at, wake_at, owner "
            "FROM executions JOIN functions ON functions.id = function_id"
        )
        found = {row[0]: Row(*row) for row in rows}
        gone = self.journals.keys() - {row.arn for row in found.values()}
        for arn in gone:
            self._report("acknowledged", f"{arn} is gone")
        kept: dict[str, set[str]] = {}
        for callback_id, execution_id in connection.execute(
            "SELECT id, execution_id FROM callbacks"
        ):
            kept.setdefault(found[execution_id].arn, set()).add(callback_id)
        known = {} if is_last else self.journals
        closed = {row.id for row in found.values() if row.arn in known and known[row.arn].closing}
        facts = dict(self._facts_of(connection, closed))
        for row in found.values():
            if row.id in closed:
                self.journals[row.arn].row = row
            else:
                self._continue(row, tuple(facts.pop(row.id, ())))
            if kept.get(row.arn, set()) != set(self.journals[row.arn].callbacks):
                self._report("half-applied", f"callbacks of {row.arn} are not those of its facts")
        if facts:
            self._report("half-applied", f"facts of no execution: {sorted(facts)}")

    def _facts_of(self, connection: Any, closed: set[int]) -> Iterator[tuple[int, list[bytes]]]:
        """Put the rows of each execution together, but of the *closed* ones."""
        gathered: dict[int, list[bytes]] = {}
        numbers = ",".join(map(str, closed)) or "0"
        rows = connection.execute(
            "SELECT execution_id, position, amount, checksum, body FROM facts "  # noqa: S608 - ours
            f"WHERE execution_id NOT IN ({numbers}) ORDER BY execution_id, position"
        )
        for execution_id, position, amount, checksum, body in rows:
            facts = gathered.setdefault(execution_id, [])
            more = msgspec.msgpack.decode(body, type=list[bytes])
            if (position, amount, checksum) != (len(facts), len(more), crc32(body)):
                self._report("half-applied", f"facts of execution {execution_id} at {position}")
            facts += more
        yield from gathered.items()

    def _continue(self, row: Row, facts: tuple[bytes, ...]) -> None:
        journal = self.journals.get(row.arn)
        if journal is None:
            journal = self.journals[row.arn] = Journal(row)
        known = len(journal.facts)
        if facts[:known] != journal.facts:
            self._report("history", f"the past of {row.arn} has changed")
        journal.row, journal.facts = row, facts
        for fact in facts[known:]:
            self._take(journal, f.decode_fact(fact))

    def _take(self, journal: Journal, fact: f.Fact) -> None:
        if fact.at < journal.last_at:
            self._report("history", f"time runs backwards in {journal.row.arn}")
        journal.last_at = fact.at
        if journal.closing is not None:
            self._report("terminal", f"{journal.row.arn}: {fact} after its end")
        if isinstance(fact, f.OperationStarted):
            self._begin(journal, fact)
        elif isinstance(fact, _OF_OPERATIONS):
            self._go_on(journal, fact)
        elif isinstance(fact, _CLOSING):
            journal.closing = fact
        elif isinstance(fact, f.ExecutionStarted):
            self._start(journal, fact)
        elif isinstance(fact, f.InvocationCompleted) and fact.error is not None:
            journal.lost += fact.error.error_type == EXIT_ERROR[0]
            journal.broken_off += 1

    def _start(self, journal: Journal, fact: f.ExecutionStarted) -> None:
        if journal.started is not None:
            self._report("history", f"{journal.row.arn} started twice")
        journal.started = fact

    def _begin(self, journal: Journal, fact: f.OperationStarted) -> None:
        if fact.parent_id is not None:
            parent = journal.operations.get(fact.parent_id)
            if parent is None or parent.end is not None:
                self._report("history", f"{journal.row.arn}: {fact} under no open context (I11)")
        operation = journal.operations.get(fact.id)
        if operation is None:
            operation = Recorded(fact.id, fact.name, fact.parent_id)
            journal.operations[fact.id] = operation
        elif not isinstance(fact, f.StepStarted) or operation.begun != operation.ended:
            self._report("history", f"{journal.row.arn}: {fact.id} began twice")
        operation.begun += 1
        if isinstance(fact, f.CallbackStarted):
            journal.callbacks[fact.callback_id] = fact.id
        elif isinstance(fact, f.ChainedInvokeStarted):
            journal.children[fact.id] = fact.child_arn

    def _go_on(self, journal: Journal, fact: Any) -> None:
        operation = journal.operations.get(fact.id)
        if operation is None:
            self._report("history", f"{journal.row.arn}: {fact} of what never began")
            return
        if operation.end is not None:
            self._report("terminal", f"{journal.row.arn}: {fact} after {operation.end}")
        operation.ended += 1
        if not isinstance(fact, f.StepRetried):
            operation.end = fact

    def _check_row(self, journal: Journal) -> None:
        row = journal.row
        status = _STATUSES.get(type(journal.closing), "RUNNING")
        ended_at = None if journal.closing is None else journal.closing.at
        if (row.status, row.ended_at) != (status, ended_at):
            self._report("half-applied", f"{row} does not say what its facts say: {status}")
        if journal.closing is not None and (row.wake_at is not None or row.owner is not None):
            self._report("half-applied", f"{row} is closed, and still scheduled")
        if journal.closing is None and row.wake_at is None and row.parked_reason is None:
            self._report("liveness", f"nothing will ever wake {row} (L2)")

    def _check_children(self, journal: Journal) -> None:
        """A call and its child's start are one transaction; so are a child's end and the answer."""
        for operation_id, arn in journal.children.items():
            child = self.journals.get(arn)
            if child is None or child.started is None:
                self._report("half-applied", f"{journal.row.arn} called, and {arn} is not there")
                continue
            if (child.started.parent_arn, child.started.parent_operation_id) != (
                journal.row.arn,
                operation_id,
            ):
                self._report("history", f"{arn} is the child of somebody else (I18)")
            is_answered = journal.operations[operation_id].end is not None
            if journal.closing is None and is_answered != (child.closing is not None):
                self._report("half-applied", f"{arn} ended, or its parent was told, not both")
        parent_arn = journal.row.parent_arn
        if parent_arn is not None:
            parent = self.journals.get(parent_arn)
            if parent is None or journal.row.arn not in parent.children.values():
                self._report("half-applied", f"{journal.row.arn} was called by nobody")
