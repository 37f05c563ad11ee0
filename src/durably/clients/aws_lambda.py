"""The way of a function to AWS Lambda, by boto3."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Self, cast

from durably.errors import ValidationError
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.base import convert_wire, encode_api

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 50


class AwsDurableExecutionClient:
    """A backend reached by a boto3 client of the service `lambda`.

    What boto3 raises is passed on: `classify_checkpoint_error` reads its structured codes.

    Args:
        client: made by `boto3.client("lambda")`, with time-outs and retries as you want them.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def default(cls) -> Self:
        """Give the client of this process, made when it is first needed.

        Raises:
            ValidationError: boto3 is not installed.
        """
        return cls(_boto3_client())

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """Have the service accept updates together, and learn what has changed."""
        body: dict[str, Any] = json.loads(encode_api(request))
        body.setdefault("Updates", [])
        return convert_wire(self._client.checkpoint_durable_execution(**body), CheckpointResponse)

    def get_execution_state(self, request: GetExecutionStateRequest) -> GetExecutionStateResponse:
        """Read one page of the operations of an execution."""
        body: dict[str, Any] = json.loads(encode_api(request))
        body["MaxItems"] = request.max_items
        reply = self._client.get_durable_execution_state(**body)
        return convert_wire(reply, GetExecutionStateResponse)


@cache
def _boto3_client() -> Any:
    try:
        import boto3  # noqa: PLC0415 - slow to import, and present where it is needed
        from botocore.config import Config  # noqa: PLC0415 - comes with boto3
    except ImportError as error:
        text = "boto3 is not installed: install durably[aws], or pass a client of your own"
        raise ValidationError("client", text) from error
    config = Config(connect_timeout=CONNECT_TIMEOUT_SECONDS, read_timeout=READ_TIMEOUT_SECONDS)
    return cast("Any", boto3).client("lambda", config=config)
