"""The place of one context in its execution: where its operations get their identity."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from durably.core.ids import hash_id
from durably.core.journal import Journal
from durably.core.op import Op
from durably.wire.operation import Operation, OperationType


class Watcher(Protocol):
    """Watches what is called in a context, and may add to it what changes no outcome."""

    def operation_called(self, op: Op, record: Operation | None) -> None:
        """Hear of an operation that is called, with its record."""
        ...

    def trace_of(self, op: Op, function_name: str) -> str | None:
        """Give the trace that an execution of *function_name* is to belong to, if any."""
        ...

    def log_fields(self, fields: Mapping[str, Any], taken: AbstractSet[str]) -> dict[str, Any]:
        """Give what to add to a log record with *fields*, under none of the names *taken*."""
        ...


class DurableExecutionMode(StrEnum):
    """Whether a context repeats what is recorded or does something new."""

    EXECUTION = "ExecutionMode"
    REPLAY = "ReplayMode"
    REPLAY_SUCCEEDED_CONTEXT = "ReplaySucceededContext"


class Scope:
    """One context: allots ids in the order of calls, and knows whether it is replaying.

    Attributes:
        op: the operation whose body this context is, `None` at the root.
        real_parent_id: the id that children are recorded under: that of the nearest context which
            has a record of its own.
        owner: the task or thread that runs the body, while it runs; set by the driver.
        depth: how many contexts of the user's it lies in.
        watcher: told of each operation that is called here or below.
        is_settled: its result is recorded, and its body runs only to rebuild it.
        is_closed: nothing more may be recorded under it.
        now: the end of the latest operation that the body has awaited.
    """

    __slots__ = (
        "_count",
        "_next_id",
        "_prefix",
        "depth",
        "is_closed",
        "is_replaying",
        "is_settled",
        "journal",
        "now",
        "op",
        "owner",
        "parent",
        "real_parent_id",
        "watcher",
    )

    def __init__(
        self,
        journal: Journal,
        now: datetime,
        *,
        op: Op | None = None,
        parent: Scope | None = None,
        is_virtual: bool = False,
        is_settled: bool = False,
    ) -> None:
        self.journal = journal
        self.now = in_milliseconds(now)
        self.op = op
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.owner: object = None
        self.is_closed = False
        self.real_parent_id: str | None = None
        if op is not None:
            self.real_parent_id = op.parent_id if is_virtual else op.id
        self.watcher: Watcher | None = None if parent is None else parent.watcher
        self._prefix = "" if op is None else f"{op.step_id}-"
        self.is_settled = is_settled
        self._count = 0
        self._next_id = hash_id(f"{self._prefix}1")
        self.is_replaying = is_settled or self._next_id in journal

    @property
    def step_id(self) -> str:
        """The program position of this context; empty at the root."""
        return "" if self.op is None else self.op.step_id

    @property
    def mode(self) -> DurableExecutionMode:
        """The mode in the terms of the other SDKs."""
        if self.is_settled:
            return DurableExecutionMode.REPLAY_SUCCEEDED_CONTEXT
        if self.is_replaying:
            return DurableExecutionMode.REPLAY
        return DurableExecutionMode.EXECUTION

    def allot(self, name: str | None, type_: OperationType, sub_type: str) -> Op:
        """Give the next operation of this context its identity, checked against its record.

        Raises:
            NonDeterministicExecutionError: another operation is recorded in this place.
        """
        self._count += 1
        step_id = f"{self._prefix}{self._count}"
        op = Op(self._next_id, step_id, self.real_parent_id, name, type_, sub_type)
        self._next_id = hash_id(f"{self._prefix}{self._count + 1}")
        record = self.journal.check(op)
        if self.is_replaying and not self.is_settled:
            self.is_replaying = self._is_still_replaying(record)
        if self.watcher is not None and not self.is_settled:
            self.watcher.operation_called(op, record)
        return op

    def _is_still_replaying(self, record: Operation | None) -> bool:
        return record is not None and record.is_terminal and self._next_id in self.journal

    def never_resolves(self, op: Op) -> bool:
        """Whether *op* was left open by a context that is long closed: then it stays so."""
        if not self.is_settled:
            return False
        record = self.journal.find(op.id)
        return record is None or not record.is_terminal

    def child(self, op: Op, *, is_virtual: bool = False, is_settled: bool = False) -> Scope:
        """Open the scope for the body of the context operation *op*."""
        return Scope(
            self.journal,
            self.now,
            op=op,
            parent=self,
            is_virtual=is_virtual,
            is_settled=is_settled or (is_virtual and self.is_settled),
        )

    def has_closed(self) -> bool:
        """Whether this context, or one it lies in, is over."""
        scope: Scope | None = self
        while scope is not None:
            if scope.is_closed:
                return True
            scope = scope.parent
        return False

    def note_awaited(self, op: Op) -> None:
        """Let this context's time go on to the end of *op*, if it was that which was awaited.

        The first run of a call that *op* outlives knows no end yet, so no replay may be told it.
        """
        if op.outlives_call:
            return
        record = self.journal.find(op.id)
        if record is not None and record.end_timestamp is not None:
            self.now = max(self.now, in_milliseconds(record.end_timestamp))


def in_milliseconds(at: datetime) -> datetime:
    """Cut *at* to what every channel carries, so that a replay is told the same time."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
