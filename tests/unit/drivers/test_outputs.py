"""What goes into an invocation, and what comes out of it."""

from dataclasses import dataclass
from typing import Any

import pytest

from durably.core.journal import Journal
from durably.drivers.futures import Broken, Raised, Returned, Suspended
from durably.drivers.outputs import (
    LAMBDA_RESPONSE_SIZE_LIMIT,
    answer_after,
    closing_update,
    output_of,
    read_input,
    root_operation,
)
from durably.errors import (
    StepError,
    TerminationReason,
    UnrecoverableExecutionError,
    UnrecoverableInvocationError,
)
from durably.testing.clock import EPOCH
from durably.wire.invocation import InvocationOutput, InvocationStatus
from durably.wire.operation import (
    ErrorObject,
    ExecutionDetails,
    Operation,
    OperationStatus,
    OperationType,
)
from durably.wire.update import OperationAction

STEP = Operation(id="s", type=OperationType.STEP, status=OperationStatus.STARTED)


def execution(payload: str | None) -> Operation:
    return Operation(
        id="e",
        type=OperationType.EXECUTION,
        status=OperationStatus.STARTED,
        execution_details=ExecutionDetails(input_payload=payload),
    )


@dataclass
class Order:
    number: int


def test_the_root_is_found_by_its_type_and_else_is_the_first() -> None:
    assert root_operation(Journal("arn", [STEP, execution(None)])) == execution(None)
    assert root_operation(Journal("arn", [STEP])) == STEP
    assert root_operation(Journal("arn", [])) is None


@pytest.mark.parametrize("payload", [None, "", " \n"])
def test_no_input_is_an_empty_object(payload: str | None) -> None:
    assert read_input(Journal("arn", [execution(payload)]), Any) == {}


@pytest.mark.parametrize("operations", [[], [STEP]])
def test_no_record_of_the_execution_is_an_empty_object(operations: list[Operation]) -> None:
    assert read_input(Journal("arn", operations), Any) == {}


def test_the_input_is_read_by_the_annotation() -> None:
    journal = Journal("arn", [execution('{"number": 7}')])

    assert read_input(journal, Order) == Order(7)


@pytest.mark.parametrize("payload", ["{", '{"number": "x"}'])
def test_an_input_that_does_not_fit_fails_the_execution(payload: str) -> None:
    with pytest.raises(UnrecoverableExecutionError, match="the input is not what") as error:
        read_input(Journal("arn", [execution(payload)]), Order)

    assert error.value.reason is TerminationReason.SERDES_FAILED


EXECUTION_ENDS = UnrecoverableExecutionError(TerminationReason.CUSTOM, "the end")
TRY_AGAIN = UnrecoverableInvocationError(TerminationReason.CUSTOM, "again")


def caused_by(error: Exception) -> Exception:
    outer = KeyError("mine")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("ending", "output"),
    [
        (
            Returned(Order(7)),
            InvocationOutput(status=InvocationStatus.SUCCEEDED, result='{"number":7}'),
        ),
        (
            Returned(None),
            InvocationOutput(status=InvocationStatus.SUCCEEDED, result="null"),
        ),
        (
            Suspended(TerminationReason.WAIT_SCHEDULED),
            InvocationOutput(status=InvocationStatus.PENDING),
        ),
        (
            Raised(StepError("no", operation="s", error_type="ValueError")),
            InvocationOutput(
                status=InvocationStatus.FAILED,
                error=ErrorObject(error_type="StepError", error_message="no"),
            ),
        ),
        (
            Broken(EXECUTION_ENDS),
            InvocationOutput(
                status=InvocationStatus.FAILED,
                error=ErrorObject(
                    error_type="UnrecoverableExecutionError", error_message="the end"
                ),
            ),
        ),
    ],
)
def test_an_ending_has_an_answer(ending: Any, output: InvocationOutput) -> None:
    assert output_of(ending, Any) == output


def test_a_result_that_cannot_be_written_fails_the_execution() -> None:
    output = output_of(Returned(object()), Any)

    assert output.status is InvocationStatus.FAILED
    assert output.error is not None
    assert output.error.error_type == "SerdesError"


@pytest.mark.parametrize(
    "ending", [Broken(TRY_AGAIN), Raised(TRY_AGAIN), Raised(caused_by(TRY_AGAIN))]
)
def test_what_is_to_be_tried_again_is_raised(ending: Any) -> None:
    with pytest.raises((UnrecoverableInvocationError, KeyError)):
        output_of(ending, Any)


def succeeded(result: str) -> InvocationOutput:
    return InvocationOutput(status=InvocationStatus.SUCCEEDED, result=result)


@pytest.mark.parametrize(
    ("text", "is_too_large"),
    [
        ("x", False),
        ("x" * LAMBDA_RESPONSE_SIZE_LIMIT, False),
        ("x" * (LAMBDA_RESPONSE_SIZE_LIMIT + 1), True),
        ("ä" * (LAMBDA_RESPONSE_SIZE_LIMIT // 2), False),
        ("ä" * (LAMBDA_RESPONSE_SIZE_LIMIT // 2 + 1), True),
    ],
    ids=["small", "fits", "one more", "fits in bytes", "too many bytes"],
)
def test_an_answer_over_6_mib_goes_ahead_in_a_checkpoint(text: str, *, is_too_large: bool) -> None:
    update = closing_update(succeeded(text), EPOCH)

    assert (update is not None) is is_too_large
    if update is not None:
        assert (update.type, update.action) == (OperationType.EXECUTION, OperationAction.SUCCEED)
        assert update.payload == text
        assert answer_after(update) == succeeded("")


def test_an_answer_without_a_result_is_never_too_large() -> None:
    assert closing_update(InvocationOutput(status=InvocationStatus.PENDING), EPOCH) is None
