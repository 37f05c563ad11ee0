"""Which of the states that long runs must reach a run has reached, as its histories tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from tests.simulator.ledger import Entry
from tests.simulator.observed import Observed, Reply, Seen, Write
from tests.simulator.programs import WHOLE
from tests.simulator.records import Record, is_last, kind_of, times

_AT_THE_DEADLINE = timedelta(seconds=0.25)
_DIVERGED = "NonDeterministicExecutionError"


def reached(observed: Observed) -> set[str]:
    """Give the states."""
    found = {
        "branch cut off": any(map(_is_cut, observed.entries)),
        "callback answered twice": _is_answered_twice(observed.replies),
        "early completion": any(map(_is_early, observed.entries)),
        "summary replay": _is_replayed_whole(observed),
    }
    states = {state for state, is_reached in found.items() if is_reached}
    for seen in observed.executions:
        states.update(_of_execution(seen))
        states.update(_of_operations(seen, observed.records[seen.arn].values()))
    return states


def _is_cut(entry: Entry) -> bool:
    return entry.phase == "cut" and bool(entry.path)


def _is_early(entry: Entry) -> bool:
    is_batch = entry.phase == "saw" and entry.path[-1:] == (WHOLE,)
    reason = entry.value.get("reason") if is_batch and isinstance(entry.value, dict) else None
    return reason not in {None, "ALL_COMPLETED"}


def _is_answered_twice(replies: Iterable[Reply]) -> bool:
    answers = Counter(one.callback_id for one in replies if one.kind != "heartbeat")
    return any(count > 1 for count in answers.values())


def _is_replayed_whole(observed: Observed) -> bool:
    """Whether a context that is too large to be recorded was made anew by a later invocation."""
    last_begins = {one.execution: one.tick for one in observed.entries if one.phase == "begin"}
    return any(
        _is_summary(one) and last_begins.get(one.execution, 0) > (one.done or 0)
        for one in observed.writes
    )


def _is_summary(write: Write) -> bool:
    options = [one.context_options for one in write.updates]
    return bool(write.accepted) and any(one is not None and one.replay_children for one in options)


def _of_execution(seen: Seen) -> Iterable[str]:
    if seen.status == "TIMED_OUT":
        yield "execution timed out"
    if seen.error is not None and seen.error[0] == _DIVERGED:
        yield "divergence found"
    closed: set[str] = set()
    for event in seen.events:
        if kind_of(event) is not None and event.parent_id in closed:
            yield "child ended after its parent"
        if event.id is not None and is_last(event):
            closed.add(event.id)


def _of_operations(seen: Seen, records: Iterable[Record]) -> Iterable[str]:
    instants = times(seen.events)
    for record in records:
        raised = [record.error, *(one.error for one in record.attempts)]
        errors = [one.error_type for one in raised if one is not None]
        if len(record.attempts) > 1:
            yield "retry of an attempt"
        if "StepInterruptedError" in errors:
            yield "step interrupted"
        if "SerdesError" in errors:
            yield "result cannot be written"
        if record.kind == "Callback" and record.status == "TIMED_OUT":
            yield "heartbeat timeout" if "Callback.Heartbeat" in errors else "callback timeout"
        elif record.kind == "Callback" and record.ended is not None and record.details.timeout:
            took = instants[record.ended] - instants[record.started]
            if took > timedelta(seconds=record.details.timeout) - _AT_THE_DEADLINE:
                yield "callback won at the deadline"
