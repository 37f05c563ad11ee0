"""Every state that a history has had replays, and an execution goes on from every one. I20.

The replays are the product's own form of this, which users have for their functions.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durably.app.histories import History
from durably.clients.in_memory import InMemoryClient
from durably.engine.facts import ChainedInvokeStarted, ExecutionSucceeded
from durably.serdes_json import write_json
from durably.testing.replays import assert_replayable
from tests.properties import programs, replays, test_crashes, test_replay
from tests.properties.programs import Effects
from tests.properties.test_crashes import FIRST_FACTS, CrashingClient, start

# They are long, and would take more than twice as long if lines were counted.
pytestmark = [pytest.mark.timeout(120), pytest.mark.no_cover]

PROGRAMS: dict[str, tuple[Any, Any]] = {
    "nested, async": (programs, programs.as_async),
    "nested, sync": (programs, programs.as_sync),
    "together, async": (replays, replays.as_async),
    "together, sync": (replays, replays.as_sync),
}
DRIVES: dict[Any, Any] = {programs: test_crashes.drive, replays: test_replay.drive}
KINDS = pytest.mark.parametrize(("kind", "compile_program"), PROGRAMS.values(), ids=PROGRAMS)
CRASHES = st.dictionaries(st.integers(1, 20), st.sampled_from(["before", "after"]), max_size=4)


@KINDS
@given(data=st.data(), crashes=CRASHES)
def test_every_state_of_a_history_replays_and_runs_no_body(
    kind: Any, compile_program: Any, data: st.DataObject, crashes: dict[int, str]
) -> None:
    body = data.draw(kind.PROGRAMS)
    backend, clock = start()
    effects = Effects()
    function = compile_program(body, effects)
    result = DRIVES[kind](function, backend, clock, CrashingClient(backend, crashes))
    entered = list(effects.entered)
    end = ExecutionSucceeded(backend.facts[-1].at, write_json(result))
    history = History((*backend.facts, end))

    assert_replayable(history, function, same_end=True)
    assert_replayable(history.masked(), function, same_end=True)

    assert effects.entered == entered
    assert History.parse(history.text).facts == history.facts


@KINDS
@given(data=st.data(), percent=st.integers(0, 100))
def test_an_execution_goes_on_from_every_state_to_the_same_result(
    kind: Any, compile_program: Any, data: st.DataObject, percent: int
) -> None:
    body, drive = data.draw(kind.PROGRAMS), DRIVES[kind]
    backend, clock = start()
    first = drive(compile_program(body, Effects()), backend, clock, backend)
    cut = FIRST_FACTS + (len(backend.facts) - FIRST_FACTS) * percent // 100
    if isinstance(backend.facts[cut - 1], ChainedInvokeStarted):
        cut += 1  # this backend answers an invoke in the very call that starts it

    replayed = InMemoryClient(clock=clock, facts=backend.facts[:cut])
    again = drive(compile_program(body, Effects()), replayed, clock, replayed)

    assert again == first
    assert replays.without_chance(again) == kind.expected(body)
