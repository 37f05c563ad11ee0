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
    """An execution is parked only when so many invocations in a row have failed."""
    found = []
    for seen in observed.executions:
        failures = _failures_in_a_row(seen)
        if seen.standing == "parked" and failures < observed.threshold:
            found.append(
                f"{seen.arn}: parked after {failures} failures, {observed.threshold} it may have"
            )
    return found


def _failures_in_a_row(seen: Seen) -> int:
    count = 0
    for event in reversed(seen.events):
        details = event.invocation_completed_details
        if details is None or details.error is None:
            break
        count += 1
    return count


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
