"""I5 to I7, I10, I11, I16: what is recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from durably.wire.history import Event
from durably.wire.update import OperationAction, OperationUpdate
from tests.simulator.observed import Observed, Seen, Write
from tests.simulator.records import Record, details_of, is_ending, is_last, kind_of, times

# What the service does by itself, and so may do to what a closed context has left behind.
_MOVES = ("Wait", "Callback", "ChainedInvoke")


def i5(observed: Observed) -> list[str]:
    """Nothing leaves a terminal state, and each has one terminal record."""
    found = []
    for seen in observed.executions:
        closed: dict[str, int] = {}
        over: int | None = None
        for event in seen.events:
            where = f"{seen.arn} event {event.event_id} {event.event_type}"
            about = kind_of(event)
            if about is not None and event.id is not None:
                if event.id in closed:
                    found.append(f"{where}: {event.id} was closed by event {closed[event.id]}")
                if is_last(event):
                    closed[event.id] = event.event_id
            if over is not None and event.event_type != "InvocationCompleted":
                found.append(f"{where}: the execution was over with event {over}")
            if is_ending(event):
                over = event.event_id
    return found


Change = tuple[str, str]
"""An operation, and what happened to it."""


def _changes(events: Iterable[Event]) -> Counter[Change]:
    """Count what happened, in the words of updates."""
    changes: Counter[Change] = Counter()
    for event in events:
        about = kind_of(event)
        if about is None or event.id is None:
            if is_ending(event):
                changes["", event.event_type] += 1
            continue
        changes[event.id, about[1] if is_last(event) or about[1] == "STARTED" else "RETRY"] += 1
    return changes


_STATUSES = {
    OperationAction.START: "STARTED",
    OperationAction.SUCCEED: "SUCCEEDED",
    OperationAction.FAIL: "FAILED",
    OperationAction.RETRY: "RETRY",
    OperationAction.CANCEL: "CANCELLED",
}


def _change(update: OperationUpdate) -> Change | None:
    if update.type == "EXECUTION":
        return None  # its event comes with the outcome of the invocation
    return update.id, _STATUSES[update.action]


def i6(observed: Observed) -> list[str]:
    """Every acknowledged update is in every later read."""
    found = []
    for seen in observed.executions:
        for read in seen.reads:
            if read.events is None:
                continue
            asked: Counter[Change] = Counter()
            for write in _once(observed.writes, seen):
                if write.acknowledged and write.done is not None and write.done < read.tick:
                    asked.update(one for update in write.updates if (one := _change(update)))
            for (operation, change), count in (asked - _changes(read.events)).items():
                found.append(
                    f"{seen.arn}: {change} of {operation} was acknowledged, and is missing"
                    f" {count} times from the read at tick {read.tick}"
                )
    return found


def _once(writes: Iterable[Write], seen: Seen) -> Iterable[Write]:
    """Give the accepted checkpoints of an execution, repeated ones once."""
    known: set[tuple[str, str]] = set()
    for write in writes:
        key = (write.token_in, write.client_token)
        if write.execution == seen.arn and write.kind == "checkpoint" and write.accepted:
            if key not in known:
                yield write
            known.add(key)


def i7(observed: Observed) -> list[str]:
    """The updates of a checkpoint whose reply was lost are all there or none is."""
    found = []
    for seen in observed.executions:
        own = [one for one in observed.writes if one.execution == seen.arn]
        recorded = _changes(seen.events)
        for write in own:
            if write.acknowledged or seen.status is None:
                continue
            others = {
                change
                for other in own
                if other is not write and other.client_token != write.client_token
                for update in other.updates
                if (change := _change(update)) is not None
            }
            changes = [one for update in write.updates if (one := _change(update))]
            there = {one: one in recorded for one in changes if one not in others}
            if len(set(there.values())) > 1:
                found.append(
                    f"{seen.arn}: the checkpoint sent at tick {write.sent} is half {there}"
                )
    return found


def i10(observed: Observed) -> list[str]:
    """A history only grows at its end; its ids are dense, and its instants in order."""
    found = []
    for seen in observed.executions:
        before: tuple[Event, ...] = ()
        for read in seen.reads:
            if read.events is None:
                continue
            where = f"{seen.arn} read at tick {read.tick}"
            if read.events[: len(before)] != before:
                place = next(
                    (n for n, pair in enumerate(zip(before, read.events, strict=False), 1)
                     if pair[0] != pair[1]),
                    len(read.events) + 1,
                )  # fmt: skip
                found.append(f"{where}: event {place} is not what it was")
            before = read.events
            ids = [one.event_id for one in read.events]
            if ids != list(range(1, len(ids) + 1)):
                found.append(f"{where}: its event ids are {ids}")
            instants = [one.event_timestamp for one in read.events]
            if instants != sorted(instants):
                found.append(f"{where}: its instants go backwards")
    return found


def i11(observed: Observed) -> list[str]:
    """Nothing is recorded under a context that is over, or is not there.

    What the service does by itself is excepted: a timer that nobody awaits any more still goes off.
    """
    found = []
    for seen in observed.executions:
        started: set[str] = set()
        closed: dict[str, int] = {}
        for event in seen.events:
            about = kind_of(event)
            if about is None or event.id is None:
                continue
            where = f"{seen.arn} event {event.event_id} {event.event_type} of {event.id}"
            by_itself = about[0] in _MOVES and about[1] != "STARTED"
            if event.parent_id is not None and event.parent_id not in started:
                found.append(f"{where}: its parent {event.parent_id} is not there")
            if event.parent_id in closed and not by_itself:
                over = closed[event.parent_id]
                found.append(f"{where}: its parent {event.parent_id} was over with event {over}")
            started.add(event.id)
            if is_last(event):
                closed[event.id] = event.event_id
    return found


def i16(observed: Observed) -> list[str]:
    """No timer goes off before it is due."""
    found = []
    for seen in observed.executions:
        instants = times(seen.events)
        dues = [*_execution_dues(seen.events)]
        for record in observed.records[seen.arn].values():
            dues += _dues(record, instants)
        found += [
            f"{seen.arn} {what}: at {at}, due was {due}" for what, at, due in dues if at < due
        ]
    return found


Due = tuple[str, datetime, datetime]
"""What a timer allowed, when that was, and when it was due."""


def _execution_dues(events: Sequence[Event]) -> Iterable[Due]:
    for event in events:
        if event.event_type == "ExecutionTimedOut":
            seconds = details_of(events[0]).execution_timeout
            due = events[0].event_timestamp + timedelta(seconds=seconds)
            yield "the time-out of the execution", event.event_timestamp, due


def _dues(record: Record, instants: Mapping[int, datetime]) -> Iterable[Due]:
    what = f"{record.kind} {record.id}"
    began, details = instants[record.started], record.details
    if record.kind == "Wait":
        due = details.scheduled_end_timestamp
        yield f"the plan of {what}", due, began + timedelta(seconds=details.duration)
        if record.ended is not None:
            yield f"the end of {what}", instants[record.ended], due
    if record.status == "TIMED_OUT" and record.kind == "Callback" and record.ended is not None:
        is_silence = record.error is not None and record.error.error_type == "Callback.Heartbeat"
        seconds = details.heartbeat_timeout if is_silence else details.timeout
        yield f"the end of {what}", instants[record.ended], began + timedelta(seconds=seconds or 0)
    for one, after in pairwise(record.attempts):
        if one.ended is not None and after.started is not None:
            due = instants[one.ended] + timedelta(seconds=one.delay or 0)
            yield f"the next attempt of {what}", instants[after.started], due
