"""A history folded into what it says of each operation, read anew from the public events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from durably.wire.history import Event
from durably.wire.operation import ErrorObject

_KINDS = re.compile(
    r"(Context|Step|Wait|Callback|ChainedInvoke)"
    r"(Started|Succeeded|Failed|Cancelled|TimedOut|Stopped)"
)
_STATUSES = {
    "Started": "STARTED",
    "Succeeded": "SUCCEEDED",
    "Failed": "FAILED",
    "Cancelled": "CANCELLED",
    "TimedOut": "TIMED_OUT",
    "Stopped": "STOPPED",
}


@dataclass(slots=True)
class Attempt:
    """One attempt of a step or a check; places are event ids.

    Attributes:
        delay: seconds to the next one, if it is not the last.
    """

    started: int | None = None
    ended: int | None = None
    succeeded: bool = False
    payload: str | None = None
    error: ErrorObject | None = None
    delay: int | None = None


@dataclass(slots=True)
class Record:
    """What a history says of one operation; places are event ids.

    Attributes:
        kind: Context, Step, Wait, Callback or ChainedInvoke.
        details: of its first event.
    """

    id: str
    kind: str
    sub_type: str | None
    name: str | None
    parent: str | None
    started: int
    details: Any
    status: str = "STARTED"
    ended: int | None = None
    payload: str | None = None
    error: ErrorObject | None = None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def is_closed(self) -> bool:
        """Whether it is in a terminal state."""
        return self.status != "STARTED"


def kind_of(event: Event) -> tuple[str, str] | None:
    """Give kind and status of what an event says, `None` when it is about no operation."""
    return _kind_of_type(event.event_type)


@cache
def _kind_of_type(event_type: str) -> tuple[str, str] | None:
    match = _KINDS.fullmatch(event_type)
    return None if match is None else (match[1], _STATUSES[match[2]])


def details_of(event: Event) -> Any:
    """Give the details of an event, whatever its type."""
    return getattr(event, _name_of_details(event.event_type))


@cache
def _name_of_details(event_type: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event_type).lower() + "_details"


def payload_of(details: Any) -> str | None:
    """Give the text of a result, where there is one."""
    result = getattr(details, "result", None)
    return None if result is None else result.payload


def error_of(details: Any) -> ErrorObject | None:
    """Give the error, where there is one."""
    error = getattr(details, "error", None)
    return None if error is None else error.payload


_ENDINGS = frozenset(
    {"ExecutionSucceeded", "ExecutionFailed", "ExecutionTimedOut", "ExecutionStopped"}
)


def is_ending(event: Event) -> bool:
    """Whether an execution ends with it."""
    return event.event_type in _ENDINGS


def is_last(event: Event) -> bool:
    """Whether an event closes its operation; of a step's events, those of a last attempt do."""
    kind = kind_of(event)
    if kind is None or kind[1] == "STARTED":
        return False
    return kind[0] != "Step" or details_of(event).retry_details.next_attempt_delay_seconds is None


def fold(events: Iterable[Event]) -> dict[str, Record]:
    """Fold a history, by operation id. What cannot be is left for the invariants to say."""
    records: dict[str, Record] = {}
    for event in events:
        kind = kind_of(event)
        if kind is None or event.id is None:
            continue
        details = details_of(event)
        record = records.get(event.id)
        if record is None:
            record = records[event.id] = Record(
                event.id,
                kind[0],
                event.sub_type,
                event.name,
                event.parent_id,
                event.event_id,
                details,
            )
        if kind[0] == "Step":
            _take_attempt(record, event, details)
        if is_last(event):
            record.status = kind[1]
            record.ended = event.event_id
            record.payload = payload_of(details)
            record.error = error_of(details)
    return records


def _take_attempt(record: Record, event: Event, details: Any) -> None:
    if event.event_type == "StepStarted":
        record.attempts.append(Attempt(started=event.event_id))
        return
    if not record.attempts or record.attempts[-1].ended is not None:
        record.attempts.append(Attempt())
    attempt = record.attempts[-1]
    attempt.ended = event.event_id
    attempt.succeeded = event.event_type == "StepSucceeded"
    attempt.payload = payload_of(details)
    attempt.error = error_of(details)
    attempt.delay = details.retry_details.next_attempt_delay_seconds


def times(events: Sequence[Event]) -> dict[int, datetime]:
    """Give the instant of each event by its id."""
    return {event.event_id: event.event_timestamp for event in events}
