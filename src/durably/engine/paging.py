"""How much of a state goes into one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from durably.engine.execution import Execution, readable_operations
from durably.errors import InvalidParameterValueException
from durably.seams import maybe
from durably.wire.api import GetExecutionStateResponse
from durably.wire.invocation import ExecutionState
from durably.wire.operation import ErrorObject, Operation

MAX_PAGE_OPERATIONS = 1000
MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Of payloads, roughly. What is sent to a function must stay under 6 MB with all around it."""

_ITEM_BYTES = 400


def page_of(operations: Sequence[Operation], max_items: int = MAX_PAGE_OPERATIONS) -> int:
    """Say how many of *operations*, from the first on, make one page: at least one, if any."""
    if maybe("page of one"):
        return min(len(operations), 1)
    return fitting(_payload_bytes(operation) for operation in operations[:max_items])


def fitting(payloads: Iterable[int]) -> int:
    """Say how many items with *payloads* of so many bytes make one page: at least one, if any."""
    size = count = 0
    for payload in payloads:
        size += _ITEM_BYTES + payload
        if size > MAX_PAGE_BYTES and count:
            break
        count += 1
    return count


def _payload_bytes(operation: Operation) -> int:
    if operation.execution_details is not None:
        return len(operation.execution_details.input_payload or "")
    details = (
        operation.step_details
        or operation.context_details
        or operation.callback_details
        or operation.chained_invoke_details
    )
    if details is None:
        return 0
    return len(details.result or "") + error_bytes(details.error)


def error_bytes(error: ErrorObject | None) -> int:
    """Say what the texts of *error* take, roughly."""
    if error is None:
        return 0
    texts = (error.error_type, error.error_message, error.error_data, *(error.stack_trace or ()))
    return sum(len(text) for text in texts if text)


def first_page(execution: Execution, operations: Sequence[Operation], page: int) -> ExecutionState:
    """Give the state that an invocation begins with: the first *page* of its *operations*."""
    has_more = page < len(operations)
    return ExecutionState(
        operations=tuple(operations[:page]),
        next_marker=str(execution.places[operations[page].id]) if has_more else None,
    )


def state_page(
    execution: Execution, marker: str | None, max_items: int
) -> GetExecutionStateResponse:
    """Give one page of the operations of an execution, those that a replay needs.

    Raises:
        InvalidParameterValueException: *marker* is not one that was given.
    """
    places = execution.places
    first = _place_of(marker, len(execution.operations))
    operations = [one for one in readable_operations(execution) if places[one.id] >= first]
    page = first_page(execution, operations, page_of(operations, max_items))
    return GetExecutionStateResponse(operations=page.operations, next_marker=page.next_marker)


def _place_of(marker: str | None, count: int) -> int:
    if not marker:
        return 0
    if marker.isascii() and marker.isdigit() and len(marker) <= len(str(count)):
        place = int(marker)
        if 0 < place < count:
            return place
    raise InvalidParameterValueException("Marker is not one that this state has given.")
