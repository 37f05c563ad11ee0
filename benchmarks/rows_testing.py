"""What the test kit costs its users: a wait that is skipped, a test, and a crash at every point."""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter

from benchmarks import functions
from benchmarks.measure import MILLI, Options, Peer, in_turns, progress, seconds
from benchmarks.report import Beside, Line
from durably.testing import TestEngine

_SKIPPED_MS = 1
_STEPS = 10
_WAITS = 20


def skipped_waits(options: Options) -> list[Line]:
    """Sleep for days on the virtual clock; what a replay and an invocation cost is part of it."""
    runs = options.pick(100, 20)
    progress(f"{runs} executions of {_WAITS} waits of a day, on the virtual clock")
    works = {
        str(waits): partial(seconds, partial(_run_waits, runs, waits)) for waits in (0, 1, _WAITS)
    }
    peers = [Peer("", _peer_wait)] if options.has_peers else []
    found = in_turns(works, options.pick(9, 3), peers)
    return [
        Line(
            what="a wait of a day that is skipped",
            value=(found["1"] - found["0"]) / runs * MILLI,
            unit="ms",
            limit=_SKIPPED_MS,
        ),
        Line(
            what=f"the same, each of {_WAITS} in one execution",
            value=(found[str(_WAITS)] - found["0"]) / runs / _WAITS * MILLI,
            unit="ms",
            limit=_SKIPPED_MS,
            peers=tuple(one.beside(MILLI) for one in peers),
        ),
    ]


def _peer_wait() -> float:
    from benchmarks import peers  # noqa: PLC0415 - half a second of imports

    with peers.local_runner(peers.sleeps) as runner:
        began = perf_counter()
        peers.result_of(runner, _WAITS)
        return (perf_counter() - began) / _WAITS


def _run_waits(runs: int, waits: int) -> None:
    async def run() -> None:
        async with TestEngine([functions.sleeps]) as t:
            for _ in range(runs):
                assert (await t.run(functions.sleeps, waits)).result == waits

    asyncio.run(run())


def tests(options: Options) -> list[Line]:
    """Test a function of ten steps: open an engine, run it, look at the result, close it."""
    count = options.pick(200, 40)
    progress(f"{count} tests of {_STEPS} steps")
    works = {
        name: partial(seconds, partial(_test, count, steps, is_replayed=is_replayed))
        for name, steps, is_replayed in (
            ("empty", 0, False),
            ("tests", _STEPS, False),
            ("replayed", _STEPS, True),
        )
    }
    peers = [Peer("", _peer_test)] if options.has_peers else []
    found = in_turns(works, options.pick(9, 3), peers)
    return [
        Line(
            what=f"a test of a function of {_STEPS} steps",
            value=found["tests"] / count * MILLI,
            unit="ms",
            floors=(Beside(name="without steps", value=found["empty"] / count * MILLI),),
            peers=tuple(one.beside(MILLI) for one in peers),
        ),
        Line(
            what="the same, replayed from every state",
            value=found["replayed"] / count * MILLI,
            unit="ms",
        ),
        Line(what="such tests", value=count / found["tests"], unit="/s", is_at_least=True),
    ]


def _peer_test() -> float:
    from benchmarks import peers  # noqa: PLC0415 - half a second of imports

    began = perf_counter()
    with peers.local_runner(peers.steps) as runner:
        peers.result_of(runner, _STEPS)
    return perf_counter() - began


def _test(count: int, steps: int, *, is_replayed: bool) -> None:
    async def run() -> None:
        for _ in range(count):
            async with TestEngine([functions.adds], replay=is_replayed) as t:
                assert (await t.run(functions.adds, steps)).result == steps

    asyncio.run(run())


def crashes(options: Options) -> list[Line]:
    """Crash a function of ten steps at every point, each in a process of its own, and go on."""
    rounds = options.pick(9, 3)
    progress(f"crashes at every point of {_STEPS} steps, {rounds} times")
    found = sorted(asyncio.run(_crash()) for _ in range(rounds))
    return [
        Line(
            what=f"crashes at a point of a function of {_STEPS} steps",
            value=found[rounds // 2],
            unit="/s",
            is_at_least=True,
        )
    ]


async def _crash() -> float:
    """Give how many crashes a second there are; each is followed by the rest of the execution."""
    async with TestEngine([functions.adds]) as t:
        began = perf_counter()
        report = await t.crash_everywhere(functions.adds, _STEPS, mode="all", orders=False)
        return len(report.points) / (perf_counter() - began)
