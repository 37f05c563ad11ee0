"""What can be asked of an execution. `decide` says what each command makes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from durably.engine.rules import LOST_TYPE
from durably.limits import MAX_DELAY_SECONDS
from durably.wire.invocation import InvocationOutput
from durably.wire.operation import ErrorObject, OperationStatus
from durably.wire.update import OperationUpdate

DEFAULT_EXECUTION_TIMEOUT_SECONDS = MAX_DELAY_SECONDS
DEFAULT_RETENTION_DAYS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Begin an execution. Given again with the same payload it changes nothing.

    Attributes:
        parent_operation_id: the invoke, in *parent_arn*, whose child this is.
        ancestors: the functions whose executions led here, oldest first.
        is_synchronous: whether the starter waits, which allows larger payloads.
    """

    arn: str
    function_name: str
    version: str
    execution_name: str
    input_payload: str | None
    timeout_seconds: int = DEFAULT_EXECUTION_TIMEOUT_SECONDS
    retention_days: int = DEFAULT_RETENTION_DAYS
    is_synchronous: bool = False
    parent_arn: str | None = None
    parent_operation_id: str | None = None
    ancestors: tuple[str, ...] = ()
    tenant_id: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class BeginInvocation:
    """Make an invocation, if one is owed, under the claim *epoch*.

    Attributes:
        is_takeover: the claim before this one was never released, so its invocation is lost.
        lost_request_id: what to call that invocation if nothing of it was recorded.
    """

    epoch: int
    request_id: str
    is_takeover: bool = False
    lost_request_id: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A function that can be invoked, as its name was resolved."""

    function_name: str
    version: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a checkpoint needs of the world, injected.

    Attributes:
        mint_id: gives an id that nobody can guess for what is at a place, to whoever may then
            answer a callback.
        find_target: says which function a name stands for.
        learn: where workers of other functions may come, finds out of those that have.
        renew_keys: where others may make a new key, sees that ids are made with the newest.
    """

    mint_id: Callable[[str], str]
    find_target: Callable[[str], Target | None]
    learn: Callable[[], Awaitable[None]] | None = None
    renew_keys: Callable[[], Awaitable[None]] | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """Accept *updates* together, from the invocation of *epoch*.

    Made for every checkpoint, so it is of the kind that is made fastest.

    Attributes:
        sequence: that of the token; `None` for an invocation in this process, which has no use
            for tokens.
    """

    epoch: int
    updates: tuple[OperationUpdate, ...]
    surroundings: Surroundings
    sequence: int | None = None
    client_token: str | None = None


@dataclass(frozen=True, slots=True)
class EndInvocation:
    """The handler answered.

    Attributes:
        seen: how far the invocation had read; `None` when only its checkpoints tell.
    """

    epoch: int
    output: InvocationOutput
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class FailInvocation:
    """The handler answered nothing usable.

    Attributes:
        is_counted: `False` when it was not its fault, such as at a shutdown.
        request_id: of the invocation, where it may not be written that it has begun.
    """

    epoch: int
    error: ErrorObject
    is_counted: bool = True
    request_id: str | None = None

    @classmethod
    def lost(cls, epoch: int, request_id: str | None, said: str) -> FailInvocation:
        """Say that what an invocation did last could not be recorded.

        It counts as a failure only where the invocation before it was lost, too.
        """
        error = ErrorObject(error_type=LOST_TYPE, error_message=said)
        return cls(epoch, error, is_counted=False, request_id=request_id)


@dataclass(frozen=True, slots=True)
class CompleteCallback:
    """An outside system answers a callback."""

    callback_id: str
    result: str | None


@dataclass(frozen=True, slots=True)
class FailCallback:
    """An outside system reports a failure."""

    callback_id: str
    error: ErrorObject


@dataclass(frozen=True, slots=True)
class HeartbeatCallback:
    """An outside system says that it is alive."""

    callback_id: str


@dataclass(frozen=True, slots=True)
class CompleteInvoke:
    """The child of a chained invoke has ended, with *status*."""

    operation_id: str
    status: OperationStatus
    result: str | None = None
    error: ErrorObject | None = None


@dataclass(frozen=True, slots=True)
class TimersDue:
    """Do what is due."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the execution, whatever it does. On a closed one it changes nothing."""

    error: ErrorObject | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Let no further invocation run."""

    reason: str | None = None
    is_timeout_paused: bool = True
    client_token: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """End a pause, or what parked the execution."""

    reason: str | None = None
    client_token: str | None = None


Command: TypeAlias = (
    Start
    | BeginInvocation
    | Checkpoint
    | EndInvocation
    | FailInvocation
    | CompleteCallback
    | FailCallback
    | HeartbeatCallback
    | CompleteInvoke
    | TimersDue
    | Stop
    | Pause
    | Resume
)
