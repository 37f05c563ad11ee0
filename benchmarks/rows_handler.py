"""What the SDK half costs by itself: replay, new steps, one invocation."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from benchmarks import functions
from benchmarks.floors import bare_loop
from benchmarks.measure import LINEAR, MICRO, MILLI, Options, Peer, in_turns, progress, seconds
from benchmarks.recorded import AnswersAtOnce, BlockingAnswersAtOnce, event, official_id
from benchmarks.report import Beside, Line
from durably import DurableFunction, durable_execution

_REPLAY_ASYNC_US = 10
_REPLAY_SYNC_US = 15
_INVOCATION_MS = 2
_INVOCATION_STEP_US = 100
_SIZES = (100, 1_000, 10_000)

_Handler: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


def replay_async(options: Options) -> list[Line]:
    """Replay recorded steps in an `async def` handler."""
    return _replay(options, functions.steps, AnswersAtOnce(), _REPLAY_ASYNC_US)


def replay_sync(options: Options) -> list[Line]:
    """Replay recorded steps in a `def` handler."""
    return _replay(options, functions.blocking_steps, BlockingAnswersAtOnce(), _REPLAY_SYNC_US)


def _replay(options: Options, function: DurableFunction, client: Any, limit: float) -> list[Line]:
    """Measure whole invocations, from the event as Lambda passes it; one without steps is fixed."""
    ours = durable_execution(function.handler, client=client)
    peer = _peer(options)
    sizes = options.pick(_SIZES, _SIZES[:2])
    lines = []
    for size, rounds in zip(sizes, options.pick((41, 21, 9), (15, 7)), strict=True):
        progress(f"replay of {size:,} operations, {'async' if ours.is_async else 'sync'}")
        works: dict[str, Callable[[], float]] = {"loop": partial(bare_loop, size)}
        for name, count in (("ours", size), ("ours fixed", 0)):
            works[name] = _invoking(ours, event(count))
        peers = [] if peer is None else [Peer("", _inside(peer, event(size, official_id)))]
        found = in_turns(works, rounds, peers)
        line = Line(
            what=f"a recorded operation, all in, of {size:,}",
            value=(found["ours"] - found["ours fixed"]) / size * MICRO,
            unit="µs",
            limit=limit,
            floors=(Beside(name="bare loop", value=found["loop"] * MICRO),),
            peers=tuple(one.beside(MICRO) for one in peers),
        )
        lines.append(line)
    growth = lines[-1].value / lines[-2].value
    what = f"linear: one of {sizes[-1]:,} beside one of {sizes[-2]:,}"
    note = (
        "Replay: a whole invocation less one without operations, which is the row `invocation`. "
        "The official SDK ends at the next tick of 100 ms, so it is timed inside: reading the "
        "event, and the handler."
    )
    lines.append(Line(what=what, value=growth, unit="times", limit=LINEAR, note=note))
    return lines


def invocation(options: Options) -> list[Line]:
    """One invocation against a client that answers at once: fixed cost, and that of a new step."""
    size = 200
    ours = durable_execution(functions.steps.handler, client=AnswersAtOnce())
    peer = _peer(options)
    progress("invocations against a client that answers at once")
    works: dict[str, Callable[[], float]] = {
        "fixed": _invoking(ours, _fresh(0)),
        "steps": _invoking(ours, _fresh(size)),
        "loop": partial(bare_loop, size),
    }
    fixed_peers = [] if peer is None else [Peer("", _invoking(peer, _fresh(0)))]
    step_peers = [] if peer is None else [Peer("", _inside(peer, _fresh(size)))]
    _succeed(ours, _fresh(1))  # the first one makes the event loop
    found = in_turns(works, options.pick(15, 5), [*fixed_peers, *step_peers])
    per_step = (found["steps"] - found["fixed"]) / size * MICRO
    return [
        Line(
            what="an invocation, fixed",
            value=found["fixed"] * MILLI,
            unit="ms",
            limit=_INVOCATION_MS,
            peers=tuple(one.beside(MILLI) for one in fixed_peers),
        ),
        Line(
            what="a new step in it",
            value=per_step,
            unit="µs",
            limit=_INVOCATION_STEP_US,
            floors=(Beside(name="bare loop", value=found["loop"] * MICRO),),
            peers=tuple(one.beside(MICRO) for one in step_peers),
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


def profile_invocation(_options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `invocation`."""
    given = _fresh(2_000)
    ours = durable_execution(functions.steps.handler, client=AnswersAtOnce())
    return lambda: _succeed(ours, given)


def _peer(options: Options) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    if not options.has_peers:
        return None
    from benchmarks.peers import Invocations  # noqa: PLC0415 - half a second of imports

    return Invocations().run


def _invoking(function: _Handler, given: dict[str, Any]) -> Callable[[], float]:
    return lambda: seconds(lambda: _succeed(function, given))


def _inside(peer: _Handler, given: dict[str, Any]) -> Callable[[], float]:
    """Time the official SDK for one operation: what it takes to read the event, and its handler."""
    from benchmarks.peers import read_event  # noqa: PLC0415 - as above

    operations = len(given["InitialExecutionState"]["Operations"])

    def work() -> float:
        reading = seconds(lambda: read_event(given))
        return float(peer(given)["Result"]) + reading / operations

    return work


def _succeed(function: _Handler, given: dict[str, Any]) -> None:
    output = function(given)
    assert output["Status"] == "SUCCEEDED", output


def _fresh(count: int) -> dict[str, Any]:
    """Give the event of a first invocation that makes *count* steps."""
    given = event(0)
    [root] = given["InitialExecutionState"]["Operations"]
    root["ExecutionDetails"]["InputPayload"] = json.dumps(count)
    return given
