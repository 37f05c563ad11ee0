from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.base import Timestamp, decode_wire, encode_api, encode_invocation
from durably.wire.execution import CLOSED_STATUSES, ExecutionStatus
from durably.wire.invocation import (
    ExecutionState,
    InvocationInput,
    InvocationOutput,
    InvocationStatus,
)
from durably.wire.operation import (
    TERMINAL_STATUSES,
    ErrorObject,
    Operation,
    OperationStatus,
    OperationType,
    StepDetails,
)
from durably.wire.update import (
    CallbackOptions,
    ChainedInvokeOptions,
    ContextOptions,
    OperationAction,
    OperationUpdate,
    StepOptions,
    WaitOptions,
)

OPAQUE = "dA=="
AT = Timestamp.of(datetime(2025, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC))
STEP = Operation(
    id="c4ca4238a0b92382",
    type=OperationType.STEP,
    status=OperationStatus.PENDING,
    start_timestamp=AT,
    name="charge",
    sub_type="Step",
    step_details=StepDetails(
        attempt=1,
        next_attempt_timestamp=AT,
        error=ErrorObject(error_type="ValueError", error_message="no", stack_trace=("here",)),
    ),
)


@pytest.mark.parametrize("status", list(OperationStatus))
def test_an_operation_is_terminal_when_nothing_can_change_it_any_more(
    status: OperationStatus,
) -> None:
    operation = Operation(id="1", type=OperationType.STEP, status=status)

    assert operation.is_terminal is (status in TERMINAL_STATUSES)
    assert operation.is_terminal is (status.name not in {"STARTED", "PENDING", "READY"})


@pytest.mark.parametrize("encode", [encode_api, encode_invocation])
def test_an_operation_survives_both_channels(encode: object) -> None:
    assert callable(encode)

    assert decode_wire(encode(STEP), Operation) == STEP


def test_an_empty_details_object_is_not_the_same_as_none() -> None:
    started = Operation(
        id="1",
        type=OperationType.STEP,
        status=OperationStatus.STARTED,
        step_details=StepDetails(),
    )

    assert decode_wire(encode_api(started), Operation) == started
    assert b'"StepDetails":{}' in encode_api(started)


def test_an_update_carries_only_what_it_says() -> None:
    update = OperationUpdate(id="1", type=OperationType.STEP, action=OperationAction.START)

    assert encode_api(update) == b'{"Id":"1","Type":"STEP","Action":"START"}'


def test_an_empty_payload_is_not_the_same_as_none() -> None:
    update = OperationUpdate(
        id="1", type=OperationType.STEP, action=OperationAction.SUCCEED, payload=""
    )

    assert decode_wire(encode_api(update), OperationUpdate).payload == ""


def test_every_option_of_an_update_survives_the_wire() -> None:
    update = OperationUpdate(
        id="1",
        type=OperationType.CHAINED_INVOKE,
        action=OperationAction.START,
        parent_id="0",
        name="n",
        sub_type="ChainedInvoke",
        payload="{}",
        error=ErrorObject(error_type="E", error_message="m", error_data="d"),
        context_options=ContextOptions(replay_children=True),
        step_options=StepOptions(next_attempt_delay_seconds=5),
        wait_options=WaitOptions(wait_seconds=60),
        callback_options=CallbackOptions(timeout_seconds=7, heartbeat_timeout_seconds=8),
        chained_invoke_options=ChainedInvokeOptions(
            function_name="f", tenant_id="t", x_amzn_trace_id="Root=1"
        ),
    )

    raw = encode_api(update)

    assert decode_wire(raw, OperationUpdate) == update
    assert b'"XAmznTraceId":"Root=1"' in raw


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.Status"):
        decode_wire(b'{"Id":"1","Type":"STEP","Status":"DREAMING"}', Operation)


def test_an_invocation_is_read_from_bytes_text_and_plain_dicts_alike() -> None:
    event = {
        "DurableExecutionArn": "arn:x",
        "CheckpointToken": "t",
        "InitialExecutionState": {
            "Operations": [
                {
                    "Id": "e",
                    "Type": "EXECUTION",
                    "Status": "STARTED",
                    "StartTimestamp": 1_735_787_045_600,
                    "ExecutionDetails": {"InputPayload": "{}"},
                }
            ],
            "NextMarker": "",
        },
        "UpdatedOperationIds": ["a"],
        "Added": {"later": True},
    }
    text = msgspec.json.encode(event)

    parsed = InvocationInput.parse(event)

    assert parsed == InvocationInput.parse(text) == InvocationInput.parse(text.decode())
    assert parsed.initial_execution_state.operations[0].start_timestamp == AT
    assert parsed.updated_operation_ids == ("a",)


@pytest.mark.parametrize(
    "event", [b"null", b"[]", b'"x"', b"{}", b'{"DurableExecutionArn":"arn:x"}']
)
def test_an_event_that_is_no_invocation_is_refused(event: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        InvocationInput.parse(event)


def test_an_invocation_without_state_starts_from_nothing() -> None:
    parsed = InvocationInput.parse({"DurableExecutionArn": "arn:x", "CheckpointToken": "t"})

    assert parsed.initial_execution_state == ExecutionState()


@pytest.mark.parametrize(
    ("output", "raw"),
    [
        (InvocationOutput(status=InvocationStatus.PENDING), b'{"Status":"PENDING"}'),
        (
            InvocationOutput(status=InvocationStatus.SUCCEEDED, result=""),
            b'{"Status":"SUCCEEDED","Result":""}',
        ),
        (
            InvocationOutput(status=InvocationStatus.FAILED, error=ErrorObject(error_type="E")),
            b'{"Status":"FAILED","Error":{"ErrorType":"E"}}',
        ),
    ],
)
def test_an_output_says_how_the_invocation_ended(output: InvocationOutput, raw: bytes) -> None:
    assert encode_invocation(output) == raw


@pytest.mark.parametrize(
    "message",
    [
        CheckpointRequest(durable_execution_arn="arn:x", checkpoint_token=OPAQUE),
        CheckpointResponse(
            checkpoint_token=OPAQUE, new_execution_state=ExecutionState(operations=(STEP,))
        ),
        CheckpointResponse(),
        GetExecutionStateRequest(
            durable_execution_arn="arn:x", checkpoint_token=OPAQUE, marker="m"
        ),
        GetExecutionStateResponse(operations=(STEP,), next_marker="m"),
    ],
)
def test_requests_and_replies_survive_the_wire(message: object) -> None:
    assert decode_wire(encode_api(message), type(message)) == message


def test_an_execution_is_closed_when_only_its_removal_is_left() -> None:
    open_statuses = set(ExecutionStatus) - CLOSED_STATUSES

    assert open_statuses == {
        ExecutionStatus.RUNNING,
        ExecutionStatus.PAUSING,
        ExecutionStatus.PAUSED,
    }
