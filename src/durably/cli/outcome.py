"""How an execution ended, in a line or a few."""

from __future__ import annotations

from collections.abc import Iterator

from durably.cli.printing import colored, counted, length, safe, safe_lines, short
from durably.engine.reports import places_in
from durably.engine.views import Description
from durably.errors import in_operation
from durably.wire.arns import title_of
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject

_VERBS = {
    ExecutionStatus.SUCCEEDED: ("succeeded", "green"),
    ExecutionStatus.FAILED: ("failed", "red"),
    ExecutionStatus.TIMED_OUT: ("timed out", "red"),
    ExecutionStatus.STOPPED: ("was stopped", "red"),
}


def ended_line(found: Description) -> str:
    """Say how a closed execution ended, and after how long."""
    verb, color = _VERBS.get(found.status, (found.status.value.lower(), "yellow"))
    took = "" if found.ended_at is None else f" in {length(found.ended_at - found.started_at)}"
    many = counted(found.operation_count, "operation")
    return f"{safe(title_of(found.arn))} {colored(verb, color)}{took}, {many}"


def failure_lines(found: Description, origin: str | None = None) -> Iterator[str]:
    """Say why a closed or parked execution has no result; *origin* is what `origin_of` says."""
    if not found.is_closed:
        parked = colored("parked", "yellow")
        yield f"{safe(title_of(found.arn))} is {parked}: {short(found.parked_reason, 500)}"
        return
    said = error_text(found.error, origin)
    yield ended_line(found) + (f": {said}" if said else "")
    for place in places_in(found.error):
        yield f"  {safe(place)}"


def error_text(error: ErrorObject | None, origin: str | None = None) -> str:
    """Give an error's type and message, and the operation that it is of."""
    if error is None:
        return ""
    said = (in_operation(error.error_type, origin), error.error_message)
    return ": ".join(safe_lines(text) for text in said if text)
