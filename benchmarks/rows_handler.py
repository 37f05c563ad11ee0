"""What the SDK half costs by itself: replay, new steps, one invocation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benchmarks import functions
from benchmarks.floors import bare_loop
from benchmarks.measure import MICRO, MILLI, Options, in_turns, progress, seconds
from benchmarks.recorded import AnswersAtOnce, BlockingAnswersAtOnce, event, official_id
from benchmarks.report import Beside, Line
from durably import DurableFunction, durable_execution

_REPLAY_ASYNC_US = 10
_REPLAY_SYNC_US = 15
_INVOCATION_MS = 2
_INVOCATION_STEP_US = 100
_SIZES = (100, 1_000, 10_000)


def replay_async(options: Options) -> list[Line]:
    """Replay recorded steps in an `async def` handler."""
    return _replay(options, functions.steps, AnswersAtOnce(), _REPLAY_ASYNC_US)


def replay_sync(options: Options) -> list[Line]:
    """Replay recorded steps in a `def` handler."""
    return _replay(options, functions.blocking_steps, BlockingAnswersAtOnce(), _REPLAY_SYNC_US)


def _replay(options: Options, function: DurableFunction, client: Any, limit: float) -> list[Line]:
    """Measure whole invocations, from the event as Lambda passes it to the answer."""
    ours = durable_execution(function.handler, client=client)
    peer = _peer(options)
    lines = []
    for size in options.pick(_SIZES, _SIZES[:2]):
        progress(f"replay of {size:,} operations, {'async' if ours.is_async else 'sync'}")
        given = event(size)
        works: dict[str, Callable[[], float]] = {
            "ours": lambda given=given: seconds(lambda: _succeed(ours, given)),  # type: ignore[misc]  # a default
            "loop": lambda size=size: bare_loop(size) * size,  # type: ignore[misc]  # a default
        }
        if peer is not None:
            theirs = event(size, official_id)
            works["peer"] = lambda theirs=theirs: seconds(lambda: peer(theirs))  # type: ignore[misc]  # a default
        found = in_turns(works, options.pick(9, 3))
        each = {name: value / size * MICRO for name, value in found.items()}
        line = Line(
            what=f"a recorded operation, all in, of {size:,}",
            value=each["ours"],
            unit="µs",
            limit=limit,
            floors=(Beside(name="bare loop", value=each["loop"]),),
            peers=(Beside(name="", value=each["peer"]),) if "peer" in each else (),
        )
        lines.append(line)
    small, large = lines[-2].value, lines[-1].value
    sizes = f"{_named(options, -1)} beside {_named(options, -2)}"
    lines.append(
        Line(what=f"linear: one of {sizes}", value=large / small, unit="times", limit=1.3)
    )
    return lines


def _named(options: Options, place: int) -> str:
    return f"{options.pick(_SIZES, _SIZES[:2])[place]:,}"


def invocation(options: Options) -> list[Line]:
    """One invocation against a client that answers at once: fixed cost, and that of a new step."""
    size = 200
    ours = durable_execution(functions.steps.handler, client=AnswersAtOnce())
    peer = _peer(options)
    progress("invocations against a client that answers at once")
    works: dict[str, Callable[[], float]] = {
        "fixed": lambda: seconds(lambda: _succeed(ours, _fresh(0))),
        "steps": lambda: seconds(lambda: _succeed(ours, _fresh(size))),
        "loop": lambda: bare_loop(size),
    }
    if peer is not None:
        works["peer fixed"] = lambda: seconds(lambda: peer(_fresh(0)))
        works["peer steps"] = lambda: seconds(lambda: peer(_fresh(size)))
    _succeed(ours, _fresh(1))  # the first one makes the event loop
    found = in_turns(works, options.pick(15, 5))
    per_step = (found["steps"] - found["fixed"]) / size * MICRO
    fixed_peers, step_peers = (), ()
    if peer is not None:
        theirs = (found["peer steps"] - found["peer fixed"]) / size
        fixed_peers = (Beside(name="", value=found["peer fixed"] * MILLI),)
        step_peers = (Beside(name="", value=theirs * MICRO),)
    return [
        Line(
            what="an invocation, fixed",
            value=found["fixed"] * MILLI,
            unit="ms",
            limit=_INVOCATION_MS,
            peers=fixed_peers,
        ),
        Line(
            what="a new step in it",
            value=per_step,
            unit="µs",
            limit=_INVOCATION_STEP_US,
            floors=(Beside(name="bare loop", value=found["loop"] * MICRO),),
            peers=step_peers,
        ),
    ]


def profile_replay_async(options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `replay_async`."""
    given = event(options.pick(10_000, 1_000))
    ours = durable_execution(functions.steps.handler, client=AnswersAtOnce())
    return lambda: _succeed(ours, given)


def profile_replay_sync(options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `replay_sync`."""
    given = event(options.pick(10_000, 1_000))
    ours = durable_execution(functions.blocking_steps.handler, client=BlockingAnswersAtOnce())
    return lambda: _succeed(ours, given)


def profile_invocation(options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `invocation`."""
    given = _fresh(2_000)
    ours = durable_execution(functions.steps.handler, client=AnswersAtOnce())
    return lambda: _succeed(ours, given)


def _peer(options: Options) -> Callable[[dict[str, Any]], object] | None:
    if not options.has_peers:
        return None
    from benchmarks.peers import Invocations  # noqa: PLC0415 - half a second of imports

    return Invocations().run


def _succeed(function: DurableFunction, given: dict[str, Any]) -> None:
    output = function(given)
    assert output["Status"] == "SUCCEEDED", output


def _fresh(count: int) -> dict[str, Any]:
    """Give the event of a first invocation that makes *count* steps."""
    given = event(0)
    [root] = given["InitialExecutionState"]["Operations"]
    root["ExecutionDetails"]["InputPayload"] = json.dumps(count)
    return given
