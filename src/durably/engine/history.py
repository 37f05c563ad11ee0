"""The history of an execution: its visible facts, as the events of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from durably.engine.arns import root_operation_id
from durably.engine.facts import (
    MICROSECONDS,
    CallbackFailed,
    CallbackStarted,
    CallbackSucceeded,
    CallbackTimedOut,
    ChainedInvokeFailed,
    ChainedInvokeStarted,
    ChainedInvokeStopped,
    ChainedInvokeSucceeded,
    ChainedInvokeTimedOut,
    ContextFailed,
    ContextStarted,
    ContextSucceeded,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    Fact,
    InvocationCompleted,
    OperationStarted,
    StepFailed,
    StepRetried,
    StepStarted,
    StepSucceeded,
    WaitCancelled,
    WaitStarted,
    WaitSucceeded,
    is_visible,
    timestamp_of,
)
from durably.engine.paging import error_bytes, fitting
from durably.errors import InvalidParameterValueException
from durably.wire.history import (
    CallbackStartedDetails,
    ChainedInvokeStartedDetails,
    ErrorDetails,
    Event,
    EventError,
    EventInput,
    EventResult,
    EventType,
    ExecutionPausedDetails,
    ExecutionResumedDetails,
    ExecutionStartedDetails,
    HistoryPage,
    InvocationCompletedDetails,
    OptionalErrorDetails,
    ResultDetails,
    RetryDetails,
    StartedDetails,
    StepFailedDetails,
    StepSucceededDetails,
    WaitStartedDetails,
    WaitSucceededDetails,
)
from durably.wire.operation import ErrorObject

DEFAULT_PAGE = 100
MAX_PAGE = 1000


def history_page(
    facts: Iterable[Fact],
    *,
    max_items: int | None = None,
    marker: str | None = None,
    oldest_first: bool = True,
    include_data: bool = True,
) -> HistoryPage:
    """Give one page of the events in *facts*, which are all from the first on.

    Args:
        facts: the journal, or the beginning of one.
        max_items: at most so many events, 1000 at most; 0 or `None` means 100. A page ends
            sooner, after its first event, where payloads would take more than 4 MiB.
        marker: the `next_marker` of the page before, asked for in the same order.
        oldest_first: `False` gives the newest event first, and markers go downwards.
        include_data: `False` leaves payloads out and says so with `Truncated`.

    Raises:
        InvalidParameterValueException: *max_items* or *marker* is not a legal one.
    """
    told = _Told.of(facts)
    count = len(told.visible)
    limit = page_size(max_items)
    step = 1 if oldest_first else -1
    first = _first_event(marker, count, 1 if oldest_first else count)
    wanted = range(first, (count if oldest_first else 1) + step, step)[:limit]
    if include_data:
        wanted = wanted[: fitting(_payload_bytes(told.visible[event - 1]) for event in wanted)]
    view = _View(told, include_data=include_data)
    events = tuple(view.event(event_id) for event_id in wanted)
    following = wanted[-1] + step if wanted else 0
    has_more = bool(wanted) and 1 <= following <= count
    return HistoryPage(events=events, next_marker=str(following) if has_more else None)


def page_size(max_items: int | None) -> int:
    """Give how many items a page has.

    Raises:
        InvalidParameterValueException: it is not 0 to 1000.
    """
    if max_items is None or max_items == 0:
        return DEFAULT_PAGE
    if not 0 <= max_items <= MAX_PAGE:
        raise InvalidParameterValueException(f"MaxItems must be 0 to {MAX_PAGE}.")
    return max_items


def _first_event(marker: str | None, count: int, default: int) -> int:
    if not marker:
        return default
    if marker.isascii() and marker.isdigit() and len(marker) <= len(str(count)):
        first = int(marker)
        if 1 <= first <= count:
            return first
    raise InvalidParameterValueException("Marker is not one that this history has given.")


def _payload_bytes(fact: Fact) -> int:
    """Say what the texts in *fact* take, roughly."""
    values = (getattr(fact, name) for name in fact.__struct_fields__)
    return sum(
        error_bytes(value) if isinstance(value, ErrorObject) else len(value)
        for value in values
        if isinstance(value, ErrorObject | str)
    )


@dataclass(slots=True)
class _Told:
    """The visible facts, and what the silent parts of the story add to each.

    Attributes:
        attempts: of the fact in each place, which attempt of its step it is about.
        begun: the fact that started each operation.
    """

    visible: list[Fact] = field(default_factory=list[Fact])
    attempts: dict[int, int] = field(default_factory=dict[int, int])
    begun: dict[str, OperationStarted] = field(default_factory=dict[str, OperationStarted])
    root: ExecutionStarted | None = None

    @classmethod
    def of(cls, facts: Iterable[Fact]) -> _Told:
        told = cls()
        ended: dict[str, int] = {}
        for fact in facts:
            if not is_visible(fact):
                continue
            told.visible.append(fact)
            if isinstance(fact, OperationStarted):
                told.begun.setdefault(fact.id, fact)
            elif isinstance(fact, StepSucceeded | StepFailed | StepRetried):
                ended[fact.id] = told.attempts[len(told.visible)] = ended.get(fact.id, 0) + 1
            elif isinstance(fact, ExecutionStarted):
                told.root = fact
        return told


class _View:
    """Writes one event at a time."""

    def __init__(self, told: _Told, *, include_data: bool) -> None:
        self._told = told
        self._include_data = include_data

    def event(self, event_id: int) -> Event:
        fact = self._told.visible[event_id - 1]
        event_type, member, details_of = _EVENTS[type(fact)]
        if isinstance(fact, StepRetried) and fact.error is None:
            event_type, member = EventType.STEP_SUCCEEDED, "step_succeeded_details"
        details: dict[str, Any] = {member: details_of(self, fact, event_id)}
        return Event(
            event_type=event_type,
            event_id=event_id,
            event_timestamp=timestamp_of(fact.at),
            **self._identity(fact),
            **details,
        )

    def _identity(self, fact: Fact) -> dict[str, Any]:
        operation_id: str | None = getattr(fact, "id", None)
        if operation_id is not None:
            begun = self._told.begun[operation_id]
            return {
                "id": operation_id,
                "name": begun.name,
                "parent_id": begun.parent_id,
                "sub_type": begun.sub_type,
            }
        root = self._told.root
        if root is None or isinstance(fact, InvocationCompleted):
            return {}
        return {"id": root_operation_id(root.arn), "name": root.execution_name}

    def _input(self, payload: str | None) -> EventInput:
        return EventInput(**self._shown(payload))

    def _result(self, payload: str | None) -> EventResult:
        return EventResult(**self._shown(payload))

    def _error(self, error: ErrorObject | None) -> EventError:
        return EventError(**self._shown(error))

    def _shown(self, payload: object) -> dict[str, Any]:
        if not self._include_data:
            return {"truncated": True}
        return {"payload": payload, "truncated": False}

    def nothing(self, _fact: Fact, _event_id: int) -> StartedDetails:
        return StartedDetails()

    def result(
        self,
        fact: ExecutionSucceeded | ContextSucceeded | CallbackSucceeded | ChainedInvokeSucceeded,
        _event_id: int,
    ) -> ResultDetails:
        return ResultDetails(result=self._result(fact.result))

    def error(
        self,
        fact: ExecutionFailed
        | ExecutionStopped
        | ContextFailed
        | CallbackFailed
        | CallbackTimedOut
        | ChainedInvokeFailed
        | ChainedInvokeTimedOut
        | ChainedInvokeStopped,
        _event_id: int,
    ) -> ErrorDetails:
        return ErrorDetails(error=self._error(fact.error))

    def optional_error(
        self, fact: ExecutionTimedOut | WaitCancelled, _event_id: int
    ) -> OptionalErrorDetails:
        return OptionalErrorDetails(error=self._optional_error(fact.error))

    def _optional_error(self, error: ErrorObject | None) -> EventError | None:
        return None if error is None else self._error(error)

    def _optional_input(self, payload: str | None) -> EventInput | None:
        return None if payload is None else self._input(payload)

    def execution_started(self, fact: ExecutionStarted, _event_id: int) -> ExecutionStartedDetails:
        return ExecutionStartedDetails(
            input=self._input(fact.input_payload), execution_timeout=fact.timeout_seconds
        )

    def execution_paused(self, fact: ExecutionPaused, _event_id: int) -> ExecutionPausedDetails:
        return ExecutionPausedDetails(
            pause_request_timestamp=timestamp_of(fact.requested_at),
            execution_timeout_paused=fact.is_timeout_paused,
            reason=self._optional_input(fact.reason),
        )

    def execution_resumed(self, fact: ExecutionResumed, _event_id: int) -> ExecutionResumedDetails:
        return ExecutionResumedDetails(
            resume_request_timestamp=timestamp_of(fact.at),
            reason=self._optional_input(fact.reason),
        )

    def invocation_completed(
        self, fact: InvocationCompleted, _event_id: int
    ) -> InvocationCompletedDetails:
        return InvocationCompletedDetails(
            start_timestamp=timestamp_of(fact.started_at),
            end_timestamp=timestamp_of(fact.at),
            request_id=fact.request_id,
            error=self._optional_error(fact.error),
        )

    def step_succeeded(self, fact: StepSucceeded, event_id: int) -> StepSucceededDetails:
        retry = RetryDetails(current_attempt=self._told.attempts[event_id])
        return StepSucceededDetails(result=self._result(fact.result), retry_details=retry)

    def step_failed(self, fact: StepFailed, event_id: int) -> StepFailedDetails:
        retry = RetryDetails(current_attempt=self._told.attempts[event_id])
        return StepFailedDetails(error=self._error(fact.error), retry_details=retry)

    def step_retried(
        self, fact: StepRetried, event_id: int
    ) -> StepSucceededDetails | StepFailedDetails:
        retry = RetryDetails(
            current_attempt=self._told.attempts[event_id],
            next_attempt_delay_seconds=fact.delay_seconds,
        )
        if fact.error is None:
            return StepSucceededDetails(result=self._result(fact.result), retry_details=retry)
        return StepFailedDetails(error=self._error(fact.error), retry_details=retry)

    def wait_started(self, fact: WaitStarted, _event_id: int) -> WaitStartedDetails:
        return WaitStartedDetails(
            duration=fact.wait_seconds,
            scheduled_end_timestamp=timestamp_of(fact.at + fact.wait_seconds * MICROSECONDS),
        )

    def wait_succeeded(self, fact: WaitSucceeded, _event_id: int) -> WaitSucceededDetails:
        begun = self._told.begun[fact.id]
        assert isinstance(begun, WaitStarted), "only a wait ends as one"
        return WaitSucceededDetails(duration=begun.wait_seconds)

    def callback_started(self, fact: CallbackStarted, _event_id: int) -> CallbackStartedDetails:
        return CallbackStartedDetails(
            callback_id=fact.callback_id,
            timeout=fact.timeout_seconds or None,
            heartbeat_timeout=fact.heartbeat_timeout_seconds or None,
        )

    def chained_invoke_started(
        self, fact: ChainedInvokeStarted, _event_id: int
    ) -> ChainedInvokeStartedDetails:
        return ChainedInvokeStartedDetails(
            function_name=fact.function_name,
            input=self._input(fact.input_payload),
            executed_version=fact.version or None,
            durable_execution_arn=fact.child_arn or None,
            tenant_id=fact.tenant_id,
        )


_Details = Callable[[_View, Any, int], object]

_EVENTS: Mapping[type[Fact], tuple[EventType, str, _Details]] = MappingProxyType(
    {
        fact_type: (event_type, f"{event_type.name.lower()}_details", details_of)
        for fact_type, event_type, details_of in (
            (ExecutionStarted, EventType.EXECUTION_STARTED, _View.execution_started),
            (ExecutionSucceeded, EventType.EXECUTION_SUCCEEDED, _View.result),
            (ExecutionFailed, EventType.EXECUTION_FAILED, _View.error),
            (ExecutionStopped, EventType.EXECUTION_STOPPED, _View.error),
            (ExecutionTimedOut, EventType.EXECUTION_TIMED_OUT, _View.optional_error),
            (ExecutionPaused, EventType.EXECUTION_PAUSED, _View.execution_paused),
            (ExecutionResumed, EventType.EXECUTION_RESUMED, _View.execution_resumed),
            (InvocationCompleted, EventType.INVOCATION_COMPLETED, _View.invocation_completed),
            (ContextStarted, EventType.CONTEXT_STARTED, _View.nothing),
            (ContextSucceeded, EventType.CONTEXT_SUCCEEDED, _View.result),
            (ContextFailed, EventType.CONTEXT_FAILED, _View.error),
            (StepStarted, EventType.STEP_STARTED, _View.nothing),
            (StepSucceeded, EventType.STEP_SUCCEEDED, _View.step_succeeded),
            (StepFailed, EventType.STEP_FAILED, _View.step_failed),
            (StepRetried, EventType.STEP_FAILED, _View.step_retried),
            (WaitStarted, EventType.WAIT_STARTED, _View.wait_started),
            (WaitSucceeded, EventType.WAIT_SUCCEEDED, _View.wait_succeeded),
            (WaitCancelled, EventType.WAIT_CANCELLED, _View.optional_error),
            (CallbackStarted, EventType.CALLBACK_STARTED, _View.callback_started),
            (CallbackSucceeded, EventType.CALLBACK_SUCCEEDED, _View.result),
            (CallbackFailed, EventType.CALLBACK_FAILED, _View.error),
            (CallbackTimedOut, EventType.CALLBACK_TIMED_OUT, _View.error),
            (ChainedInvokeStarted, EventType.CHAINED_INVOKE_STARTED, _View.chained_invoke_started),
            (ChainedInvokeSucceeded, EventType.CHAINED_INVOKE_SUCCEEDED, _View.result),
            (ChainedInvokeFailed, EventType.CHAINED_INVOKE_FAILED, _View.error),
            (ChainedInvokeTimedOut, EventType.CHAINED_INVOKE_TIMED_OUT, _View.error),
            (ChainedInvokeStopped, EventType.CHAINED_INVOKE_STOPPED, _View.error),
        )
    }
)
