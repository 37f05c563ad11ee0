"""What goes into an invocation and what comes out of it, whichever driver runs it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from durably.core.ids import hash_id
from durably.core.journal import Journal
from durably.drivers.futures import Broken, Ending, Raised, Returned, Suspended
from durably.errors import (
    SerdesError,
    TerminationReason,
    UnrecoverableExecutionError,
    UnrecoverableInvocationError,
    error_object,
    is_unrecoverable_invocation_error,
)
from durably.serdes import SerdesContext, json_serdes
from durably.wire.invocation import InvocationOutput, InvocationStatus
from durably.wire.operation import Operation, OperationType
from durably.wire.update import OperationAction, OperationUpdate

LAMBDA_RESPONSE_SIZE_LIMIT = 6 * 1024 * 1024 - 50
"""A larger answer goes to the backend in a checkpoint of its own."""

_EMPTY_INPUT = "{}"


def root_operation(journal: Journal) -> Operation | None:
    """Give the record of the execution itself: by its type, or else the first one."""
    first = None
    for operation in journal.records.values():
        first = first or operation
        if operation.type is OperationType.EXECUTION:
            return operation
    return first


def read_input(journal: Journal, annotation: Any) -> Any:
    """Read what the execution was started with; absent or blank is an empty object.

    Raises:
        UnrecoverableExecutionError: it is not JSON, or not what *annotation* asks for.
    """
    root = root_operation(journal)
    details = None if root is None else root.execution_details
    text = None if details is None else details.input_payload
    if text is None or not text.strip():
        text = _EMPTY_INPUT
    try:
        return json_serdes(annotation).deserialize(text, SerdesContext("", journal.arn))
    except SerdesError as error:
        said = f"the input is not what the handler asks for: {error}"
        raise UnrecoverableExecutionError(TerminationReason.SERDES_FAILED, said, error) from error


def output_of(ending: Ending, annotation: Any) -> InvocationOutput:
    """Say what the handler answers.

    Raises:
        UnrecoverableInvocationError: nothing; the invocation is to be tried again.
    """
    match ending:
        case Returned(value):
            try:
                text = json_serdes(annotation).serialize(value, SerdesContext("", ""))
            except SerdesError as error:
                return failed(SerdesError(f"the result cannot be written: {error}"))
            return InvocationOutput(status=InvocationStatus.SUCCEEDED, result=text)
        case Suspended():
            return InvocationOutput(status=InvocationStatus.PENDING)
        case Broken(UnrecoverableInvocationError() as error):
            raise error
        case Raised(error) | Broken(error):
            if is_unrecoverable_invocation_error(error):
                raise error
            return failed(error)


def failed(error: BaseException) -> InvocationOutput:
    """Say that the execution ends with *error*."""
    return InvocationOutput(status=InvocationStatus.FAILED, error=error_object(error))


def closing_update(output: InvocationOutput, now: datetime) -> OperationUpdate | None:
    """Give the update that closes the execution in place of an answer that is too large.

    Errors never are: what is recorded of one is cut to size.
    """
    text = output.result or ""
    if len(text) * 4 <= LAMBDA_RESPONSE_SIZE_LIMIT:  # no character takes more than four bytes
        return None
    if len(text.encode()) <= LAMBDA_RESPONSE_SIZE_LIMIT:
        return None
    return OperationUpdate(
        id=hash_id(f"execution-result-{now.timestamp() * 1000:.0f}"),
        type=OperationType.EXECUTION,
        action=OperationAction.SUCCEED,
        payload=text,
    )


def answer_after(closing: OperationUpdate) -> InvocationOutput:
    """Give the answer of a handler whose result went ahead in *closing*."""
    assert closing.action is OperationAction.SUCCEED, "only results are too large to be answered"
    return InvocationOutput(status=InvocationStatus.SUCCEEDED, result="")
