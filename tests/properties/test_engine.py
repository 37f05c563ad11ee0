"""What holds for every execution, whatever is asked of it in whatever order."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from durably.engine.commands import (
    BeginInvocation,
    Checkpoint,
    Command,
    CompleteCallback,
    CompleteInvoke,
    EndInvocation,
    FailCallback,
    FailInvocation,
    HeartbeatCallback,
    Pause,
    Resume,
    Start,
    Stop,
    Surroundings,
    Target,
    TimersDue,
)
from durably.engine.decisions import decide
from durably.engine.evolution import evolve, fold
from durably.engine.execution import Execution, is_outstanding, updated_operation_ids, wake_at
from durably.engine.facts import Fact, decode_fact, encode_fact, is_visible
from durably.engine.history import history_page
from durably.engine.policy import FailurePolicy
from durably.engine.rules import MOVES, TRANSITIONS
from durably.errors import ApiError
from durably.wire.invocation import InvocationOutput, InvocationStatus
from durably.wire.operation import ErrorObject, OperationStatus, OperationType
from durably.wire.update import (
    CallbackOptions,
    ChainedInvokeOptions,
    ContextOptions,
    OperationAction,
    OperationUpdate,
    StepOptions,
    WaitOptions,
)

ARN = "arn:aws:lambda:local:000000000000:function:f:$LATEST/durable-execution/name/inv"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ERROR = ErrorObject(error_type="ValueError", error_message="no")

ids = st.sampled_from(["a", "b", "c", "d"])
errors = st.just(ERROR)


@st.composite
def updates(draw: st.DrawFn) -> OperationUpdate:
    kind = draw(st.sampled_from(list(OperationType)))
    action = draw(st.sampled_from(list(OperationAction)))
    is_start = action is OperationAction.START
    return OperationUpdate(
        id=draw(ids),
        type=kind,
        action=action,
        parent_id=draw(st.sampled_from([None, None, "a", "b"])),
        name=draw(st.sampled_from([None, "name"])),
        payload=draw(st.sampled_from([None, "1"])) if action is not OperationAction.FAIL else None,
        error=ERROR if action is OperationAction.FAIL else None,
        context_options=ContextOptions(replay_children=draw(st.booleans())),
        step_options=StepOptions(next_attempt_delay_seconds=draw(st.integers(1, 5)))
        if action is OperationAction.RETRY
        else None,
        wait_options=WaitOptions(wait_seconds=draw(st.integers(1, 9))) if is_start else None,
        callback_options=CallbackOptions(
            timeout_seconds=draw(st.integers(0, 5)),
            heartbeat_timeout_seconds=draw(st.integers(0, 3)),
        ),
        chained_invoke_options=ChainedInvokeOptions(
            function_name=draw(st.sampled_from(["known", "unknown"]))
        )
        if is_start
        else None,
    )


outputs = st.sampled_from(
    [
        InvocationOutput(status=InvocationStatus.SUCCEEDED, result="1"),
        InvocationOutput(status=InvocationStatus.SUCCEEDED, result="1", error=ERROR),
        InvocationOutput(status=InvocationStatus.FAILED, error=ERROR),
        *[InvocationOutput(status=InvocationStatus.PENDING)] * 5,
    ]
)
ended = st.sampled_from(
    [
        OperationStatus.SUCCEEDED,
        OperationStatus.FAILED,
        OperationStatus.TIMED_OUT,
        OperationStatus.STOPPED,
    ]
)


@dataclass
class World:
    """One execution and what a service would remember about it."""

    execution: Execution = field(default_factory=Execution)
    facts: list[Fact] = field(default_factory=list)
    now: datetime = BEGIN
    epoch: int = 0
    callback_ids: list[str] = field(default_factory=list)

    def mint(self, _place: str = "") -> str:
        return f"cb{len(self.facts)}-{len(self.callback_ids)}"

    def surroundings(self) -> Surroundings:
        found = {"known": Target("known", "$LATEST")}
        return Surroundings(self.mint, found.get)


Ask = Callable[..., Any]
Draw = Callable[[World, Ask], Command]


def _checkpoint(world: World, draw: Ask) -> Command:
    invocation = world.execution.invocation
    sequence = draw(st.sampled_from([None, 0 if invocation is None else invocation.sequence]))
    stale = draw(st.integers(0, 9)) == 0
    return Checkpoint(
        world.epoch - stale,
        tuple(draw(st.lists(updates(), max_size=4))),
        world.surroundings(),
        sequence,
        draw(st.sampled_from([None, "token"])),
    )


def _callback_id(world: World, draw: Ask) -> str:
    found: str = draw(st.sampled_from([*world.execution.callbacks, "unknown"]))
    return found


COMMANDS: list[Draw] = [
    lambda world, draw: BeginInvocation(world.epoch + 1, "r", draw(st.booleans()), "lost"),
    _checkpoint,
    _checkpoint,
    _checkpoint,
    lambda world, draw: EndInvocation(
        world.epoch, draw(outputs), draw(st.sampled_from([None, len(world.execution.changes)]))
    ),
    lambda world, draw: FailInvocation(
        world.epoch, ERROR, draw(st.booleans()), draw(st.sampled_from([None, "begun"]))
    ),
    lambda world, draw: CompleteCallback(_callback_id(world, draw), "1"),
    lambda world, draw: FailCallback(_callback_id(world, draw), ERROR),
    lambda world, draw: HeartbeatCallback(_callback_id(world, draw)),
    lambda world, draw: CompleteInvoke(draw(ids), draw(ended), None, ERROR),
    lambda world, draw: TimersDue(),
    lambda world, draw: Stop(),
    lambda world, draw: Pause(client_token=draw(st.sampled_from([None, "t"]))),
    lambda world, draw: Resume(client_token=draw(st.sampled_from([None, "t"]))),
]
POLICY = FailurePolicy(park_after=3)


@given(st.data())
def test_whatever_is_asked_an_execution_keeps_its_rules(data: st.DataObject) -> None:
    world = World()
    command: Command = Start(
        arn=ARN,
        function_name="f",
        version="$LATEST",
        execution_name="name",
        input_payload="{}",
        timeout_seconds=60,
    )
    for _ in range(data.draw(st.integers(1, 40))):
        _ask(world, command)
        world.now += timedelta(seconds=data.draw(st.sampled_from([0, 0, 0.5, 1, 3, -1])))
        make = data.draw(st.sampled_from(COMMANDS))
        command = make(world, data.draw)

    _check_history(world)
    _check_prefixes(world)


def _ask(world: World, command: Command) -> None:
    before = pickle.dumps(_image(world.execution))
    try:
        facts = decide(world.execution, command, world.now, POLICY)
    except ApiError:
        facts = []
    assert pickle.dumps(_image(world.execution)) == before, "decide changes nothing"
    was_closed = world.execution.is_closed
    assert not (was_closed and facts), "nothing leaves a terminal state"
    for fact in facts:
        operations = {operation.id: operation.status for operation in world.execution.operations}
        evolve(world.execution, decode_fact(encode_fact(fact)))
        _check_moves(operations, world.execution)
    world.facts += facts
    if isinstance(command, BeginInvocation) and world.execution.invocation is not None:
        world.epoch = world.execution.invocation.epoch
    _check_state(world)


def _image(execution: Execution) -> object:
    return {
        name: copy.deepcopy(getattr(execution, name))
        for name in Execution.__slots__
        if name not in ("started", "pause", "timers")
    } | {"armed": dict(execution.timers._due), "heap": list(execution.timers._heap)}


def _check_moves(before: dict[str, OperationStatus], execution: Execution) -> None:
    for operation in execution.operations:
        was = before.get(operation.id)
        if was is not operation.status:
            asked = {
                after
                for (kind, state, _), after in TRANSITIONS.items()
                if (kind, state) == (operation.type, was)
            }
            moved = MOVES.get((operation.type, was), frozenset()) if was is not None else set()
            assert operation.status in asked | moved or len(before) == 0


def _check_state(world: World) -> None:
    execution = world.execution
    assert execution.version == len(world.facts)
    assert execution.owed >= 0
    if not execution.is_closed:
        assert execution.outstanding == sum(map(is_outstanding, execution.operations))
        is_quiet = execution.parked_reason is not None
        assert (wake_at(execution) is None) is is_quiet, "L2: something wakes it"
    assert set(updated_operation_ids(execution)) <= set(execution.places)


def _check_history(world: World) -> None:
    events = history_page(world.facts, max_items=1000).events
    assert [event.event_id for event in events] == list(range(1, len(events) + 1))
    assert len(events) == sum(map(is_visible, world.facts))
    instants = [fact.at for fact in world.facts]
    assert instants == sorted(instants)


def _check_prefixes(world: World) -> None:
    whole = history_page(world.facts, max_items=1000).events
    for length in range(len(world.facts) + 1):
        part = world.facts[:length]
        execution = fold(part)
        assert execution.version == length
        if length:
            wake_at(execution)
        events = history_page(part, max_items=1000).events
        assert events == whole[: len(events)]
    assert _image(fold(world.facts)) == _image(world.execution)
