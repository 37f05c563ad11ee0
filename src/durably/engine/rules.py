"""The table of legal transitions, and the texts of refusal.

Everything that validates, draws or tests what an operation may become reads it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from durably.wire.operation import OperationStatus, OperationType
from durably.wire.update import OperationAction

Transition: TypeAlias = tuple[OperationType, OperationStatus | None, OperationAction]

_STARTED = OperationStatus.STARTED
_START, _SUCCEED, _FAIL = OperationAction.START, OperationAction.SUCCEED, OperationAction.FAIL
_RETRY, _CANCEL = OperationAction.RETRY, OperationAction.CANCEL

OPEN_STEP = (None, OperationStatus.STARTED, OperationStatus.READY)
"""When an attempt of a step may end. Nothing recorded: it began and ended in one."""

TRANSITIONS: Mapping[Transition, OperationStatus] = MappingProxyType(
    {
        (OperationType.STEP, None, _START): _STARTED,
        (OperationType.STEP, OperationStatus.READY, _START): _STARTED,
        **{(OperationType.STEP, s, _SUCCEED): OperationStatus.SUCCEEDED for s in OPEN_STEP},
        **{(OperationType.STEP, s, _FAIL): OperationStatus.FAILED for s in OPEN_STEP},
        **{(OperationType.STEP, s, _RETRY): OperationStatus.PENDING for s in OPEN_STEP},
        (OperationType.CONTEXT, None, _START): _STARTED,
        **{
            (OperationType.CONTEXT, s, _SUCCEED): OperationStatus.SUCCEEDED
            for s in (None, _STARTED)
        },
        **{(OperationType.CONTEXT, s, _FAIL): OperationStatus.FAILED for s in (None, _STARTED)},
        (OperationType.WAIT, None, _START): _STARTED,
        (OperationType.WAIT, _STARTED, _CANCEL): OperationStatus.CANCELLED,
        (OperationType.CALLBACK, None, _START): _STARTED,
        (OperationType.CHAINED_INVOKE, None, _START): _STARTED,
        (OperationType.CHAINED_INVOKE, _STARTED, _CANCEL): OperationStatus.CANCELLED,
        (OperationType.EXECUTION, _STARTED, _SUCCEED): OperationStatus.SUCCEEDED,
        (OperationType.EXECUTION, _STARTED, _FAIL): OperationStatus.FAILED,
    }
)
"""What an update makes of an operation. `None` before it: nothing is recorded yet."""

MOVES: Mapping[tuple[OperationType, OperationStatus], frozenset[OperationStatus]] = (
    MappingProxyType(
        {
            (OperationType.STEP, OperationStatus.PENDING): frozenset({OperationStatus.READY}),
            (OperationType.WAIT, _STARTED): frozenset({OperationStatus.SUCCEEDED}),
            (OperationType.CALLBACK, _STARTED): frozenset(
                {OperationStatus.SUCCEEDED, OperationStatus.FAILED, OperationStatus.TIMED_OUT}
            ),
            (OperationType.CHAINED_INVOKE, _STARTED): frozenset(
                {
                    OperationStatus.SUCCEEDED,
                    OperationStatus.FAILED,
                    OperationStatus.TIMED_OUT,
                    OperationStatus.STOPPED,
                }
            ),
            (OperationType.EXECUTION, _STARTED): frozenset(
                {OperationStatus.TIMED_OUT, OperationStatus.STOPPED}
            ),
        }
    )
)
"""What the service itself makes of an operation: timers, outside answers, ended children."""

WRONG_STATE: Mapping[tuple[OperationType, OperationAction], str] = MappingProxyType(
    {
        (OperationType.STEP, _START): "Invalid current STEP state to start.",
        (OperationType.STEP, _SUCCEED): "Invalid current STEP state to close.",
        (OperationType.STEP, _FAIL): "Invalid current STEP state to close.",
        (OperationType.STEP, _RETRY): "Invalid current STEP state to re-attempt.",
        (OperationType.CONTEXT, _START): "Cannot start a CONTEXT that already exist.",
        (OperationType.CONTEXT, _SUCCEED): "Invalid current CONTEXT state to close.",
        (OperationType.CONTEXT, _FAIL): "Invalid current CONTEXT state to close.",
        (OperationType.WAIT, _START): "Cannot start a WAIT that already exist.",
        (OperationType.WAIT, _CANCEL): (
            "Cannot cancel a WAIT that does not exist or has already completed."
        ),
        (OperationType.CALLBACK, _START): "Cannot start a CALLBACK that already exist.",
        (OperationType.CHAINED_INVOKE, _START): "Cannot start a CHAINED_INVOKE that already exist.",
        (OperationType.CHAINED_INVOKE, _CANCEL): (
            "Cannot cancel a CHAINED_INVOKE that does not exist or has already completed."
        ),
        (OperationType.EXECUTION, _SUCCEED): "Invalid current EXECUTION state to close.",
        (OperationType.EXECUTION, _FAIL): "Invalid current EXECUTION state to close.",
    }
)
"""How an action is refused that the operation's type knows, but its state does not allow.

