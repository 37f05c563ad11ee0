"""Runs the durable functions of the documentation to their end, without waiting for any clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from durably import DurableFunction, durable_execution
from durably.clients.in_memory import InMemoryClient
from durably.testing.clock import ManualClock
from durably.wire.operation import Operation, OperationStatus, OperationType

MAX_INVOCATIONS = 100


class Failed(Exception):  # noqa: N818 - what a page calls it
    """The execution ended FAILED."""


def drive(
    function: DurableFunction,
    payload: object = None,
    *,
    answers: Mapping[str, Callable[[], str] | str] | None = None,
) -> tuple[Any, tuple[Operation, ...]]:
    """Invoke *function* until it has ended; give what it answered, and its operations.

    Args:
        function: what to run.
        payload: what it is started with.
        answers: what to send to the callbacks of these names, as soon as they are waited for.

    Raises:
        Failed: it ended FAILED.
    """
    clock = ManualClock()
    client = InMemoryClient(payload, clock=clock)
    bound = durable_execution(function.handler, client=client)
    for _ in range(MAX_INVOCATIONS):
        output = bound(client.event())
        if output["Status"] == "SUCCEEDED":
            return json.loads(output["Result"]), client.operations()
        if output["Status"] == "FAILED":
            raise Failed(output["Error"].get("ErrorType"), output["Error"].get("ErrorMessage"))
        if not _answer(client, answers or {}):
            due = _next_due(client.operations(), clock.now())
            clock.advance(max(due - clock.now(), timedelta(0)))
    raise AssertionError(f"{function.name} does not end")


def run(function: DurableFunction, payload: object = None, **more: Any) -> Any:
    """Invoke *function* until it has ended, and give what it answered; see `drive`."""
    return drive(function, payload, **more)[0]


def operations(function: DurableFunction, payload: object = None, **more: Any) -> list[Operation]:
    """Invoke *function* until it has ended, and give the operations it had; see `drive`."""
    found = drive(function, payload, **more)[1]
    return [one for one in found if one.type is not OperationType.EXECUTION]


def names(function: DurableFunction, payload: object = None, **more: Any) -> set[str | None]:
    """Invoke *function* until it has ended, and give its operations' names; see `drive`."""
    return {operation.name for operation in operations(function, payload, **more)}


def _answer(client: InMemoryClient, answers: Mapping[str, Callable[[], str] | str]) -> bool:
    waiting = [
        operation
        for operation in client.operations()
        if operation.type is OperationType.CALLBACK
        and operation.status is OperationStatus.STARTED
        and operation.name in answers
    ]
    for operation in waiting:
        answer = answers[operation.name or ""]
        client.complete_callback(operation.id, answer() if callable(answer) else answer)
    return bool(waiting)


def _next_due(recorded: tuple[Operation, ...], now: datetime) -> datetime:
    instants = [
        instant
        for operation in recorded
        if not operation.is_terminal
        for instant in _due(operation)
    ]
    assert instants, f"nothing is due, and it waits: {recorded}"
    return min(instants) if min(instants) > now else now + timedelta(seconds=1)


def _due(operation: Operation) -> list[datetime]:
    step, wait, callback = (
        operation.step_details,
        operation.wait_details,
        operation.callback_details,
    )
    found = [
        step and step.next_attempt_timestamp,
        wait and wait.scheduled_end_timestamp,
        callback and callback.scheduled_timeout_timestamp,
    ]
    return [instant for instant in found if instant]
