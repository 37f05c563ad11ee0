"""L1 to L4: once nothing fails any more, everything goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from durably.wire.history import Event
from tests.simulator.faults import LATE_ANSWER, WRONG_ANSWER
from tests.simulator.observed import CLOSED, Fault, Invocation, Observed, Seen
from tests.simulator.records import Record, details_of, is_ending, kind_of, times

_RESTING = frozenset({"paused", "parked"})


def l1(observed: Observed) -> list[str]:
    """Every execution has ended, or waits for something outside that has not come."""
    if not observed.is_calm:
        return []
    found = []
    for seen in observed.executions:
        followed = observed.followed.get(seen.arn)
        if followed is None or seen.status in CLOSED or seen.standing in _RESTING:
            continue
        if followed.status != "RUNNING" and not _is_misled(observed, seen):
            found.append(f"{seen.arn}: is {seen.status}, its handler comes to {followed.status}")
        found += [
            f"{seen.arn}: still waits for {what} {operation}"
            for operation, what in followed.waits.items()
            if not _is_outside(observed, seen, operation, what)
        ]
    return found


def _is_misled(observed: Observed, seen: Seen) -> bool:
    """Whether the last answer was, wrongly, that it waits, and something can be waited for."""
    last = max((one.began for one in observed.invocations if one.execution == seen.arn), default=0)
    return any(
        (one.kind, one.execution) == (WRONG_ANSWER, seen.arn) and one.tick > last
        for one in observed.faults
    ) and any(
        record.kind == "Callback" and not record.is_closed
        for record in observed.records[seen.arn].values()
    )


def _is_outside(observed: Observed, seen: Seen, operation: str, what: str) -> bool:
    record = observed.records[seen.arn].get(operation)
    if record is None:
        return False
    if what == "invoke":
        child = observed.by_arn.get(record.details.durable_execution_arn or "")
        return child is not None and child.status not in CLOSED
    if what == "callback":
        has_deadline = record.details.timeout or record.details.heartbeat_timeout
        is_answered = any(
            one.callback_id == record.details.callback_id
            and one.refusal == ""
            and one.kind != "heartbeat"
            for one in observed.replies
        )
        return not has_deadline and not is_answered
    return _is_future(observed, seen, record)


def _is_future(observed: Observed, seen: Seen, record: Record) -> bool:
    """Whether a timer is due only after the run."""
    if observed.until is None:
        return False
    if record.kind == "Wait":
        return bool(record.details.scheduled_end_timestamp > observed.until)
    last = record.attempts[-1] if record.attempts else None
    if last is None or last.ended is None or last.delay is None:
        return False
    return times(seen.events)[last.ended] + timedelta(seconds=last.delay) > observed.until


def l2(observed: Observed) -> list[str]:
    """What is neither closed nor running, paused or parked has something that would wake it."""
    return [
        f"{seen.arn}: is {seen.standing}, and nothing would wake it"
        for seen in observed.executions
        if seen.standing
        and seen.status not in CLOSED
        and seen.standing not in {"running", *_RESTING}
        and not seen.wakes
    ]


def l3(observed: Observed) -> list[str]:
    """An execution is parked when so many invocations in a row have failed, and by no fewer.

    One that records something begins a new row. None fails but by a fault that may have hit it. One
    that was lost need not count: a shutdown or a store may have been the cause.
    """
    found = []
    most = observed.threshold
    for seen in observed.executions:
        rows = _failures_in_a_row(seen)
        told = max(sum(one not in _LOST for one in row) for row in rows)
        if seen.standing == "parked" and len(rows[-1]) < most:
            found.append(f"{seen.arn}: parked after {len(rows[-1])} failures, {most} it may have")
        # Who resumes one that is neither paused nor parked, but has failed, is in no history.
        resumed = sum(one.kind == "resume" and one.arn == seen.arn for one in observed.acted)
        if told > most * (1 + resumed):
            found.append(f"{seen.arn}: not parked after {told} failures in a row")
        found += _failures_by_no_fault(observed, seen)
    return found


def _failures_by_no_fault(observed: Observed, seen: Seen) -> Iterable[str]:
    faults = [one for one in observed.faults if one.kind != LATE_ANSWER]
    own = sorted((one for one in observed.invocations if one.execution == seen.arn), key=_began)
    ends = [*map(_began, own[1:]), None]
    spans = {one.id: (one, end) for one, end in zip(own, ends, strict=False)}
    for event in seen.events:
        error = _error_of(event)
        if error is None:
            continue
        details = details_of(event)
        invocation, until = spans.get(details.request_id, (None, None))
        if not any(_may_hit(one, seen.arn, invocation, until) for one in faults):
            yield f"{seen.arn}: invocation {details.request_id} fails by no fault: {error}"


def _began(invocation: Invocation) -> int:
    return invocation.began


def _may_hit(fault: Fault, arn: str, invocation: Invocation | None, until: int | None) -> bool:
    """Whether a fault showed while an invocation ran or was ended, that is, before the next one.

    On whatever node: an invocation needs the process that calls and the one that is called. One
    that nobody saw begin may have been hit at any time.
    """
    if fault.execution not in {"", arn} or invocation is None:
        return fault.execution in {"", arn}
    has_shown = (fault.until or fault.tick) >= invocation.began
    return has_shown and (until is None or fault.tick < until)


_LOST = frozenset({"Runtime.ExitError", "Runtime.AuthorityLost"})


def _failures_in_a_row(seen: Seen) -> list[list[str]]:
    """Give types of errors of invocations with nothing between them, row by row; the last last.

    Whoever resumes one that has failed takes it for mended.
    """
    rows: list[list[str]] = [[]]
    for event in seen.events:
        error = _error_of(event)
        if error is not None:
            rows[-1].append(error)
        elif rows[-1] and (event.event_type == "ExecutionResumed" or not _is_from_outside(event)):
            rows.append([])
    return rows


def _error_of(event: Event) -> str | None:
    """Give the type of the error of a failed invocation; `None` if the event is not of one."""
    details = event.invocation_completed_details
    if details is None or details.error is None:
        return None
    return (details.error.payload and details.error.payload.error_type) or ""


def _is_from_outside(event: Event) -> bool:
    """Whether no invocation has recorded it: a timer, an answer, or an operator did."""
    kind = kind_of(event)
    if kind is None:
        return event.invocation_completed_details is None and not is_ending(event)
    return kind[0] in {"Wait", "Callback", "ChainedInvoke"} and kind[1] != "STARTED"


def l4(observed: Observed) -> list[str]:
    """What is runnable is claimed within so many rounds."""
    waited: Counter[str] = Counter()
    found = []
    for number, one in enumerate(observed.rounds, 1):
        for arn in list(waited):
            if arn not in one.runnable or arn in one.claimed:
                del waited[arn]
        for arn in sorted(one.runnable - one.claimed):
            waited[arn] += 1
            if waited[arn] == observed.turns + 1:
                found.append(f"{arn}: not claimed in {observed.turns} rounds, by round {number}")
    return found
