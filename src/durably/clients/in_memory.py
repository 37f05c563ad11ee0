"""A backend for unit tests: one execution, held in memory, by the rules of the engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Container, Sequence
from typing import Any

from msgspec.structs import replace

from durably.clock import Clock, SystemClock
from durably.engine.commands import (
    BeginInvocation,
    Checkpoint,
    Command,
    CompleteCallback,
    CompleteInvoke,
    FailCallback,
    Start,
    Surroundings,
    Target,
    TimersDue,
)
from durably.engine.decisions import decide
from durably.engine.evolution import evolve, fold
from durably.engine.facts import Fact
from durably.errors import ResourceNotFoundException
from durably.serdes import JsonSerdes, SerdesContext
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.base import encode_invocation
from durably.wire.invocation import ExecutionState, InvocationInput
from durably.wire.operation import ErrorObject, Operation, OperationStatus, OperationType
from durably.wire.update import OperationAction, OperationUpdate

ARN = (
    "arn:aws:lambda:local:000000000000:function:in-memory:$LATEST"
    "/durable-execution/test/00000000-0000-4000-8000-000000000000"
)
_TOKEN = "in-memory"  # noqa: S105 - tokens are ignored here
_EPOCH = 1
_INVOKES = (OperationType.CHAINED_INVOKE,)
_MINTED = (OperationType.CALLBACK, *_INVOKES)


class InMemoryClient:
    """Answers every call at once, with all operations, sorted by id.

    Tokens and pages are ignored. A callback's id is its operation's id. A chained invoke succeeds
    at once, and gives back its payload. Each call first completes what is due on *clock*.
    """

    answers_at_once = True

    def __init__(
        self, payload: object = None, *, clock: Clock | None = None, facts: Sequence[Fact] = ()
    ) -> None:
        """Start an execution with *payload* as its input, or go on where *facts* end."""
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._facts: list[Fact] = list(facts)
        self._execution = fold(facts)
        self._set: dict[str, Operation] = {}
        if facts:
            return
        text = JsonSerdes().serialize(payload, SerdesContext("", ARN))
        self._do(
            Start(
                arn=ARN,
                function_name="in-memory",
                version="$LATEST",
                execution_name="test",
                input_payload=text,
                is_synchronous=True,
            )
        )
        self._do(BeginInvocation(_EPOCH, "request"))

    def event(self) -> dict[str, Any]:
        """Give the event of an invocation now, as AWS Lambda would pass it to the handler."""
        state = ExecutionState(operations=self.operations())
        invocation = InvocationInput(
            durable_execution_arn=ARN, checkpoint_token=_TOKEN, initial_execution_state=state
        )
        return json.loads(encode_invocation(invocation))  # type: ignore[no-any-return]  # an object

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What has happened so far. Every prefix that includes the start is an execution."""
        return tuple(self._facts)

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """Accept the updates together, and give every operation.

        Raises:
            InvalidParameterValueException: an update is not a legal one. Nothing was recorded.
        """
        with self._lock:
            self._do(TimersDue())
            updates = tuple(update for update in request.updates if update.id not in self._set)
            ids = (u.id for u in updates if _starts(u, _MINTED))
            around = Surroundings(lambda _: next(ids), lambda name: Target(name, "$LATEST"))
            self._do(Checkpoint(_EPOCH, updates, around))
            for update in updates:
                if _starts(update, _INVOKES):
                    done = OperationStatus.SUCCEEDED
                    self._do(CompleteInvoke(update.id, done, update.payload))
            state = ExecutionState(operations=self.operations())
            return CheckpointResponse(checkpoint_token=_TOKEN, new_execution_state=state)

    def get_execution_state(
        self,
        request: GetExecutionStateRequest,  # noqa: ARG002 - everything is one page
    ) -> GetExecutionStateResponse:
        """Give every operation."""
        return GetExecutionStateResponse(operations=self.operations())

    def operations(self) -> tuple[Operation, ...]:
        """Give every operation, what is due completed first."""
        with self._lock:
            self._do(TimersDue())
            held = {operation.id: operation for operation in self._execution.operations}
            return tuple(sorted((held | self._set).values(), key=lambda operation: operation.id))

    def complete_callback(self, callback_id: str, payload: str | None = None) -> None:
        """Answer a callback.

        Raises:
            ResourceNotFoundException: there is none of this id.
            CallbackTimeoutException: it is over.
        """
        self._do(CompleteCallback(callback_id, payload))

    def fail_callback(
        self, callback_id: str, error: ErrorObject | None = None, *, timed_out: bool = False
    ) -> None:
        """Report a failure of a callback, or have it time out; raises as `complete_callback`."""
        if not timed_out:
            self._do(FailCallback(callback_id, error or ErrorObject()))
            return
        operation = self._execution.find_operation(callback_id)
        if operation is None or operation.callback_details is None:
            raise ResourceNotFoundException(f"there is no callback {callback_id}")
        details = replace(operation.callback_details, error=error or _TIMED_OUT)
        self.set_operation(
            replace(operation, status=OperationStatus.TIMED_OUT, callback_details=details)
        )

    def set_operation(self, operation: Operation) -> None:
        """Have *operation* recorded as it is given, whatever the rules say. It stays so."""
        with self._lock:
            self._set[operation.id] = operation

    def _do(self, command: Command) -> None:
        with self._lock:
            now = self._clock.now()
            for fact in decide(self._execution, command, now):
                evolve(self._execution, fact)
                self._facts.append(fact)


_TIMED_OUT = ErrorObject(error_type="Callback.Timeout", error_message="Callback timed out")


def _starts(update: OperationUpdate, types: Container[OperationType]) -> bool:
    return update.action is OperationAction.START and update.type in types
