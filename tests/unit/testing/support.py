"""Histories to replay: executions that are run without waiting for any clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from durably import DurableFunction, durable_execution
from durably.app.histories import History
from durably.clients.in_memory import InMemoryClient
from durably.engine.facts import ExecutionFailed, ExecutionSucceeded, Fact
from durably.testing.clock import ManualClock
from durably.testing.replays import NotReplayableError, assert_replayable
from durably.wire.base import convert_wire
from durably.wire.operation import ErrorObject, OperationStatus, OperationType

MAX_INVOCATIONS = 50


def recorded(
    function: DurableFunction, payload: object = None, *, invocations: int = MAX_INVOCATIONS
) -> History:
    """Run *function* to its end, or for so many invocations; give what happened."""
    clock = ManualClock()
    backend = InMemoryClient(payload, clock=clock)
    bound = durable_execution(function.handler, client=backend)
    output = bound(backend.event())
    for _ in range(invocations - 1):
        if output["Status"] != "PENDING":
            break
        clock.advance(3600)
        _answer_callbacks(backend)
        output = bound(backend.event())
    is_over = output["Status"] != "PENDING"
    return History((*backend.facts, _end(clock, output)) if is_over else backend.facts)


def _end(clock: ManualClock, output: dict[str, Any]) -> Fact:
    at = int(clock.now().timestamp() * 1_000_000)
    if output["Status"] == "SUCCEEDED":
        return ExecutionSucceeded(at, output["Result"])
    return ExecutionFailed(at, convert_wire(output["Error"], ErrorObject))


def _answer_callbacks(backend: InMemoryClient) -> None:
    for operation in backend.operations():
        is_open = operation.status is OperationStatus.STARTED
        if operation.type is OperationType.CALLBACK and is_open:
            backend.complete_callback(operation.id, "answer")


def prefix(history: History, is_last: Callable[[Fact], bool]) -> History:
    """Give *history* up to the first fact of which this is so."""
    facts = history.facts
    end = next(count for count, fact in enumerate(facts, 1) if is_last(fact))
    return History(facts[:end])


def refusal(history: History, function: DurableFunction, *, same_end: bool = False) -> str:
    """Give what is said of *function*, which does not replay *history*."""
    try:
        assert_replayable(history, function, same_end=same_end)
    except NotReplayableError as error:
        return str(error)
    raise AssertionError("it replays")


def line_in(name: str, mark: str) -> str:
    """Say where the only line of a file of this folder is that ends with the comment *mark*."""
    file = Path(__file__).with_name(name)
    lines = file.read_text().splitlines()
    [number] = [number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}")]
    return f"{file}, line {number}, in "
