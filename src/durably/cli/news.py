"""What has changed in an execution since the last look, in lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from durably.app.operations import kind_of, path_of
from durably.cli.outcome import error_text
from durably.cli.printing import clock_time, length, safe, short, until
from durably.core.journal import error_of
from durably.wire.operation import ErrorObject, Operation, OperationStatus, OperationType

if TYPE_CHECKING:
    from durably.cli.watching import Sight

LINES_PER_SECOND = 20
_SECOND = timedelta(seconds=1)
_WAITING = (OperationType.WAIT, OperationType.CALLBACK, OperationType.CHAINED_INVOKE)


class News:
    """Tells once of each operation that has ended since, and of what now waits.

    Args:
        began_at: what ended before is no news.
        has_picture: only what has ended is told, and who is waited for from outside: a picture
            shows the rest.
    """

    def __init__(self, began_at: datetime, *, has_picture: bool = False) -> None:
        self._hidden = 0
        self._began_at = began_at
        self._has_picture = has_picture
        self._known: dict[str, tuple[OperationStatus, int]] = {}
        self._room = LINES_PER_SECOND
        self._since: datetime | None = None

    def lines(self, sight: Sight, now: datetime, *, at_last: bool = False) -> Iterator[str]:
        """Say what has changed, in the order in which it ended; what waits comes last.

        What is more than 20 changes in a second is counted, and told of when that is over, or
        *at_last*.
        """
        is_over = self._since is None or now - self._since >= _SECOND
        if is_over:
            yield from self._more()
            self._since, self._room = now, LINES_PER_SECOND
        by_id = {operation.id: operation for operation in sight.operations}
        changed = [one for one in sight.operations if self._is_news(one)]
        ended = [one for one in changed if one.is_terminal]
        ended.sort(key=lambda one: (one.end_timestamp or now, -_depth(one, by_id)))
        for operation in ended + [one for one in changed if not one.is_terminal]:
            if self._room:
                self._room -= 1
                yield f"{safe(path_of(operation, by_id))} {line_of(operation, now)}"
            else:
                self._hidden += 1
        if at_last:
            yield from self._more()

    def _more(self) -> Iterator[str]:
        if self._hidden:
            yield f"+ {self._hidden} more"
            self._hidden = 0

    def _is_news(self, operation: Operation) -> bool:
        if operation.type is OperationType.EXECUTION:
            return False
        attempt = 0 if operation.step_details is None else operation.step_details.attempt
        state = (operation.status, attempt)
        if self._known.get(operation.id) == state:
            return False
        self._known[operation.id] = state
        ended_at = operation.end_timestamp
        if ended_at is not None and ended_at < self._began_at:
            return False
        if operation.is_terminal or self._has_picture:
            return operation.is_terminal or operation.type is OperationType.CALLBACK
        return operation.type in _WAITING or attempt > 0


def _depth(operation: Operation, by_id: Mapping[str, Operation]) -> int:
    depth, parent = 0, operation.parent_id
    while parent is not None and parent in by_id:
        depth, parent = depth + 1, by_id[parent].parent_id
    return depth


def line_of(operation: Operation, now: datetime) -> str:
    """Say how an operation has ended, or what it waits for."""
    kind, status = kind_of(operation), operation.status
    step = operation.step_details
    if operation.is_terminal:
        begun, ended = operation.start_timestamp, operation.end_timestamp
        took = f" in {length(ended - begun)}" if begun and ended else ""
        attempts = f", attempt {step.attempt}" if step and step.attempt > 1 else ""
        said = _said(error_of(operation))
        return f"({kind}) {status.value.lower().replace('_', ' ')}{took}{attempts}{said}"
    match operation:
        case Operation(wait_details=wait) if wait and wait.scheduled_end_timestamp:
            return f"({kind}) waits until {until(wait.scheduled_end_timestamp, now)}"
        case Operation(callback_details=callback) if callback:
            return f"({kind}) waits for an answer to {callback.callback_id}"
        case Operation(step_details=details) if details and details.next_attempt_timestamp:
            at = clock_time(details.next_attempt_timestamp, now)
            came = f" failed{_said(details.error)}" if details.error else ": not yet"
            following = f"attempt {details.attempt + 1} comes at {at}"
            return f"({kind}) attempt {details.attempt}{came}; {following}"
        case _:
            return f"({kind}) {'waits' if operation.type in _WAITING else 'runs'}"


def _said(error: ErrorObject | None) -> str:
    return "" if error is None else f": {short(error_text(error), 200)}"
