"""The AWS client, against botocore's own model of the service: no network, no account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from durably.clients.aws_lambda import AwsDurableExecutionClient
from durably.errors import (
    CheckpointUnrecoverableExecutionError,
    CheckpointUnrecoverableInvocationError,
    classify_checkpoint_error,
)
from durably.wire.api import CheckpointRequest, GetExecutionStateRequest
from durably.wire.operation import OperationStatus, OperationType
from durably.wire.update import OperationAction, OperationUpdate, StepOptions

ARN = (
    "arn:aws:lambda:eu-central-1:123456789012:function:orders:$LATEST"
    "/durable-execution/order-7/0f0f"
)
STEP: dict[str, Any] = {
    "Id": "1",
    "Type": "STEP",
    "Status": "PENDING",
    "StartTimestamp": datetime(2026, 1, 2, tzinfo=UTC),
    "StepDetails": {"Attempt": 1},
}


@pytest.fixture
def boto() -> Any:
    return boto3.client(
        "lambda",
        region_name="eu-central-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def test_a_checkpoint_is_a_legal_request_and_its_reply_is_read(boto: Any) -> None:
    stub = Stubber(boto)
    stub.add_response(
        "checkpoint_durable_execution",
        {"CheckpointToken": "bmV4dA==", "NewExecutionState": {"Operations": [STEP]}},
        {
            "DurableExecutionArn": ARN,
            "CheckpointToken": "bm93",
            "ClientToken": "c",
            "Updates": [
                {
                    "Id": "1",
                    "Type": "STEP",
                    "Action": "RETRY",
                    "Payload": "1",
                    "StepOptions": {"NextAttemptDelaySeconds": 5},
                }
            ],
        },
    )
    update = OperationUpdate(
        id="1",
        type=OperationType.STEP,
        action=OperationAction.RETRY,
        payload="1",
        step_options=StepOptions(next_attempt_delay_seconds=5),
    )

    with stub:
        response = AwsDurableExecutionClient(boto).checkpoint(
            CheckpointRequest(
                durable_execution_arn=ARN,
                checkpoint_token="bm93",
                updates=(update,),
                client_token="c",
            )
        )

    [operation] = response.new_execution_state.operations
    assert response.checkpoint_token == "bmV4dA=="
    assert operation.status is OperationStatus.PENDING
    assert operation.start_timestamp == datetime(2026, 1, 2, tzinfo=UTC)


def test_an_empty_checkpoint_carries_an_empty_list(boto: Any) -> None:
    stub = Stubber(boto)
    request = {"DurableExecutionArn": ARN, "CheckpointToken": "bm93", "Updates": []}
    reply: dict[str, Any] = {"NewExecutionState": {"Operations": []}}
    stub.add_response("checkpoint_durable_execution", reply, request)

    with stub:
        response = AwsDurableExecutionClient(boto).checkpoint(
            CheckpointRequest(durable_execution_arn=ARN, checkpoint_token="bm93")
        )

    assert response.checkpoint_token is None


def test_a_page_of_the_state_is_read(boto: Any) -> None:
    stub = Stubber(boto)
    stub.add_response(
        "get_durable_execution_state",
        {"Operations": [STEP], "NextMarker": "more"},
        {"DurableExecutionArn": ARN, "CheckpointToken": "bm93", "Marker": "m", "MaxItems": 1000},
    )

    with stub:
        page = AwsDurableExecutionClient(boto).get_execution_state(
            GetExecutionStateRequest(durable_execution_arn=ARN, checkpoint_token="bm93", marker="m")
        )

    assert page.next_marker == "more"
    assert len(page.operations) == 1


@pytest.mark.parametrize(
    ("code", "status", "message", "kind"),
    [
        (
            "InvalidParameterValueException",
            400,
            "Invalid checkpoint token",
            CheckpointUnrecoverableInvocationError,
        ),
        (
            "InvalidParameterValueException",
            400,
            "Inconsistent operation name.",
            CheckpointUnrecoverableExecutionError,
        ),
        ("TooManyRequestsException", 429, "slow down", CheckpointUnrecoverableInvocationError),
        ("KMSAccessDeniedException", 502, "no key", CheckpointUnrecoverableExecutionError),
        ("ServiceException", 500, "oops", CheckpointUnrecoverableInvocationError),
    ],
)
def test_what_boto3_raises_is_classified_by_its_code(
    boto: Any, code: str, status: int, message: str, kind: type[Exception]
) -> None:
    stub = Stubber(boto)
    stub.add_client_error("checkpoint_durable_execution", code, message, http_status_code=status)

    with stub, pytest.raises(ClientError) as caught:
        AwsDurableExecutionClient(boto).checkpoint(
            CheckpointRequest(durable_execution_arn=ARN, checkpoint_token="bm93")
        )

    assert type(classify_checkpoint_error(caught.value)) is kind


def test_the_default_client_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    one, other = AwsDurableExecutionClient.default(), AwsDurableExecutionClient.default()

    assert one._client is other._client


@pytest.mark.parametrize("error", [TypeError("no bytes"), AttributeError("no such member")])
def test_an_error_of_somebody_else_is_not_taken_for_a_broken_reply(
    boto: Any, error: Exception
) -> None:
    asked: list[object] = []

    def hook(**told: object) -> None:
        asked.append(told)
        raise error

    boto.meta.events.register("before-call.lambda", hook)
    request = CheckpointRequest(durable_execution_arn=ARN, checkpoint_token="bm93")

    with pytest.raises(type(error)) as failure:
        AwsDurableExecutionClient(boto).checkpoint(request)

    assert failure.value is error
    assert len(asked) == 1
