"""Executions that have been recorded, and a backend that answers at once: for either SDK."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from durably import hash_id
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.base import Timestamp
from durably.wire.invocation import ExecutionState
from durably.wire.operation import Operation, OperationStatus, OperationType, StepDetails
from durably.wire.update import OperationAction

ARN = (
    "arn:aws:lambda:local:000000000000:function:bench:$LATEST"
    "/durable-execution/bench/00000000-0000-4000-8000-000000000000"
)
TOKEN = "token"  # noqa: S105 - nobody reads it
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def event(count: int, id_of: Callable[[str], str] = hash_id) -> dict[str, Any]:
    """Give the event of an invocation with *count* steps done, as Lambda passes it.

    Args:
        count: of the steps, each named `add` and with its number as its result.
        id_of: how the SDK at hand makes ids.
    """
    root = {
        "Id": ARN.rpartition("/")[2],
        "Type": "EXECUTION",
        "Status": "STARTED",
        "StartTimestamp": _milliseconds(0),
        "ExecutionDetails": {"InputPayload": json.dumps(count)},
    }
    recorded = [_step(number, id_of(str(number + 1))) for number in range(count)]
    return {
        "DurableExecutionArn": ARN,
        "CheckpointToken": TOKEN,
        "InitialExecutionState": {"Operations": [root, *recorded], "NextMarker": ""},
    }


def official_id(step_id: str) -> str:
    """Make an id as the official SDK does."""
    return hashlib.blake2b(step_id.encode()).hexdigest()[:64]


def _step(number: int, operation_id: str) -> dict[str, Any]:
    return {
        "Id": operation_id,
        "Type": "STEP",
        "SubType": "Step",
        "Name": "add",
        "Status": "SUCCEEDED",
        "StartTimestamp": _milliseconds(number),
        "EndTimestamp": _milliseconds(number + 1),
        "StepDetails": {"Attempt": 1, "Result": str(number + 1)},
    }


def _milliseconds(number: int) -> int:
    return int((_BEGAN + timedelta(milliseconds=number)).timestamp() * 1000)


class AnswersAtOnce:
    """A backend for steps that costs next to nothing, and is reached without a thread."""

    def __init__(self) -> None:
        self._now = Timestamp.of(_BEGAN)

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """Accept the updates, and give back what they have changed."""
        changed: dict[str, Operation] = {}
        for update in request.updates:
            if update.type is OperationType.STEP:
                is_start = update.action is OperationAction.START
                changed[update.id] = Operation(
                    id=update.id,
                    type=update.type,
                    status=OperationStatus.STARTED if is_start else OperationStatus.SUCCEEDED,
                    name=update.name,
                    sub_type=update.sub_type,
                    start_timestamp=self._now,
                    end_timestamp=None if is_start else self._now,
                    step_details=StepDetails(attempt=int(not is_start), result=update.payload),
                )
        state = ExecutionState(operations=tuple(changed.values()))
        return CheckpointResponse(checkpoint_token=TOKEN, new_execution_state=state)

    async def get_execution_state(
        self,
        request: GetExecutionStateRequest,  # noqa: ARG002 - the client's interface
    ) -> GetExecutionStateResponse:
        """Give nothing: everything stands in the event."""
        return GetExecutionStateResponse()


class BlockingAnswersAtOnce:
    """The same for calls that block."""

    answers_at_once = True

    def __init__(self) -> None:
        self._backend = AnswersAtOnce()

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """See `AnswersAtOnce.checkpoint`."""
        return _finished(self._backend.checkpoint(request))

    def get_execution_state(
        self,
        request: GetExecutionStateRequest,  # noqa: ARG002 - the client's interface
    ) -> GetExecutionStateResponse:
        """See `AnswersAtOnce.get_execution_state`."""
        return GetExecutionStateResponse()


def _finished(coroutine: Any) -> CheckpointResponse:
    """Give what a coroutine that never suspends returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        answer: CheckpointResponse = end.value
        return answer
    raise AssertionError("it never suspends")