An action that is not in here is not in its type's list.
"""

MULTIPLE_EXECUTION_UPDATES = "Cannot checkpoint multiple EXECUTION updates."
EXECUTION_UPDATE_NOT_LAST = "EXECUTION checkpoint must be the last update."
REPEATED_ID = "Cannot checkpoint multiple operations with the same ID."
INVALID_PARENT = "Invalid parent operation id."
INCONSISTENT_TYPE = "Inconsistent operation type."
INCONSISTENT_SUB_TYPE = "Inconsistent operation subtype."
INCONSISTENT_NAME = "Inconsistent operation name."
INCONSISTENT_PARENT = "Inconsistent parent operation id."
INVALID_ACTION = "Invalid action for the given operation type."
PAYLOAD_ON_FAIL = "Cannot provide a Payload for FAIL action."
ERROR_ON_SUCCEED = "Cannot provide an Error for SUCCEED action."
ERROR_AND_PAYLOAD_ON_RETRY = "Cannot provide both error and payload to RETRY a STEP."
INVALID_STEP_OPTIONS = "Invalid StepOptions for the given action."
INVALID_TOKEN = "Invalid checkpoint token"  # noqa: S105 - not a secret, a text SDKs look for
"""Refuses a token that is not the current one. SDKs compare the whole text, so no full stop."""

CALLBACK_NOT_FOUND = "There is no such callback."
CALLBACK_CLOSED = "The callback has timed out or has been completed before."
ALREADY_STARTED = "An execution of this name exists, and was started with another input."
CANNOT_PAUSE_CLOSED = "A closed execution cannot be paused."
ALREADY_PAUSED = "The execution is paused, or about to be."
CANNOT_RESUME_CLOSED = "A closed execution cannot be resumed."
NOT_PAUSED = "The execution is neither paused nor parked, and no failed invocation waits."
NOT_THE_SAME_AGAIN = (
    "ClientToken was given before, and not with this: a new request takes a new one."
)
CANNOT_DELETE_OPEN = "Only a closed execution can be deleted. Stop it first."

CALLBACK_TIMEOUT = ("Callback.Timeout", "Callback timed out")
CALLBACK_HEARTBEAT = ("Callback.Heartbeat", "Callback timed out on heartbeat")
INVOKE_TIMEOUT_TYPE = "ChainedInvoke.Timeout"
INVOKE_NOT_FOUND_TYPE = "ChainedInvoke.FunctionNotFound"
INVOKE_TOO_DEEP_TYPE = "ChainedInvoke.TooDeep"
INVOKE_LOOP_TYPE = "ChainedInvoke.RecursiveLoop"
LOST_TYPE = "Runtime.AuthorityLost"
UNRECORDED = "What the invocation did last could not be recorded."
EXIT_ERROR = ("Runtime.ExitError", "The invocation ended without an answer.")
TIMED_OUT_TYPE = "Sandbox.Timedout"
INVALID_RESPONSE_TYPE = "Runtime.InvalidResponse"
NOTHING_OUTSTANDING = (
    INVALID_RESPONSE_TYPE,
    "The function answered PENDING, but nothing is outstanding that could wake it.",
)
RESULT_WITH_FAILED = (INVALID_RESPONSE_TYPE, "The function answered FAILED with a Result.")
ERROR_WITH_SUCCEEDED = (INVALID_RESPONSE_TYPE, "The function answered SUCCEEDED with an Error.")
RESULT_TOO_LARGE_TYPE = "Runtime.ResponseSizeTooLarge"
STOPPED_BY_USER = "Execution stopped by user request"

NO_SUCH_EXECUTION = "There is no such execution."
KEY_TOO_NEW = (
    "The newest key is not five minutes old. Not every process may know it yet. Try again later."
)
TOO_FAST = "The execution changes too fast. Ask again."
MAX_CONFLICTS = 50
"""How often a command is decided anew because somebody else was first, before it is refused."""
