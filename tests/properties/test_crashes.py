"""A crash anywhere changes nothing that a caller can see, nor more effects than are promised.

P3, P4, P5, P18; I1, I2, I3, I5. Under both drivers, by the rules of the engine.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durably.clients.in_memory import InMemoryClient
from durably.engine.facts import Fact
from durably.errors import UnrecoverableInvocationError
from durably.handler import DurableFunction
from durably.testing.clock import ManualClock
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.operation import TERMINAL_STATUSES, OperationStatus, OperationType
from durably.wire.update import OperationUpdate
from tests.properties.programs import PROGRAMS, Effects, Node, Step, as_async, as_sync, expected

# They are long, and would take more than twice as long if lines were counted.
pytestmark = [pytest.mark.timeout(120), pytest.mark.no_cover]

MAX_INVOCATIONS = 400
FIRST_FACTS = 2  # the start, and the invocation that everything happens in

FLAVOURS = pytest.mark.parametrize("compile_program", [as_async, as_sync])


class CrashError(ConnectionError):
    """The connection broke, as far as the function can tell."""


class CrashingClient:
    """Breaks at some of the checkpoints: before the backend has applied them, or after."""

    answers_at_once = True

    def __init__(self, inner: InMemoryClient, crashes: dict[int, str]) -> None:
        self._inner = inner
        self._crashes = crashes
        self.calls = 0
        self.crashed = 0
        self.updates: list[OperationUpdate] = []

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        self.calls += 1
        how = self._crashes.get(self.calls)
        if how == "before":
            self.crashed += 1
            raise CrashError(how)
        response = self._inner.checkpoint(request)
        self.updates += request.updates
        if how == "after":
            self.crashed += 1
            raise CrashError(how)
        return response

    def get_execution_state(self, request: GetExecutionStateRequest) -> GetExecutionStateResponse:
        return self._inner.get_execution_state(request)


def drive(
    function: DurableFunction, backend: InMemoryClient, clock: ManualClock, client: Any
) -> Any:
    """Invoke *function* until it has a result; between, let time pass and the outside answer."""
    for _ in range(MAX_INVOCATIONS):
        function._client = client
        try:
            output = function(backend.event())
        except UnrecoverableInvocationError:
            continue
        if output["Status"] == "SUCCEEDED":
            return json.loads(output["Result"])
        assert output["Status"] == "PENDING", output
        clock.advance(3600)
        for operation in backend.operations():
            is_open = operation.status is OperationStatus.STARTED
            if operation.type is OperationType.CALLBACK and is_open:
                backend.complete_callback(operation.id, "answer")
    raise AssertionError("it never ends")


def start() -> tuple[InMemoryClient, ManualClock]:
    clock = ManualClock()
    return InMemoryClient({}, clock=clock), clock


@FLAVOURS
@given(nodes=PROGRAMS)
def test_a_program_gives_what_the_model_says(compile_program: Any, nodes: tuple[Node, ...]) -> None:
    backend, clock = start()

    result = drive(compile_program(nodes, Effects()), backend, clock, backend)

    assert result == expected(nodes)


@FLAVOURS
@given(
    nodes=PROGRAMS,
    crashes=st.dictionaries(st.integers(1, 25), st.sampled_from(["before", "after"]), max_size=8),
)
def test_a_crash_at_any_checkpoint_changes_no_result_and_repeats_no_more_than_promised(
    compile_program: Any, nodes: tuple[Node, ...], crashes: dict[int, str]
) -> None:
    backend, clock = start()
    effects = Effects()
    client = CrashingClient(backend, crashes)

    result = drive(compile_program(nodes, effects), backend, clock, client)

    assert result == expected(nodes)
    repeats = effects.repeats()
    assert max(repeats.values(), default=1) <= 1 + client.crashed
    assert one_end_each(backend.facts)


@FLAVOURS
@given(
    crashes=st.dictionaries(st.integers(1, 12), st.sampled_from(["before", "after"]), max_size=6),
    values=st.lists(st.integers(0, 9), min_size=1, max_size=4),
)
def test_an_at_most_once_attempt_is_never_entered_twice(
    compile_program: Any, crashes: dict[int, str], values: list[int]
) -> None:
    backend, clock = start()
    effects = Effects()
    nodes = tuple(Step(value, at_most_once=True) for value in values)
    client = CrashingClient(backend, crashes)

    result = drive(compile_program(nodes, effects), backend, clock, client)

    assert result == values
    assert set(effects.repeats().values()) == {1}


@FLAVOURS
@given(nodes=PROGRAMS)
def test_a_finished_program_replays_without_sending_anything(
    compile_program: Any, nodes: tuple[Node, ...]
) -> None:
    backend, clock = start()
    drive(compile_program(nodes, Effects()), backend, clock, backend)
    effects = Effects()
    client = CrashingClient(backend, {})

    result = drive(compile_program(nodes, effects), backend, clock, client)

    assert result == expected(nodes)
    assert client.updates == []
    assert effects.entered == []


@given(nodes=PROGRAMS)
def test_both_drivers_send_the_same_updates(nodes: tuple[Node, ...]) -> None:
    sent = []
    for compile_program in (as_async, as_sync):
        backend, clock = start()
        client = CrashingClient(backend, {})
        drive(compile_program(nodes, Effects()), backend, clock, client)
        sent.append(Counter(_essence(update) for update in client.updates))

    assert sent[0] == sent[1]


def _essence(update: OperationUpdate) -> tuple[Any, ...]:
    kind = None if update.error is None else update.error.error_type
    return (update.id, update.parent_id, update.name, update.action, update.payload, kind)


def one_end_each(facts: tuple[Fact, ...]) -> bool:
    """Whether no operation has two terminal records."""
    backend = InMemoryClient(facts=facts)
    ended: set[str] = set()
    for cut in range(FIRST_FACTS, len(facts) + 1, max(1, len(facts) // 8)):
        now = {
            operation.id: operation.status
            for operation in InMemoryClient(facts=facts[:cut]).operations()
        }
        done = {key for key, status in now.items() if status in TERMINAL_STATUSES}
        if not ended <= done:
            return False
        ended = done
    return ended <= {operation.id for operation in backend.operations()}
