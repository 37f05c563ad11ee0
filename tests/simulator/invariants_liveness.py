"""L1 to L4: once nothing fails any more, everything goes on."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from tests.simulator.observed import CLOSED, Observed, Seen
from tests.simulator.records import Record, times

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
        if followed.status != "RUNNING":
            found.append(f"{seen.arn}: is {seen.status}, its handler comes to {followed.status}")
        found += [
            f"{seen.arn}: still waits for {what} {operation}"
            for operation, what in followed.waits.items()
            if not _is_outside(observed, seen, operation, what)
        ]
    return found


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

    None fails but by a fault. One that was lost need not count: a shutdown or a store may have been
    the cause.
    """
    found = []
    most = observed.threshold
    for seen in observed.executions:
        rows = _failures_in_a_row(seen)
        told = max(sum(one not in _LOST for one in row) for row in rows)
        if seen.standing == "parked" and len(rows[-1]) < most:
            found.append(f"{seen.arn}: parked after {len(rows[-1])} failures, {most} it may have")
        if told > most:
            found.append(f"{seen.arn}: not parked after {told} failures in a row")
        if any(rows) and not any(one.execution in {"", seen.arn} for one in observed.faults):
            found.append(f"{seen.arn}: invocations fail by no fault: {rows}")
    return found


_LOST = frozenset({"Runtime.ExitError", "Runtime.AuthorityLost"})


def _failures_in_a_row(seen: Seen) -> list[list[str | None]]:
    """Give types of errors of invocations with nothing between them, row by row; the last last."""
    rows: list[list[str | None]] = [[]]
    for event in seen.events:
        details = event.invocation_completed_details
        if details is not None and details.error is not None:
            payload = details.error.payload
            rows[-1].append(None if payload is None else payload.error_type)
        elif rows[-1]:
            rows.append([])
    return rows


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
