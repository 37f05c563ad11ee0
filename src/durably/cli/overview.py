"""What an execution is doing, from its records: how much is done, and what is under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from durably.app.operations import kind_of, path_of
from durably.cli.outcome import error_text
from durably.wire.operation import Operation, OperationStatus, OperationType

_NO_TIME = datetime.max.replace(tzinfo=UTC)


class Doing(Enum):
    """What is the matter with an operation that is not over."""

    RUNS = "runs"
    WAITS_FOR_TIME = "waits for a time"
    WAITS_FOR_OTHERS = "waits for others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """An operation that is not over.

    Attributes:
        path: its name, after those of the contexts that it is in.
        kind: which operation of the library it is.
        attempt: the number of the attempt that runs or comes next; 0 if there is no such thing.
        due_at: when it goes on by itself, at the latest.
        callback_id: what an outside system answers to.
        error: how its last attempt failed.
    """

    operation_id: str
    path: str
    kind: str
    doing: Doing
    since: datetime | None
    due_at: datetime | None = None
    attempt: int = 0
    callback_id: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All operations of an execution but the one that stands for itself.

    Attributes:
        done: how many are over, well or badly.
        failed: how many of those badly.
        current: those that are not over, the innermost ones only, in the order of their start.
        has_invoked: whether other executions were started.
    """

    done: int = 0
    failed: int = 0
    current: tuple[Current, ...] = ()
    has_invoked: bool = False

    @property
    def running(self) -> int:
        """How many of the current ones run."""
        return sum(one.doing is Doing.RUNS for one in self.current)

    @property
    def waiting(self) -> int:
        """How many of the current ones wait."""
        return len(self.current) - self.running


def overview_of(operations: Sequence[Operation]) -> Overview:
    """Sum up *operations*, which are in the order of their start."""
    by_id = {operation.id: operation for operation in operations}
    open_ones = [one for one in operations if not one.is_terminal and not _is_root(one)]
    around = {one.parent_id for one in open_ones}
    over = [one for one in operations if one.is_terminal and not _is_root(one)]
    return Overview(
        done=len(over),
        failed=sum(one.status is not OperationStatus.SUCCEEDED for one in over),
        current=tuple(_current(one, by_id) for one in open_ones if one.id not in around),
        has_invoked=any(one.type is OperationType.CHAINED_INVOKE for one in operations),
    )


def _is_root(operation: Operation) -> bool:
    return operation.type is OperationType.EXECUTION


def _current(operation: Operation, by_id: Mapping[str, Operation]) -> Current:
    doing, due_at = _doing(operation)
    step = operation.step_details
    attempt = 0 if step is None else step.attempt + 1
    callback = operation.callback_details
    return Current(
        operation_id=operation.id,
        path=path_of(operation, by_id),
        kind=kind_of(operation),
        doing=doing,
        since=operation.start_timestamp,
        due_at=due_at,
        attempt=attempt,
        callback_id=None if callback is None else callback.callback_id,
        error=None if step is None or step.error is None else error_text(step.error),
    )


def _doing(operation: Operation) -> tuple[Doing, datetime | None]:
    match operation:
        case Operation(wait_details=details) if details is not None:
            return Doing.WAITS_FOR_TIME, details.scheduled_end_timestamp
        case Operation(type=OperationType.STEP, status=OperationStatus.PENDING, step_details=step):
            return Doing.WAITS_FOR_TIME, None if step is None else step.next_attempt_timestamp
        case Operation(callback_details=details) if details is not None:
            return Doing.WAITS_FOR_OTHERS, details.scheduled_timeout_timestamp
        case Operation(type=OperationType.CHAINED_INVOKE):
            return Doing.WAITS_FOR_OTHERS, None
        case _:
            return Doing.RUNS, None


def by_urgency(current: Current) -> tuple[bool, datetime]:
    """Order what runs before what waits, and that by when it goes on."""
    return current.doing is not Doing.RUNS, current.due_at or _NO_TIME
