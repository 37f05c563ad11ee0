"""Every error a user can meet, and the signals that nobody should catch.

DurableError
├── ValidationError (also a ValueError)     a bad argument or setting; nothing was recorded
├── ContextUsageError                       an operation called from where it may not be
│   └── TransactionError                    a step's connection, used as it may not be
├── TransactionConflictError                a step's transaction met others again and again
├── InvalidStateError                       something asked of what cannot do it now
├── SerdesError                             a value that cannot be written or read
│   └── RetryableSerdesError                …now: the invocation is tried again
├── DurableOperationError                   an operation failed for good
│   ├── StepError
│   ├── InvokeError
│   ├── ChildContextError
│   ├── WaitForConditionError
│   ├── CallbackError
│   │   ├── CallbackExternalError           the outside system said so
│   │   ├── CallbackTimeoutError            it said nothing in time
│   │   └── CallbackSubmitterError          it was never told
│   ├── PromiseCombinatorError
│   └── BatchCompletionError
├── RecordedError                           stands in for an exception raised elsewhere
├── StepInterruptedError                    an at-most-once attempt was cut off
├── StepTimeoutError                        an attempt ran too long
├── UnrecoverableError                      the invocation cannot go on
│   ├── UnrecoverableExecutionError         …and the execution ends FAILED
│   │   ├── NonDeterministicExecutionError
│   │   └── CheckpointUnrecoverableExecutionError
│   └── UnrecoverableInvocationError        …and is tried again
│       ├── CheckpointUnrecoverableInvocationError
│       └── InvocationExitError             user code wanted to end the process
├── DurableExecutionClientError             a client that says which of the two it is
├── ApiError                                a backend refused
│   ├── InvalidParameterValueException      400
│   ├── CallbackTimeoutException            400
│   ├── ResourceNotFoundException           404
│   ├── DurableExecutionAlreadyStartedException  409
│   ├── ResourceConflictException           409
│   ├── TooManyRequestsException            429
│   └── ServiceException                    500
├── ExecutionError                          an execution has no result
│   ├── ExecutionFailedError
│   ├── ExecutionTimedOutError
│   ├── ExecutionStoppedError
│   └── ExecutionParkedError
├── StoreError                              the text says what to do next
│   ├── StoreLockedError
│   ├── StoreReadOnlyError
│   ├── StoreFullError
│   ├── StoreCorruptedError
│   ├── StoreReplacedError
│   ├── StoreTooNewError
│   └── StoreUnavailableError
├── FunctionNotFoundError
└── PluginLoadError
DurableSignal (a BaseException)             control flow: never catch it
├── InvocationSuspended
│   └── BranchSuspended
└── OrphanedBranch
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar

from durably.operation_errors import (
    BatchCompletionError,
    CallbackError,
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    ChildContextError,
    DurableOperationError,
    InvokeError,
    PromiseCombinatorError,
    RecordedError,
    RetryableSerdesError,
    SerdesError,
    StepError,
    StepInterruptedError,
    StepTimeoutError,
    WaitForConditionError,
    error_beside,
    error_object,
    exception_of,
    is_operation_error,
    said_of,
)
from durably.service_errors import (
    ApiError,
    CallbackTimeoutException,
    DurableError,
    DurableExecutionAlreadyStartedException,
    DurableExecutionClientError,
    ExecutionError,
    ExecutionFailedError,
    ExecutionParkedError,
    ExecutionStoppedError,
    ExecutionTimedOutError,
    FunctionNotFoundError,
    InvalidParameterValueException,
    PluginLoadError,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceException,
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreReplacedError,
    StoreTooNewError,
    StoreUnavailableError,
    TooManyRequestsException,
    in_operation,
)

__all__ = [
    "ApiError",
    "BatchCompletionError",
    "BranchSuspended",
    "CallbackError",
    "CallbackExternalError",
    "CallbackSubmitterError",
    "CallbackTimeoutError",
    "CallbackTimeoutException",
    "CheckpointUnrecoverableExecutionError",
    "CheckpointUnrecoverableInvocationError",
    "ChildContextError",
    "ContextUsageError",
    "DurableError",
    "DurableExecutionAlreadyStartedException",
    "DurableExecutionClientError",
    "DurableOperationError",
    "DurableSignal",
    "ExecutionError",
    "ExecutionFailedError",
    "ExecutionParkedError",
    "ExecutionStoppedError",
    "ExecutionTimedOutError",
    "FunctionNotFoundError",
    "InvalidParameterValueException",
    "InvalidStateError",
    "InvocationExitError",
    "InvocationSuspended",
    "InvokeError",
    "NonDeterministicExecutionError",
    "OrphanedBranch",
    "PluginLoadError",
    "PromiseCombinatorError",
    "RecordedError",
    "ResourceConflictException",
    "ResourceNotFoundException",
    "RetryableSerdesError",
    "SerdesError",
    "ServiceException",
    "StepError",
    "StepInterruptedError",
    "StepTimeoutError",
    "StoreCorruptedError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "StoreReadOnlyError",
    "StoreReplacedError",
    "StoreTooNewError",
    "StoreUnavailableError",
    "TerminationReason",
    "TooManyRequestsException",
    "TransactionConflictError",
    "TransactionError",
    "UnrecoverableError",
    "UnrecoverableExecutionError",
    "UnrecoverableInvocationError",
    "ValidationError",
    "WaitForConditionError",
    "classify_checkpoint_error",
    "error_beside",
    "error_object",
    "exception_of",
    "in_operation",
    "is_operation_error",
    "is_unrecoverable_error",
    "is_unrecoverable_invocation_error",
    "said_of",
]


class TerminationReason(StrEnum):
    """Why an invocation ended before its handler did."""

    OPERATION_TERMINATED = "OPERATION_TERMINATED"
    RETRY_SCHEDULED = "RETRY_SCHEDULED"
    RETRY_INTERRUPTED_STEP = "RETRY_INTERRUPTED_STEP"
    WAIT_SCHEDULED = "WAIT_SCHEDULED"
    CALLBACK_PENDING = "CALLBACK_PENDING"
    CHECKPOINT_FAILED = "CHECKPOINT_FAILED"
    SERDES_FAILED = "SERDES_FAILED"
    CONTEXT_VALIDATION_ERROR = "CONTEXT_VALIDATION_ERROR"
    CONFIG_VALIDATION_ERROR = "CONFIG_VALIDATION_ERROR"
    NON_DETERMINISM = "NON_DETERMINISM"
    CUSTOM = "CUSTOM"


class ValidationError(DurableError, ValueError):
    """An argument or a setting is not a legal one. Nothing was recorded.

    Attributes:
        field: which one.
        message: what is wrong with it.
    """

    def __init__(self, field: str, message: str) -> None:
        colon = "" if message.startswith("of ") else ":"
        super().__init__(f"{field}{colon} {message}")
        self.field = field
        self.message = message


class ContextUsageError(DurableError):
    """An operation was called from where it may not be. Nothing was recorded; see the text."""


class TransactionError(ContextUsageError):
    """The connection of a step was asked for, or used, as it may not be; see the text.

    Nothing is recorded of the step, and no retry strategy is asked: the code must be changed.
    """


class TransactionConflictError(DurableError):
    """A step's transaction could not be committed beside others, as often as it was tried.

    Nothing that it wrote was stored. The retry strategy is asked whether to try once more.
    """


class InvalidStateError(DurableError):
    """Something was asked of what cannot do it now, such as a result that is not there yet."""


class UnrecoverableError(DurableError):
    """This invocation cannot go on, whatever the handler does.

    Attributes:
        reason: why it ends.
    """

    def __init__(
        self, reason: TerminationReason, message: str, cause: BaseException | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.__cause__ = cause


class UnrecoverableExecutionError(UnrecoverableError):
    """The execution ends FAILED: trying again would fail in the same way."""


class UnrecoverableInvocationError(UnrecoverableError):
    """This invocation fails and is tried again, from what has been recorded."""


class InvocationExitError(UnrecoverableInvocationError):
    """User code wanted to end the process. That ends its invocation, and no other."""


class NonDeterministicExecutionError(UnrecoverableExecutionError):
    """What the code does, or the backend tells, is not what the history says was done.

    The code asked for another operation than the one recorded in that place, or waits for what
    was open when its context was closed, and never ends; or the backend told of another operation
    than was sent.

    Attributes:
        operation_id: the place; `None` when there is no single one.
    """

    def __init__(self, message: str, *, operation_id: str | None = None) -> None:
        super().__init__(TerminationReason.NON_DETERMINISM, message)
        self.operation_id = operation_id


class CheckpointUnrecoverableExecutionError(UnrecoverableExecutionError):
    """The backend refused a checkpoint, and will refuse it again."""

    prefix: ClassVar[str] = "[Unrecoverable Execution] "

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        super().__init__(TerminationReason.CHECKPOINT_FAILED, self.prefix + message, cause)


class CheckpointUnrecoverableInvocationError(UnrecoverableInvocationError):
    """A checkpoint was not accepted, or nobody knows whether it was."""

    prefix: ClassVar[str] = "[Unrecoverable Invocation] "

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        super().__init__(TerminationReason.CHECKPOINT_FAILED, self.prefix + message, cause)


class DurableSignal(BaseException):
    """Control flow of the library. Its text tells whoever caught it what to write instead."""

    advice: ClassVar[str] = (
        "This is not an error: the library is unwinding your code. Write `except Exception` "
        "instead of `except:` or `except BaseException`, and keep durable operations out of "
        "`finally`."
    )

    def __init__(self, message: str | None = None) -> None:
        super().__init__(f"{message} {self.advice}" if message else self.advice)


class InvocationSuspended(DurableSignal):
    """The invocation ends here and goes on in a later one. Every further operation raises again."""


class BranchSuspended(InvocationSuspended):
    """Only this branch is unwound; it is run again, by replay, when it can go on."""


class OrphanedBranch(DurableSignal):
    """The context around this branch has finished: nothing of the branch is recorded any more."""


def classify_checkpoint_error(error: BaseException) -> UnrecoverableError:
    """Say whom a failure of the backend concerns: this invocation, or the whole execution.

    Decided by structured codes: those of `ApiError`, or those in the `response` of an error of
    boto3. What is not known is tried again, so it concerns the invocation.
    """
    if isinstance(error, UnrecoverableError):
        return error
    text = f"checkpoint failed: {type(error).__name__}: {error}"
    if _concerns_execution(error):
        return CheckpointUnrecoverableExecutionError(text, error)
    return CheckpointUnrecoverableInvocationError(text, error)


def is_unrecoverable_error(error: BaseException) -> bool:
    """Whether *error*, or anything it was raised from, ends the invocation."""
    return any(isinstance(cause, UnrecoverableError) for cause in _causes(error))


def is_unrecoverable_invocation_error(error: BaseException) -> bool:
    """Whether *error*, or anything it was raised from, has the invocation tried again."""
    return any(isinstance(cause, UnrecoverableInvocationError) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _concerns_execution(error: BaseException) -> bool:
    if isinstance(error, DurableExecutionClientError):
        return error.scope == "execution"
    # Code that recurses, or misuses a connection, does so again.
    if isinstance(error, ValidationError | RecursionError | ContextUsageError):
        return True
    status, code, message = _refusal(error)
    if code.startswith("KMS"):
        return True
    if code == InvalidParameterValueException.__name__ and message.lower().startswith(
        "invalid checkpoint token"
    ):
        return False
    return 400 <= status < 500 and status != TooManyRequestsException.status  # noqa: PLR2004 - the range of HTTP


def _refusal(error: BaseException) -> tuple[int, str, str]:
    """Give status, code and message of a refusal; zero and nothing for any other failure."""
    if isinstance(error, ApiError):
        return error.status_code, error.code, error.message
    match getattr(error, "response", None):
        case {
            "Error": {"Code": str(code), **said},
            "ResponseMetadata": {"HTTPStatusCode": int(status)},
        }:
            return status, code, str(said.get("Message", ""))
        case _:
            return 0, "", ""
