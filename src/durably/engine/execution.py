"""An execution is the fold of its facts.

`decide` (in `decisions`) says what a command makes of it and changes nothing; `evolve` (in
`evolution`) takes what happened. For speed an `Execution` is a value with one owner: `evolve`
updates it in place, each fact at the same cost however many there were, and gives it back. The
operations in it are immutable, so what was handed out stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from durably.engine.commands import Pause, Resume
from durably.engine.facts import (
    ExecutionPaused,
    ExecutionStarted,
    PauseRequested,
    timestamp_of,
)
from durably.engine.timers import Timers
from durably.wire.base import Timestamp
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import (
    ErrorObject,
    Operation,
    OperationStatus,
    OperationType,
)


@dataclass(slots=True)
class Invocation:
    """The invocation in flight.

    Attributes:
        epoch: the claim under which it runs.
        sequence: that of the token it holds.
        seen: how far into `Execution.changes` it has been told by replies to its checkpoints.
        has_authority: `False` when the execution was paused under it.
        has_recorded: whether anything of its own was recorded.
    """

    epoch: int
    request_id: str
    started_at: int
    seen: int
    sequence: int = 0
    has_authority: bool = True
    has_recorded: bool = False


@dataclass(frozen=True, slots=True)
class LastCheckpoint:
    """The last checkpoint accepted from a remote invocation, in case its reply was lost.

    Attributes:
        told_before: how far into `Execution.changes` the invocation had been told before it.
    """

    epoch: int
    sequence: int
    client_token: str | None
    told_before: int


@dataclass(slots=True, eq=False)
class Execution:
    """Everything that its facts so far say about an execution. Only `evolve` changes it.

    Attributes:
        version: how many facts there are; 0 before the start.
        last_at: when the last one happened.
        started: the first of them.
        operations: in the order of their start; the first stands for the execution itself.
        places: where in *operations* each id is.
        changes: the place of an operation in *operations*, once for each time it changed.
        unannounced: operations changed from outside since an invocation last ended well having
            seen them, each with the length of *changes* right after.
        outstanding: how many operations could still wake the execution.
        owed: invocations still to be made: one for the start, and one for each thing from outside
            that no running invocation was told of.
        failures: how many invocations failed in a row; all but the last recorded nothing.
        last_error: how the last of them failed.
        retry_at: not before this instant is the next invocation made.
        deadline: when the execution times out.
        unpaused_deadline: when it would have, had it not been paused.
        carried_out: pauses and resumes of late, each with its time, by their client tokens.
        callbacks: which operation each callback id belongs to.
        heartbeats: how many seconds each callback with a heartbeat deadline has.
        children: the executions that operations have started.
        damage: why its facts cannot be read. Then it stands in for what they made: it knows what
            the store's summary says, and nothing else (see `damage.py`).
    """

    version: int = 0
    last_at: int = 0
    started: ExecutionStarted | None = None
    status: ExecutionStatus = ExecutionStatus.RUNNING
    ended_at: int | None = None
    result: str | None = None
    error: ErrorObject | None = None
    operations: list[Operation] = field(default_factory=list[Operation])
    places: dict[str, int] = field(default_factory=dict[str, int])
    changes: list[int] = field(default_factory=list[int])
    unannounced: dict[str, int] = field(default_factory=dict[str, int])
    outstanding: int = 0
    timers: Timers = field(default_factory=Timers)
    deadline: int = 0
    unpaused_deadline: int = 0
    invocation: Invocation | None = None
    last_checkpoint: LastCheckpoint | None = None
    owed: int = 0
    failures: int = 0
    last_error: ErrorObject | None = None
    retry_at: int | None = None
    parked_at: int | None = None
    parked_reason: str | None = None
    pause: PauseRequested | ExecutionPaused | None = None
    carried_out: dict[tuple[type[Pause | Resume], str], tuple[int, Pause | Resume]] = field(
        default_factory=dict[tuple[type[Pause | Resume], str], tuple[int, Pause | Resume]]
    )
    callbacks: dict[str, str] = field(default_factory=dict[str, str])
    heartbeats: dict[int, int] = field(default_factory=dict[int, int])
    children: dict[str, str] = field(default_factory=dict[str, str])
    damage: str | None = None

    @property
    def start(self) -> ExecutionStarted:
        """What holds for the whole execution. Only for one that has been started."""
        assert self.started is not None, "nothing but Start is asked of an empty execution"
        return self.started

    @property
    def arn(self) -> str:
        """The arn of the execution."""
        return self.start.arn

    @property
    def failures_so_far(self) -> int:
        """How many failed in a row before the one in flight, which forgets them by recording."""
        has_recorded = self.invocation is not None and self.invocation.has_recorded
        return 0 if has_recorded else self.failures

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self.ended_at is not None

    @property
    def is_listening(self) -> bool:
        """Whether an invocation is in flight that will be told what happens."""
        return self.invocation is not None and self.invocation.has_authority

    def find_operation(self, operation_id: str) -> Operation | None:
        """Give the operation with this id."""
        place = self.places.get(operation_id)
        return None if place is None else self.operations[place]


def wake_at(execution: Execution) -> Timestamp | None:
    """Say when somebody must look at an execution next that nobody has claimed.

    An invocation that is in flight nevertheless is lost, and that is to be recorded at once.
    `None`: never, because it is closed or parked. A paused one is still woken for its timers.
    """
    if execution.is_closed or execution.parked_reason is not None:
        return None
    if execution.invocation is not None:
        return timestamp_of(execution.last_at)
    due = next_timer_at(execution)
    if execution.owed and execution.pause is None:
        due = min(due, execution.last_at if execution.retry_at is None else execution.retry_at)
    return timestamp_of(due)


def next_timer_at(execution: Execution) -> int:
    """Say when the next timer of an open execution is due, its time-out included."""
    earliest = execution.timers.earliest()
    return execution.deadline if earliest is None else min(earliest, execution.deadline)


def changed_since(execution: Execution, mark: int) -> tuple[Operation, ...]:
    """Give each operation that has changed since *changes* was *mark* long, in creation order."""
    changes = execution.changes
    if len(changes) - mark == 1:
        return (execution.operations[changes[mark]],)
    return tuple(execution.operations[place] for place in sorted(set(changes[mark:])))


def readable_operations(execution: Execution) -> Sequence[Operation]:
    """Give what a replay needs: all operations but the insides of contexts that are over.

    The inside of a context closed with ReplayChildren stays.
    """
    hidden: set[str] = set()
    shown: list[Operation] = []
    for operation in execution.operations:
        if operation.parent_id is not None and operation.parent_id in hidden:
            hidden.add(operation.id)
            continue
        shown.append(operation)
        if operation.type is OperationType.CONTEXT and _hides_children(operation):
            hidden.add(operation.id)
    return shown


def _hides_children(context: Operation) -> bool:
    details = context.context_details
    return context.is_terminal and not (details is not None and details.replay_children)


def is_outstanding(operation: Operation) -> bool:
    """Whether something from outside the function can still move *operation*."""
    if operation.type is OperationType.STEP:
        return operation.status is OperationStatus.PENDING
    return operation.status is OperationStatus.STARTED and operation.type in _MOVED_FROM_OUTSIDE


_MOVED_FROM_OUTSIDE = (OperationType.WAIT, OperationType.CALLBACK, OperationType.CHAINED_INVOKE)


def updated_operation_ids(execution: Execution) -> tuple[str, ...]:
    """Give the operations that changed from outside since an invocation last ended well."""
    return tuple(execution.unannounced)
