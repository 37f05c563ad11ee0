"""The events of an execution's history, as the API gives them."""

from __future__ import annotations

from enum import StrEnum

from durably.wire.base import Timestamp, WireStruct
from durably.wire.operation import ErrorObject


class EventType(StrEnum):
    """What happened. Each type but these has its own member of `Event` with details."""

    EXECUTION_STARTED = "ExecutionStarted"
    EXECUTION_SUCCEEDED = "ExecutionSucceeded"
    EXECUTION_FAILED = "ExecutionFailed"
    EXECUTION_TIMED_OUT = "ExecutionTimedOut"
    EXECUTION_STOPPED = "ExecutionStopped"
    EXECUTION_PAUSED = "ExecutionPaused"
    EXECUTION_RESUMED = "ExecutionResumed"
    INVOCATION_COMPLETED = "InvocationCompleted"
    CONTEXT_STARTED = "ContextStarted"
    CONTEXT_SUCCEEDED = "ContextSucceeded"
    CONTEXT_FAILED = "ContextFailed"
    STEP_STARTED = "StepStarted"
    STEP_SUCCEEDED = "StepSucceeded"
    STEP_FAILED = "StepFailed"
    WAIT_STARTED = "WaitStarted"
    WAIT_SUCCEEDED = "WaitSucceeded"
    WAIT_CANCELLED = "WaitCancelled"
    CALLBACK_STARTED = "CallbackStarted"
    CALLBACK_SUCCEEDED = "CallbackSucceeded"
    CALLBACK_FAILED = "CallbackFailed"
    CALLBACK_TIMED_OUT = "CallbackTimedOut"
    CHAINED_INVOKE_STARTED = "ChainedInvokeStarted"
    CHAINED_INVOKE_SUCCEEDED = "ChainedInvokeSucceeded"
    CHAINED_INVOKE_FAILED = "ChainedInvokeFailed"
    CHAINED_INVOKE_TIMED_OUT = "ChainedInvokeTimedOut"
    CHAINED_INVOKE_STOPPED = "ChainedInvokeStopped"


class EventInput(WireStruct, frozen=True):
    """What something was given. `truncated` is always written: whether the payload was left out."""

    truncated: bool
    payload: str | None = None


class EventResult(WireStruct, frozen=True):
    """What something gave. `truncated` is always written: whether the payload was left out."""

    truncated: bool
    payload: str | None = None


class EventError(WireStruct, frozen=True):
    """How something failed. `truncated` is always written: whether the payload was left out."""

    truncated: bool
    payload: ErrorObject | None = None


class RetryDetails(WireStruct, frozen=True):
    """Which attempt ended, counted from 1, and after how long another one follows, if one does."""

    current_attempt: int
    next_attempt_delay_seconds: int | None = None


class StartedDetails(WireStruct, frozen=True):
    """Nothing: what was started says it all. It is written, but empty."""


class ResultDetails(WireStruct, frozen=True):
    """A result."""

    result: EventResult


class ErrorDetails(WireStruct, frozen=True):
    """An error."""

    error: EventError


class OptionalErrorDetails(WireStruct, frozen=True):
    """An error, if there was one."""

    error: EventError | None = None


class ExecutionStartedDetails(WireStruct, frozen=True):
    """What the execution was started with, and after how many seconds it times out."""

    input: EventInput
    execution_timeout: int


class ExecutionPausedDetails(WireStruct, frozen=True):
    """When and why a pause was asked for, and whether the time-out stands still meanwhile."""

    pause_request_timestamp: Timestamp
    execution_timeout_paused: bool
    reason: EventInput | None = None


class ExecutionResumedDetails(WireStruct, frozen=True):
    """When and why a pause was ended."""

    resume_request_timestamp: Timestamp
    reason: EventInput | None = None


class InvocationCompletedDetails(WireStruct, frozen=True):
    """When an invocation ran, and how it failed, if it did."""

    start_timestamp: Timestamp
    end_timestamp: Timestamp
    request_id: str
    error: EventError | None = None


class StepSucceededDetails(WireStruct, frozen=True):
    """The result of an attempt; with a next delay it is a state to go on from."""

    result: EventResult
    retry_details: RetryDetails


class StepFailedDetails(WireStruct, frozen=True):
    """How an attempt failed; with a next delay it is tried again."""

    error: EventError
    retry_details: RetryDetails


class WaitStartedDetails(WireStruct, frozen=True):
    """For how many seconds, and until when."""

    duration: int
    scheduled_end_timestamp: Timestamp


class WaitSucceededDetails(WireStruct, frozen=True):
    """For how many seconds it was."""

    duration: int


class CallbackStartedDetails(WireStruct, frozen=True):
    """The id an outside system answers to, and its deadlines in seconds, where there are any."""

    callback_id: str
    timeout: int | None = None
    heartbeat_timeout: int | None = None


class ChainedInvokeStartedDetails(WireStruct, frozen=True):
    """Which function was called, with what, and the execution that it became."""

    function_name: str
    input: EventInput
    executed_version: str | None = None
    durable_execution_arn: str | None = None
    tenant_id: str | None = None


class Event(WireStruct, frozen=True):
    """One event. Its id is its place in the history, counted from 1; one details member is set."""

    event_type: EventType
    event_id: int
    event_timestamp: Timestamp
    id: str | None = None
    name: str | None = None
    parent_id: str | None = None
    sub_type: str | None = None
    execution_started_details: ExecutionStartedDetails | None = None
    execution_succeeded_details: ResultDetails | None = None
    execution_failed_details: ErrorDetails | None = None
    execution_timed_out_details: OptionalErrorDetails | None = None
    execution_stopped_details: ErrorDetails | None = None
    execution_paused_details: ExecutionPausedDetails | None = None
    execution_resumed_details: ExecutionResumedDetails | None = None
    invocation_completed_details: InvocationCompletedDetails | None = None
    context_started_details: StartedDetails | None = None
    context_succeeded_details: ResultDetails | None = None
    context_failed_details: ErrorDetails | None = None
    step_started_details: StartedDetails | None = None
    step_succeeded_details: StepSucceededDetails | None = None
    step_failed_details: StepFailedDetails | None = None
    wait_started_details: WaitStartedDetails | None = None
    wait_succeeded_details: WaitSucceededDetails | None = None
    wait_cancelled_details: OptionalErrorDetails | None = None
    callback_started_details: CallbackStartedDetails | None = None
    callback_succeeded_details: ResultDetails | None = None
    callback_failed_details: ErrorDetails | None = None
    callback_timed_out_details: ErrorDetails | None = None
    chained_invoke_started_details: ChainedInvokeStartedDetails | None = None
    chained_invoke_succeeded_details: ResultDetails | None = None
    chained_invoke_failed_details: ErrorDetails | None = None
    chained_invoke_timed_out_details: ErrorDetails | None = None
    chained_invoke_stopped_details: ErrorDetails | None = None


class HistoryPage(WireStruct, frozen=True):
    """One page of a history; `next_marker` asks for the page after it."""

    events: tuple[Event, ...]
    next_marker: str | None = None
