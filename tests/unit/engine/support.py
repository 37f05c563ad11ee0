"""An execution to ask things of, and updates to ask with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from durably.engine.commands import (
    BeginInvocation,
    Checkpoint,
    Command,
    EndInvocation,
    Start,
    Surroundings,
    Target,
)
from durably.engine.decisions import decide
from durably.engine.evolution import evolve
from durably.engine.execution import Execution
from durably.engine.facts import Fact, decode_fact, encode_fact
from durably.engine.history import history_page
from durably.engine.policy import FailurePolicy
from durably.wire.api import CheckpointRequest
from durably.wire.base import Timestamp
from durably.wire.history import Event
from durably.wire.invocation import InvocationOutput, InvocationStatus
from durably.wire.operation import ErrorObject, Operation, OperationType
from durably.wire.update import (
    CallbackOptions,
    ChainedInvokeOptions,
    ContextOptions,
    OperationAction,
    OperationUpdate,
    StepOptions,
    WaitOptions,
)

ARN = "arn:aws:lambda:local:000000000000:function:f:$LATEST/durable-execution/order-7/inv"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ERROR = ErrorObject(error_type="ValueError", error_message="no")
PENDING = InvocationOutput(status=InvocationStatus.PENDING)


def succeeded(result: str | None = None) -> InvocationOutput:
    return InvocationOutput(status=InvocationStatus.SUCCEEDED, result=result)


def failed(error: ErrorObject | None = ERROR) -> InvocationOutput:
    return InvocationOutput(status=InvocationStatus.FAILED, error=error)


def start(payload: str | None = "{}", **changes: object) -> Start:
    fields = {
        "arn": ARN,
        "function_name": "f",
        "version": "$LATEST",
        "execution_name": "order-7",
        "input_payload": payload,
    } | changes
    return Start(**fields)  # type: ignore[arg-type]  # whatever a test changes


class Case:
    """One execution, its facts and its clock."""

    def __init__(self, *, policy: FailurePolicy | None = None, **starting: object) -> None:
        self.execution = Execution()
        self.facts: list[Fact] = []
        self.now = Timestamp.of(BEGIN)
        self.epoch = 0
        self.minted = 0
        self.policy = policy or FailurePolicy()
        self.ask(start(**starting))  # type: ignore[arg-type]  # whatever a test changes

    @classmethod
    def running(cls, *updates: OperationUpdate, **starting: object) -> Case:
        case = cls(**starting)  # type: ignore[arg-type]  # whatever a test changes
        case.begin()
        if updates:
            case.send(*updates)
        return case

    @classmethod
    def suspended(cls, *updates: OperationUpdate, **starting: object) -> Case:
        case = cls.running(*updates, **starting)
        case.end()
        return case

    def ask(self, command: Command, *, after: float = 0) -> list[Fact]:
        """Ask *after* seconds; the facts go through their stored form."""
        self.now += timedelta(seconds=after)
        facts = decide(self.execution, command, self.now, self.policy)
        for fact in facts:
            evolve(self.execution, decode_fact(encode_fact(fact)))
        self.facts += facts
        return facts

    def begin(self, *, is_takeover: bool = False, after: float = 0) -> list[Fact]:
        self.epoch += 1
        command = BeginInvocation(self.epoch, f"r{self.epoch}", is_takeover, "lost")
        return self.ask(command, after=after)

    def send(
        self,
        *updates: OperationUpdate,
        sequence: int | None = None,
        client_token: str | None = None,
        after: float = 0,
    ) -> list[Fact]:
        command = Checkpoint(self.epoch, updates, self.surroundings(), sequence, client_token)
        return self.ask(command, after=after)

    def end(
        self, output: InvocationOutput = PENDING, *, seen: int | None = None, after: float = 0
    ) -> list[Fact]:
        return self.ask(EndInvocation(self.epoch, output, seen), after=after)

    def surroundings(self) -> Surroundings:
        targets: Mapping[str, Target] = {"f": Target("f", "$LATEST"), "g": Target("g", "3")}
        return Surroundings(self._mint, targets.get)

    def _mint(self, _place: str) -> str:
        self.minted += 1
        return f"cb{self.minted}"

    def operation(self, operation_id: str) -> Operation:
        found = self.execution.find_operation(operation_id)
        assert found is not None
        return found

    @property
    def events(self) -> tuple[Event, ...]:
        return history_page(self.facts, max_items=1000).events

    @property
    def story(self) -> list[str]:
        return [event.event_type.value for event in self.events]


def names(facts: list[Fact]) -> list[str]:
    return [type(fact).__name__ for fact in facts]


def update(
    operation_id: str, kind: OperationType, action: OperationAction, **fields: object
) -> OperationUpdate:
    return OperationUpdate(id=operation_id, type=kind, action=action, **fields)  # type: ignore[arg-type]  # whatever a test sends


def step(
    operation_id: str = "s", action: OperationAction = OperationAction.START, **fields: object
) -> OperationUpdate:
    return update(operation_id, OperationType.STEP, action, **fields)


def retry(operation_id: str = "s", delay: int = 5, **fields: object) -> OperationUpdate:
    options = StepOptions(next_attempt_delay_seconds=delay)
    return step(operation_id, OperationAction.RETRY, step_options=options, **fields)


def context(
    operation_id: str = "c",
    action: OperationAction = OperationAction.START,
    *,
    replay_children: bool = False,
    **fields: object,
) -> OperationUpdate:
    options = ContextOptions(replay_children=True) if replay_children else None
    return update(operation_id, OperationType.CONTEXT, action, context_options=options, **fields)


def wait(operation_id: str = "w", seconds: int = 10, **fields: object) -> OperationUpdate:
    options = WaitOptions(wait_seconds=seconds)
    return update(
        operation_id, OperationType.WAIT, OperationAction.START, wait_options=options, **fields
    )


def callback(
    operation_id: str = "cb", timeout: int = 0, heartbeat: int = 0, **fields: object
) -> OperationUpdate:
    options = CallbackOptions(timeout_seconds=timeout, heartbeat_timeout_seconds=heartbeat)
    return update(
        operation_id,
        OperationType.CALLBACK,
        OperationAction.START,
        callback_options=options,
        **fields,
    )


def invoke(operation_id: str = "i", target: str = "g", **fields: object) -> OperationUpdate:
    options = ChainedInvokeOptions(function_name=target)
    return update(
        operation_id,
        OperationType.CHAINED_INVOKE,
        OperationAction.START,
        chained_invoke_options=options,
        **fields,
    )


def closing(action: OperationAction, **fields: object) -> OperationUpdate:
    return update("execution-result-1", OperationType.EXECUTION, action, **fields)


def request(
    arn: str, token: str, *updates: OperationUpdate, client_token: str | None = None
) -> CheckpointRequest:
    return CheckpointRequest(
        durable_execution_arn=arn,
        checkpoint_token=token,
        updates=updates,
        client_token=client_token,
    )
