"""An operation as the backend records it: its kinds, its states, its details."""

from __future__ import annotations

from enum import StrEnum

from durably.wire.base import Timestamp, WireStruct


class OperationType(StrEnum):
    """What kind of record an operation is."""

    EXECUTION = "EXECUTION"
    CONTEXT = "CONTEXT"
    STEP = "STEP"
    WAIT = "WAIT"
    CALLBACK = "CALLBACK"
    CHAINED_INVOKE = "CHAINED_INVOKE"


class OperationSubType(StrEnum):
    """Which of the library's operations wrote the record."""

    STEP = "Step"
    WAIT = "Wait"
    CALLBACK = "Callback"
    RUN_IN_CHILD_CONTEXT = "RunInChildContext"
    MAP = "Map"
    MAP_ITERATION = "MapIteration"
    PARALLEL = "Parallel"
    PARALLEL_BRANCH = "ParallelBranch"
    WAIT_FOR_CALLBACK = "WaitForCallback"
    WAIT_FOR_CONDITION = "WaitForCondition"
    CHAINED_INVOKE = "ChainedInvoke"


class OperationStatus(StrEnum):
    """Where an operation stands."""

    STARTED = "STARTED"
    PENDING = "PENDING"
    READY = "READY"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"


TERMINAL_STATUSES = frozenset(
    {
        OperationStatus.SUCCEEDED,
        OperationStatus.FAILED,
        OperationStatus.CANCELLED,
        OperationStatus.TIMED_OUT,
        OperationStatus.STOPPED,
    }
)
"""No operation leaves one of these."""


class ErrorObject(WireStruct, frozen=True):
    """An error as it is recorded: what was raised, never the object itself."""

    error_type: str | None = None
    error_message: str | None = None
    error_data: str | None = None
    stack_trace: tuple[str, ...] | None = None


class ExecutionDetails(WireStruct, frozen=True):
    """What only the execution itself has: the input it was started with, as JSON text."""

    input_payload: str | None = None


class ContextDetails(WireStruct, frozen=True):
    """What only a context has. With `replay_children` the result is rebuilt by running it again."""

    replay_children: bool = False
    result: str | None = None
    error: ErrorObject | None = None


class StepDetails(WireStruct, frozen=True):
    """What only a step has. `attempt` counts finished attempts, so it starts at 0."""

    attempt: int = 0
    next_attempt_timestamp: Timestamp | None = None
    result: str | None = None
    error: ErrorObject | None = None


class WaitDetails(WireStruct, frozen=True):
    """What only a wait has: when it is over."""

    scheduled_end_timestamp: Timestamp | None = None


class CallbackDetails(WireStruct, frozen=True):
    """What only a callback has: the id an outside system answers to, and its answer."""

    callback_id: str | None = None
    result: str | None = None
    error: ErrorObject | None = None
    scheduled_timeout_timestamp: Timestamp | None = None


class ChainedInvokeDetails(WireStruct, frozen=True):
    """What only a chained invoke has: how its target ended."""

    result: str | None = None
    error: ErrorObject | None = None


class Operation(WireStruct, frozen=True):
    """One checkpointed record of an execution."""

    id: str
    type: OperationType
    status: OperationStatus
    start_timestamp: Timestamp | None = None
    end_timestamp: Timestamp | None = None
    parent_id: str | None = None
    name: str | None = None
    sub_type: str | None = None
    execution_details: ExecutionDetails | None = None
    context_details: ContextDetails | None = None
    step_details: StepDetails | None = None
    wait_details: WaitDetails | None = None
    callback_details: CallbackDetails | None = None
    chained_invoke_details: ChainedInvokeDetails | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can change this record any more."""
        return self.status in TERMINAL_STATUSES
