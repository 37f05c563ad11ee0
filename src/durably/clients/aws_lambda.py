"""The way of a function to AWS Lambda, by botocore or boto3."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from traceback import walk_tb
from typing import Any, Self, cast

from durably.errors import DurableExecutionClientError, ValidationError
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.base import convert_wire, encode_api

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 50
MAX_ATTEMPTS = 3

_PARSER = "botocore.parsers"


class AwsDurableExecutionClient:
    """A backend reached by a boto3 client of the service `lambda`.

    What boto3 raises is passed on: `classify_checkpoint_error` reads its structured codes. A reply
    that was cut off, or is not the service's, boto3 gives as one that says nothing. Then the same
    request is made again, three times at most.

    Args:
        client: made by `boto3.client("lambda")`, with time-outs and retries as you want them.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def default(cls) -> Self:
        """Give the client of this process, made when it is first needed.

        It is botocore's own, as boto3 would make it, with region and credentials from the
        environment, but without the time that importing boto3 takes. It tries a request three
        times at most, with growing, random pauses; a default session of boto3 has no part in it.

        Raises:
            ValidationError: botocore is not installed.
        """
        return cls(_default_client())

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """Have the service accept updates together, and learn what has changed.

        Raises:
            DurableExecutionClientError: no reply says what became of them.
        """
        body: dict[str, Any] = json.loads(encode_api(request))
        body.setdefault("Updates", [])
        # Without a token the execution is over, so a reply must show that it is one: it has the
        # state that the service's model requires.
        told = ("CheckpointToken", "NewExecutionState")
        reply = _told(self._client.checkpoint_durable_execution, body, told)
        return convert_wire(reply, CheckpointResponse)

    def get_execution_state(self, request: GetExecutionStateRequest) -> GetExecutionStateResponse:
        """Read one page of the operations of an execution.

        Raises:
            DurableExecutionClientError: no reply holds one.
        """
        body: dict[str, Any] = json.loads(encode_api(request))
        body["MaxItems"] = request.max_items
        reply = _told(self._client.get_durable_execution_state, body, ("Operations",))
        return convert_wire(reply, GetExecutionStateResponse)


def _told(ask: Callable[..., Any], body: dict[str, Any], members: tuple[str, ...]) -> Any:
    """Ask until a reply has one of *members*; *body* has its client token, so once is enough.

    Raises:
        DurableExecutionClientError: none has.
    """
    misread: Exception | None = None
    for _ in range(MAX_ATTEMPTS):
        try:
            reply = ask(**body)
        except (AttributeError, TypeError) as error:
            if not _is_of_parser(error):
                raise
            misread = error  # so botocore says of a body that it is JSON, and no object
            continue
        if any(member in reply for member in members):
            return reply
    text = f"{MAX_ATTEMPTS} replies in a row were cut off, or not the service's: they lack {{}}"
    said = text.format(" and ".join(members))
    raise DurableExecutionClientError(said, scope="invocation") from misread


def _is_of_parser(error: Exception) -> bool:
    """Whether botocore met *error* while it read a reply, and nobody else anywhere else."""
    frames = walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") == _PARSER for frame, _ in frames)


@cache
def _default_client() -> Any:
    try:
        from botocore.config import Config  # noqa: PLC0415 - slow to import
        from botocore.session import get_session  # noqa: PLC0415 - slow to import
    except ImportError as error:
        text = (
            "botocore is not installed: pip install 'durably[aws]', or '.[aws]' in a clone; "
            "or pass a client of your own"
        )
        raise ValidationError("client", text) from error
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
    )
    return cast("Any", get_session()).create_client("lambda", config=config)
