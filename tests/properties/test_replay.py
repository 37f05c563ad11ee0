"""Crashes and replays of more kinds of programs, over every kind of client.

P3, P4, P5, P12, P18; R1, R2, R4; I1, I3, I4, I5, I13.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durably.clients.in_memory import InMemoryClient
from durably.errors import UnrecoverableInvocationError
from durably.handler import DurableFunction
from durably.testing.clock import ManualClock
from durably.wire.operation import OperationStatus, OperationType
from durably.wire.update import OperationUpdate
from tests.properties.programs import Effects
from tests.properties.replays import (
    PROGRAMS,
    PROGRAMS_ALIKE,
    Awaited,
    Blocking,
    Pushing,
    Simulated,
    as_async,
    as_sync,
    expected,
    invoke,
    result_of,
    without_chance,
)
from tests.properties.test_crashes import (
    MAX_INVOCATIONS,
    CrashingClient,
    _essence,
    one_end_each,
    start,
)

WAYS: dict[str, tuple[Any, Any]] = {
    "async, at once": (as_async, lambda client: client),
    "async, awaited": (as_async, Awaited),
    "async, pushing": (as_async, Pushing),
    "sync, at once": (as_sync, lambda client: client),
    "simulated": (as_sync, Simulated),
}
IN_THREADS = {"async": as_async, "sync": as_sync}
CRASHES = st.dictionaries(st.integers(1, 20), st.sampled_from(["before", "after"]), max_size=6)


def drive(
    function: DurableFunction, backend: InMemoryClient, clock: ManualClock, client: Any
) -> Any:
    """Invoke *function* until it has a result; between, let time pass and the outside answer."""
    for _ in range(MAX_INVOCATIONS):
        try:
            output = invoke(function, backend, client)
        except UnrecoverableInvocationError:
            continue
        if output["Status"] == "SUCCEEDED":
            return result_of(output)
        assert output["Status"] == "PENDING", output
        clock.advance(3600)
        for operation in backend.operations():
            is_open = operation.status is OperationStatus.STARTED
            if operation.type is OperationType.CALLBACK and is_open:
                backend.complete_callback(operation.id, "answer")
    raise AssertionError("it never ends")


@pytest.mark.parametrize("way", WAYS)
@given(body=PROGRAMS, crashes=CRASHES)
def test_a_crash_at_any_checkpoint_changes_nothing_over_any_client(
    way: str, body: tuple[Any, ...], crashes: dict[int, str]
) -> None:
    compile_program, way_to = WAYS[way]
    backend, clock = start()
    effects = Effects()
    client = CrashingClient(backend, crashes)

    result = drive(compile_program(body, effects), backend, clock, way_to(client))

    assert without_chance(result) == expected(body)
    assert max(effects.repeats().values(), default=1) <= 1 + client.crashed
    assert one_end_each(backend.facts)


@pytest.mark.parametrize("flavour", IN_THREADS)
@settings(max_examples=25)
@given(body=PROGRAMS, crashes=CRASHES)
def test_the_same_over_a_client_that_blocks(
    flavour: str, body: tuple[Any, ...], crashes: dict[int, str]
) -> None:
    backend, clock = start()
    effects = Effects()
    client = Blocking(backend, crashes)

    result = drive(IN_THREADS[flavour](body, effects), backend, clock, client)

    assert without_chance(result) == expected(body)
    assert max(effects.repeats().values(), default=1) <= 1 + client.crashed
    assert one_end_each(backend.facts)


@pytest.mark.parametrize("way", WAYS)
@given(body=PROGRAMS)
def test_a_finished_program_gives_the_same_again_chance_included_and_sends_nothing(
    way: str, body: tuple[Any, ...]
) -> None:
    compile_program, way_to = WAYS[way]
    backend, clock = start()
    first = drive(compile_program(body, Effects()), backend, clock, backend)
    effects, client = Effects(), CrashingClient(backend, {})

    again = drive(compile_program(body, effects), backend, clock, way_to(client))

    assert first == again
    assert client.updates == []
    assert effects.entered == []


@given(body=PROGRAMS_ALIKE)
def test_every_driver_sends_the_same_updates_and_gives_the_same_chance(
    body: tuple[Any, ...],
) -> None:
    sent, results = [], []
    for way in ("async, at once", "sync, at once", "simulated"):
        compile_program, way_to = WAYS[way]
        backend, clock = start()
        client = CrashingClient(backend, {})
        results.append(drive(compile_program(body, Effects()), backend, clock, way_to(client)))
        sent.append(Counter(_alike(update) for update in client.updates))

    assert sent[0] == sent[1] == sent[2]
    assert results[0] == results[1] == results[2]


def _alike(update: OperationUpdate) -> tuple[Any, ...]:
    """Give what every driver sends; where an error was raised is each driver's own."""
    *rest, payload, kind = _essence(update)
    return (*rest, re.sub(r'"StackTrace":\[.*?\]', "", payload or ""), kind)
