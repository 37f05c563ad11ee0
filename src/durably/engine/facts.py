"""What can have happened to an execution: its journal, as values.

Visible facts are the events of the history; the others the service keeps to itself. A fact says
only what is new: what an operation is called and where it belongs stands in the fact that started
it. Tags and the order of fields are the format on disk: add fields at the end and with a default,
and never use a tag again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeAlias

import msgspec

from durably.errors import InvalidParameterValueException
from durably.wire.base import Timestamp
from durably.wire.operation import ErrorObject

MICROSECONDS = 1_000_000
"""In one second."""

_DAY_SECONDS = 86_400
_EPOCH = Timestamp.of(datetime.fromisoformat("1970-01-01T00:00:00+00:00"))


class Fact(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something that happened at the instant *at*, in microseconds since the epoch."""

    at: int


class ExecutionStarted(Fact, frozen=True, tag=1):
    """Everything that holds for the whole execution.

    `ancestors` are the functions of the executions that invoked one another up to here, in order.
    """

    arn: str
    function_name: str
    version: str
    execution_name: str
    input_payload: str | None
    timeout_seconds: int
    retention_days: int
    is_synchronous: bool = False
    parent_arn: str | None = None
    parent_operation_id: str | None = None
    ancestors: tuple[str, ...] = ()
    tenant_id: str | None = None
    trace_id: str | None = None


class ExecutionSucceeded(Fact, frozen=True, tag=2):
    """The handler returned."""

    result: str | None


class ExecutionFailed(Fact, frozen=True, tag=3):
    """The handler raised, or the execution can never go on."""

    error: ErrorObject | None


class ExecutionStopped(Fact, frozen=True, tag=4):
    """Somebody stopped it."""

    error: ErrorObject | None


class ExecutionTimedOut(Fact, frozen=True, tag=5):
    """It ran past its time-out."""

    error: ErrorObject | None


class ExecutionPaused(Fact, frozen=True, tag=6):
    """No invocation runs from now on. It was asked for at `requested_at`."""

    requested_at: int
    reason: str | None
    is_timeout_paused: bool
    client_token: str | None


class ExecutionResumed(Fact, frozen=True, tag=7):
    """The pause is over."""

    reason: str | None
    client_token: str | None


class InvocationCompleted(Fact, frozen=True, tag=8):
    """An invocation ended; with an `error` it failed, and counts towards parking if `is_counted`.

    `seen` is how far into the changes of operations the invocation had read.
    """

    started_at: int
    request_id: str
    error: ErrorObject | None
    is_counted: bool
    seen: int


class OperationStarted(Fact, frozen=True):
    """What every first fact of an operation says."""

    id: str
    parent_id: str | None
    name: str | None
    sub_type: str | None


class ContextStarted(OperationStarted, frozen=True, tag=10):
    """A context was opened."""


class ContextSucceeded(Fact, frozen=True, tag=11):
    """A context was closed with a result."""

    id: str
    result: str | None
    replay_children: bool


class ContextFailed(Fact, frozen=True, tag=12):
    """A context was closed with an error."""

    id: str
    error: ErrorObject | None


class StepStarted(OperationStarted, frozen=True, tag=13):
    """An attempt of a step began. Identity is repeated on every attempt."""


class StepSucceeded(Fact, frozen=True, tag=14):
    """A step's last attempt gave a result."""

    id: str
    result: str | None


class StepFailed(Fact, frozen=True, tag=15):
    """A step's last attempt failed."""

    id: str
    error: ErrorObject | None


class StepRetried(Fact, frozen=True, tag=16):
    """An attempt ended, with an error or with a state to go on from, and another one will come."""

    id: str
    delay_seconds: int
    result: str | None
    error: ErrorObject | None


class WaitStarted(OperationStarted, frozen=True, tag=17):
    """A wait began."""

    wait_seconds: int


class WaitSucceeded(Fact, frozen=True, tag=18):
    """A wait is over."""

    id: str


class WaitCancelled(Fact, frozen=True, tag=19):
    """A wait was called off."""

    id: str
    error: ErrorObject | None


class CallbackStarted(OperationStarted, frozen=True, tag=20):
    """An outside system may answer from now on. 0 seconds: no deadline."""

    callback_id: str
    timeout_seconds: int
    heartbeat_timeout_seconds: int


class CallbackSucceeded(Fact, frozen=True, tag=21):
    """The outside system answered."""

    id: str
    result: str | None


class CallbackFailed(Fact, frozen=True, tag=22):
    """The outside system reported a failure."""

    id: str
    error: ErrorObject | None


class CallbackTimedOut(Fact, frozen=True, tag=23):
    """The outside system said nothing in time."""

    id: str
    error: ErrorObject


class ChainedInvokeStarted(OperationStarted, frozen=True, tag=24):
    """Another function was called; `child_arn` is its execution."""

    function_name: str
    version: str
    input_payload: str | None
    tenant_id: str | None
    child_arn: str
    trace_id: str | None


