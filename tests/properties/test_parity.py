"""The three drivers send the same updates for the programs that the simulator draws, too.

Those programs know what other properties do not: callbacks with answers and deadlines, handlers
that swallow signals, values that cannot be written, quorums, nested rounds of retries. What each
flavour says in its own way, futures in `async def` and branches in `def`, is said one after the
other here; and a batch that may stop early has one item at a time, as chance decides otherwise.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durably.clients.in_memory import InMemoryClient
from durably.wire.operation import ErrorObject, OperationStatus, OperationType
from durably.wire.update import OperationUpdate
from tests.properties.replays import Simulated, invoke
from tests.properties.test_crashes import CrashingClient, start
from tests.simulator.generator import generate
from tests.simulator.handlers import compile_programs
from tests.simulator.ledger import Ledger
from tests.simulator.programs import (
    Again,
    Ask,
    Block,
    Callback,
    Child,
    Combine,
    Completion,
    Fan,
    Guard,
    Node,
    Program,
    Together,
    Values,
)
from tests.simulator.walks import node_at, nodes_of

# They are long, and would take more than twice as long if lines were counted.
pytestmark = [pytest.mark.timeout(120), pytest.mark.no_cover]

MAX_INVOCATIONS = 400
ENDS = {"SUCCEEDED", "FAILED"}
DRIVERS = ("tasks", "threads", "simulated")


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 12))
def test_every_driver_sends_the_same_updates_for_what_the_simulator_draws(
    seed: int, size: int
) -> None:
    program = drawn(seed, size)
    program = replace(program, body=alike(program.body))

    tasks, threads, simulated = (came_of(program, driver) for driver in DRIVERS)

    assert tasks == threads == simulated


def test_what_is_compared_has_every_kind_of_node() -> None:
    bodies = [drawn(seed, 12).body for seed in range(200)]

    kinds = {type(node) for body in bodies for node in nodes_of(body)}
    compared = {type(node) for body in bodies for node in nodes_of(alike(body))}

    assert kinds - compared == {Combine, Together, Values}


def drawn(seed: int, size: int) -> Program:
    """Draw a program as the simulator does."""
    return generate(Random(seed), size).programs[0]  # noqa: S311 - so that it can be repeated


def alike(block: Block) -> Block:
    """Give what every flavour does alike, whatever comes first."""
    return tuple(one for node in block for one in _alike(node))


def _alike(node: Node) -> Iterable[Node]:
    match node:
        case Combine(parts=parts) | Together(parts=parts):
            yield from alike(parts)
        case Values():
            pass  # the time of day is another one for each
        case Child() | Again():
            yield replace(node, body=alike(node.body))
        case Callback():
            yield replace(node, between=alike(node.between))
        case Guard():
            yield replace(node, body=alike(node.body), rescue=alike(node.rescue))
        case Fan(branches=branches):
            at_once = node.limit is None
            yield replace(
                node,
                branches=tuple(map(alike, branches)),
                limit=None if at_once else 1,
                completion=Completion(tolerated_count=len(branches))
                if at_once
                else node.completion,
            )
        case _:
            yield node


def came_of(program: Program, driver: str) -> tuple[Any, ...]:
    """Run *program* under a driver; give how it ended, and what was sent."""
    backend, clock = start()
    client = CrashingClient(backend, {})
    ledger = Ledger()
    flavour = replace(program, flavour="async" if driver == "tasks" else "def")
    [function] = compile_programs([flavour], ledger, pause=lambda _: asyncio.sleep(0))
    way = Simulated(client) if driver == "simulated" else client
    answered: set[str] = set()
    for _ in range(MAX_INVOCATIONS):
        output = invoke(function, backend, way)
        if output["Status"] in ENDS:
            sent = Counter(_essence(update) for update in client.updates)
            return output["Status"], output.get("Result"), _said(output.get("Error")), sent
        _answer(program, ledger, backend, answered)
        clock.advance(3600)
    raise AssertionError("it never ends")


def _answer(program: Program, ledger: Ledger, backend: InMemoryClient, answered: set[str]) -> None:
    """Send the first answer of each callback that was told of; one without an answer times out."""
    open_ = {
        one.id
        for one in backend.operations()
        if one.type is OperationType.CALLBACK and one.status is OperationStatus.STARTED
    }
    for entry in ledger.entries:
        told = entry.operation_id
        if entry.phase != "told" or told is None or told not in open_ - answered:
            continue
        answered.add(told)
        node = node_at(program.body, entry.path)
        assert isinstance(node, Ask | Callback)
        answer = next((one for one in node.answers if one.kind != "heartbeat"), None)
        if answer is None:
            backend.fail_callback(told, timed_out=True)
        elif answer.kind == "fail":
            backend.fail_callback(told, ErrorObject(error_message=answer.text))
        else:
            backend.complete_callback(told, answer.text)


def _essence(update: OperationUpdate) -> tuple[Any, ...]:
    """Give what every driver sends; where an error was raised is each driver's own."""
    return (
        update.id,
        update.parent_id,
        update.name,
        update.type,
        update.sub_type,
        update.action,
        re.sub(r'"StackTrace":\[.*?\]', "", update.payload or ""),
        _said(update.error),
    )


def _said(error: Any) -> tuple[Any, ...] | None:
    if error is None:
        return None
    if isinstance(error, dict):
        return (error.get("ErrorType"), error.get("ErrorMessage"))
    return (error.error_type, error.error_message)
