"""Whom a failure of the backend concerns: this invocation, or the whole execution."""

from __future__ import annotations

from typing import Any

import pytest

from durably.errors import (
    ApiError,
    CheckpointUnrecoverableExecutionError,
    CheckpointUnrecoverableInvocationError,
    DurableExecutionClientError,
    InvalidParameterValueException,
    NonDeterministicExecutionError,
    ResourceNotFoundException,
    RetryableSerdesError,
    ServiceException,
    StepError,
    TerminationReason,
    TooManyRequestsException,
    UnrecoverableExecutionError,
    UnrecoverableInvocationError,
    ValidationError,
    classify_checkpoint_error,
    is_unrecoverable_error,
    is_unrecoverable_invocation_error,
)

EXECUTION = CheckpointUnrecoverableExecutionError
INVOCATION = CheckpointUnrecoverableInvocationError


class ClientError(Exception):
    """Shaped like the error of boto3."""

    def __init__(self, response: Any) -> None:
        super().__init__("an error occurred")
        self.response = response


def boto(status: int, code: str, message: str = "no") -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidParameterValueException("Invalid checkpoint token"), INVOCATION),
        (InvalidParameterValueException("INVALID CHECKPOINT TOKEN: old"), INVOCATION),
        (InvalidParameterValueException("the invalid checkpoint token"), EXECUTION),
        (InvalidParameterValueException("payload too large"), EXECUTION),
        (ApiError(400, "OtherException", "Invalid checkpoint token"), EXECUTION),
        (ResourceNotFoundException("gone"), EXECUTION),
        (TooManyRequestsException("slower"), INVOCATION),
        (ServiceException("oops"), INVOCATION),
        (ApiError(502, "KMSAccessDeniedException", "no key"), EXECUTION),
        (ApiError(503, "ServiceUnavailableException", "later"), INVOCATION),
        (boto(400, "InvalidParameterValueException", "invalid Checkpoint Token."), INVOCATION),
        (boto(400, "InvalidParameterValueException"), EXECUTION),
        (boto(403, "AccessDeniedException"), EXECUTION),
        (boto(429, "TooManyRequestsException"), INVOCATION),
        (boto(500, "ServiceException"), INVOCATION),
        (boto(502, "KMSDisabledException"), EXECUTION),
        (ClientError({"Error": {}}), INVOCATION),
        (ClientError(None), INVOCATION),
        (ConnectionResetError("gone"), INVOCATION),
        (TimeoutError(), INVOCATION),
        (RuntimeError("Invalid checkpoint token"), INVOCATION),
        (ValidationError("payload", "too large"), EXECUTION),
        (RecursionError("too deep"), EXECUTION),
        (DurableExecutionClientError("mine", scope="execution"), EXECUTION),
        (DurableExecutionClientError("mine", scope="invocation"), INVOCATION),
    ],
)
def test_a_failure_is_classified_by_its_structured_code(
    error: Exception, kind: type[Exception]
) -> None:
    classified = classify_checkpoint_error(error)

    assert type(classified) is kind
    assert classified.__cause__ is error
    assert classified.reason is TerminationReason.CHECKPOINT_FAILED


def test_a_message_says_whom_the_failure_concerns() -> None:
    invocation = classify_checkpoint_error(TimeoutError("late"))
    execution = classify_checkpoint_error(ResourceNotFoundException("gone"))

    assert str(invocation) == ("[Unrecoverable Invocation] checkpoint failed: TimeoutError: late")
    assert str(execution).startswith("[Unrecoverable Execution] checkpoint failed: ")


def test_what_is_classified_already_stays_as_it_is() -> None:
    error = NonDeterministicExecutionError("another step")

    assert classify_checkpoint_error(error) is error


def unrecoverable(kind: type[Any]) -> Exception:
    error: Exception = kind(TerminationReason.CUSTOM, "x")
    return error


def test_unrecoverable_errors_are_found_through_their_causes() -> None:
    execution = unrecoverable(UnrecoverableExecutionError)
    wrapped = StepError("x", cause=StepError("y", cause=execution))

    assert is_unrecoverable_error(execution)
    assert is_unrecoverable_error(wrapped)
    assert not is_unrecoverable_invocation_error(wrapped)


def test_invocation_level_errors_are_told_apart() -> None:
    invocation = unrecoverable(UnrecoverableInvocationError)

    assert is_unrecoverable_error(invocation)
    assert is_unrecoverable_invocation_error(StepError("x", cause=invocation))


def test_ordinary_errors_are_recoverable_even_if_they_are_their_own_cause() -> None:
    error = ValueError("x")
    error.__cause__ = error

    assert not is_unrecoverable_error(error)
    assert not is_unrecoverable_invocation_error(RetryableSerdesError("x"))