class ChainedInvokeSucceeded(Fact, frozen=True, tag=25):
    """The other function returned."""

    id: str
    result: str | None


class ChainedInvokeFailed(Fact, frozen=True, tag=26):
    """The other function failed, or could not be called."""

    id: str
    error: ErrorObject | None


class ChainedInvokeTimedOut(Fact, frozen=True, tag=27):
    """The other function's execution timed out."""

    id: str
    error: ErrorObject | None


class ChainedInvokeStopped(Fact, frozen=True, tag=28):
    """The other function's execution was stopped."""

    id: str
    error: ErrorObject | None


class InvocationBegun(Fact, frozen=True, tag=40):
    """An invocation has authority from now on, under the claim *epoch*."""

    epoch: int
    request_id: str


class CheckpointAccepted(Fact, frozen=True, tag=41):
    """A remote invocation's token was used up, and the one with `sequence` given out."""

    sequence: int
    client_token: str | None


class CallbackHeartbeat(Fact, frozen=True, tag=42):
    """The outside system is alive."""

    id: str


class StepReady(Fact, frozen=True, tag=43):
    """A step's next attempt may begin."""

    id: str


class ChainedInvokeCancelled(Fact, frozen=True, tag=44):
    """Nobody waits for the other function any more. The protocol has no event for it."""

    id: str


class InvocationOwed(Fact, frozen=True, tag=45):
    """One more invocation is to be made, for something that no running one was told of."""


class InvocationRetryScheduled(Fact, frozen=True, tag=46):
    """After a failed invocation the next one is not made before `retry_at`."""

    retry_at: int


class Parked(Fact, frozen=True, tag=47):
    """Nothing wakes the execution before it is resumed."""

    reason: str


class Unparked(Fact, frozen=True, tag=48):
    """It was resumed."""

    client_token: str | None
    reason: str | None = None


class PauseRequested(Fact, frozen=True, tag=49):
    """A pause will begin when the running invocation comes to its next checkpoint or its end."""

    reason: str | None
    is_timeout_paused: bool
    client_token: str | None


Closing: TypeAlias = ExecutionSucceeded | ExecutionFailed | ExecutionStopped | ExecutionTimedOut
Visible: TypeAlias = (
    Closing
    | ExecutionStarted
    | ExecutionPaused
    | ExecutionResumed
    | InvocationCompleted
    | ContextStarted
    | ContextSucceeded
    | ContextFailed
    | StepStarted
    | StepSucceeded
    | StepFailed
    | StepRetried
    | WaitStarted
    | WaitSucceeded
    | WaitCancelled
    | CallbackStarted
    | CallbackSucceeded
    | CallbackFailed
    | CallbackTimedOut
    | ChainedInvokeStarted
    | ChainedInvokeSucceeded
    | ChainedInvokeFailed
    | ChainedInvokeTimedOut
    | ChainedInvokeStopped
)
Silent: TypeAlias = (
    InvocationBegun
    | CheckpointAccepted
    | CallbackHeartbeat
    | StepReady
    | ChainedInvokeCancelled
    | InvocationOwed
    | InvocationRetryScheduled
    | Parked
    | Unparked
    | PauseRequested
)
AnyFact: TypeAlias = Visible | Silent

_FIRST_SILENT_TAG = 40


def is_visible(fact: Fact) -> bool:
    """Whether *fact* is an event of the history, and so has an event id."""
    return type(fact).__struct_config__.tag < _FIRST_SILENT_TAG  # type: ignore[operator]  # an int


_encode: Callable[[Fact], bytes] = msgspec.msgpack.Encoder().encode

decode_fact: Callable[[bytes], AnyFact] = msgspec.msgpack.Decoder(AnyFact).decode
"""Read one fact as it was stored.

Raises:
    msgspec.DecodeError: the bytes are not those of a fact that this version knows.
"""


def encode_fact(fact: Fact) -> bytes:
    """Write one fact as it is stored.

    It is read at once, because what is acknowledged must be readable for ever; that costs a
    quarter of a microsecond.

    Raises:
        InvalidParameterValueException: something in it is not what this class of facts says.
    """
    try:
        body = _encode(fact)
        decode_fact(body)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        said = f"{type(fact).__name__} cannot be recorded: {error}"
        raise InvalidParameterValueException(said) from error
    return body


def microseconds_of(at: datetime) -> int:
    """Give an aware *at* as facts carry it."""
    since = at - _EPOCH
    return (since.days * _DAY_SECONDS + since.seconds) * MICROSECONDS + since.microseconds


@lru_cache(maxsize=1024)
def timestamp_of(at: int) -> Timestamp:
    """Give the instant that a fact carries."""
    return _EPOCH + timedelta(microseconds=at)
