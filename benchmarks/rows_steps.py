"""What durable steps cost in an engine: alone, and many executions at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks import functions
from benchmarks.databases import engine, folder, written
from benchmarks.floors import BareCommits, bare_loop_seconds
from benchmarks.measure import LINEAR, MICRO, Options, measured, progress, seconds_async
from benchmarks.report import Beside, Line
from durably import DurableContext, DurableFunction, durable_execution
from durably.app.engine import Engine

_STEP_MEMORY_US = 60
_STEP_SQLITE_TIMES = 1.5
_SYNCS_A_STEP = 1.0
_EXECUTIONS_A_SECOND = 2_000
_WARM_UP = 100


def step_memory(options: Options) -> list[Line]:
    """A durable step in memory."""
    return asyncio.run(_step_memory(options))


async def _step_memory(options: Options) -> list[Line]:
    sizes = options.pick((100, 1_000, 10_000), (100, 1_000))
    lines = []
    async with engine() as ours:
        await _run(ours, functions.steps, _WARM_UP)
        for size, rounds in zip(sizes, options.pick((21, 9, 5), (7, 3)), strict=True):
            progress(f"{size:,} steps in memory")
            found, floor = [], []
            for _ in range(rounds):
                found.append(await _run(ours, functions.steps, size))
                floor.append(await bare_loop_seconds(size))
            line = Line(
                what=f"a step, in memory, of {size:,}",
                value=median(found) * MICRO,
                unit="µs",
                limit=_STEP_MEMORY_US,
                floors=(Beside(name="bare loop", value=median(floor) * MICRO),),
                peers=_peer_steps(options, size),
            )
            lines.append(line)
    return [*lines, _flat(lines)]


def step_sqlite(options: Options) -> list[Line]:
    """A durable step on SQLite beside one synced commit."""
    with folder() as inside:
        return asyncio.run(_step_sqlite(options, inside))


async def _step_sqlite(options: Options, inside: Path) -> list[Line]:
    found, bare = await _beside_commits(options, inside)
    lines = [
        Line(
            what="a step on SQLite, one execution",
            value=median(found) * MICRO,
            unit="µs",
            floors=(Beside(name="synced commit", value=median(bare) * MICRO),),
            peers=_peer_steps(options, 50, inside / "peer.db"),
        ),
        Line(
            what="the same in synced commits",
            value=median(found) / median(bare),
            unit="times",
            limit=_STEP_SQLITE_TIMES,
            note="Medians; ten steps and ten bare commits of one row in turns, on one disk.",
        ),
    ]
    sizes = options.pick((1_000, 10_000), (200, 1_000))
    grown = []
    async with engine(inside / "flat.db") as ours:
        await _run(ours, functions.steps, _WARM_UP)
        for size, rounds in zip(sizes, (5, 3), strict=True):
            progress(f"{size:,} steps on SQLite")
            each = [await _run(ours, functions.steps, size) for _ in range(rounds)]
            what = f"a step on SQLite, of {size:,}"
            grown.append(Line(what=what, value=median(each) * MICRO, unit="µs"))
    return [*lines, *grown, _flat(grown)]


async def _beside_commits(options: Options, inside: Path) -> tuple[list[float], list[float]]:
    """Make ten steps and ten bare commits in turns, in one process and on one disk."""
    found: list[float] = []
    bare: list[float] = []
    rounds, few = options.pick(300, 60), 10
    progress("steps on SQLite and synced commits in turns")
    with BareCommits(inside / "bare.db") as commits:

        @durable_execution
        async def in_turns(_input: object, ctx: DurableContext) -> None:
            for _round in range(rounds):
                for number in range(few):
                    began = functions.seconds()
                    await ctx.step("add", functions.plus_one, number)
                    found.append(functions.seconds() - began)
                bare.extend(commits.seconds(1) for _ in range(few))

        async with Engine(f"sqlite:{inside / 'turns.db'}", [in_turns]) as ours:
            await (await ours.start(in_turns)).result()
    warm = rounds * few // 5
    return found[warm:], bare[warm:]


def synced(_options: Options) -> list[Line]:
    """Synced writes for one short step."""
    with folder() as inside:
        return asyncio.run(_synced(inside))


async def _synced(inside: Path) -> list[Line]:
    progress("counting synced writes")
    bare = inside / "bare.db"
    with BareCommits(bare) as commits:
        commits.seconds(few := 20)
        before = written(bare)
        commits.seconds(few)
        floor = (written(bare)[1] - before[1]) / few
    lines = []
    for function in (functions.steps, functions.blocking_steps):
        syncs, pages = await _written_by_a_step(function, inside / f"{function.name}.db")
        kind = "async" if function.is_async else "sync"
        what = f"synced writes a short step, {kind}"
        lines += [
            Line(what=what, value=syncs, unit="", limit=_SYNCS_A_STEP),
            Line(
                what=f"pages written for it, {kind}",
                value=pages,
                unit="",
                floors=(Beside(name="bare row", value=floor),),
            ),
        ]
    return lines


async def _written_by_a_step(function: DurableFunction, database: Path) -> tuple[float, float]:
    """Give commits and pages for one step: what many steps write more than a few do."""
    async with engine(database) as ours:
        few, more = 20, 120
        before = written(database)
        await _run(ours, function, few)
        middle = written(database)
        await _run(ours, function, more)
        after = written(database)
    syncs, pages = (
        ((late - halfway) - (halfway - early)) / (more - few)
        for early, halfway, late in zip(before, middle, after, strict=True)
    )
    return syncs, pages


def many(options: Options) -> list[Line]:
    """Many executions of three steps at once, on SQLite."""
    with folder() as inside:
        return asyncio.run(_many(options, inside))


async def _many(options: Options, inside: Path) -> list[Line]:
    count = options.pick(4_000, 1_000)
    rates, memory_rates, commit_rates = [], [], []
    for number in range(options.pick(5, 3)):
        progress(f"{count:,} executions of three steps at once, round {number + 1}")
        async with engine(inside / f"{number}.db") as ours:
            rates.append(count / await seconds_async(partial(_at_once, ours, count)))
        async with engine() as ours:
            memory_rates.append(count / await seconds_async(partial(_at_once, ours, count)))
        with BareCommits(inside / f"bare{number}.db") as commits:
            commit_rates.append(1 / commits.seconds(500))
    floors = (
        Beside(name="in memory", value=median(memory_rates)),
        Beside(name="one synced commit each", value=median(commit_rates)),
    )
    return [
        Line(
            what=f"{count:,} executions of three steps at once, SQLite",
            value=median(rates),
            unit="/s",
            limit=_EXECUTIONS_A_SECOND,
            is_at_least=True,
            floors=floors,
            peers=_peer_executions(options, inside / "peer.db"),
        )
    ]


async def _at_once(ours: Engine, count: int) -> None:
    async def one(number: int) -> None:
        await (await ours.start(functions.three_steps, number)).result()

    await asyncio.gather(*map(one, range(count)))


def mapped(options: Options) -> list[Line]:
    """A map over many items, in memory and on SQLite."""
    with folder() as inside:
        return asyncio.run(_mapped(options, inside))


async def _mapped(options: Options, inside: Path) -> list[Line]:
    lines = []
    kinds = (("in memory", 100, None), ("on SQLite", 150, inside / "map.db"))
    for kind, limit, database in kinds:
        async with engine(database) as ours:
            await _run(ours, functions.mapped, _WARM_UP)
            lines += await _maps(options, ours, kind, limit)
    return lines


async def _maps(options: Options, ours: Engine, kind: str, limit: float) -> list[Line]:
    sizes = options.pick((1_000, 10_000), (100, 1_000))
    plain = []
    for size, rounds in zip(sizes, options.pick((7, 3), (3, 3)), strict=True):
        progress(f"a map over {size:,} items {kind}")
        each = [await _run(ours, functions.mapped, size) for _ in range(rounds)]
        line = Line(
            what=f"an item of a map over {size:,}, {kind}",
            value=median(each) * MICRO,
            unit="µs",
            limit=limit,
            peers=_peer_map(options, size) if kind == "in memory" else (),
        )
        plain.append(line)
    stepped = [await _run(ours, functions.mapped_steps, sizes[-1]) for _ in range(3)]
    what = f"the same, a step in each item, {sizes[-1]:,}"
    note = "A map with a step in each item: an item and a step, so no target of its own."
    with_steps = Line(what=what, value=median(stepped) * MICRO, unit="µs", note=note)
    return [*plain, _flat(plain), with_steps]


def profile_step_memory(_options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `step_memory`."""
    return lambda: asyncio.run(_in(engine(), lambda ours: _run(ours, functions.steps, 3_000)))


def profile_step_sqlite(_options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `step_sqlite`."""
    return lambda: _on_disk(lambda ours: _run(ours, functions.steps, 2_000))


def profile_many(_options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `many`."""
    return lambda: _on_disk(lambda ours: _at_once(ours, 2_000))


def profile_mapped(options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `mapped`."""
    size = options.pick(10_000, 1_000)
    return lambda: _on_disk(lambda ours: _run(ours, functions.mapped, size))


def _on_disk(work: Callable[[Engine], Awaitable[object]]) -> None:
    with folder() as inside:
        asyncio.run(_in(engine(inside / "profiled.db"), work))


async def _in(ours: Engine, work: Callable[[Engine], Awaitable[object]]) -> None:
    async with ours:
        await work(ours)


async def _run(ours: Engine, function: DurableFunction, given: object) -> float:
    """Run one execution to its end; give what it has measured."""
    result: float = await (await ours.start(function, given)).result()
    return result


def _flat(lines: list[Line]) -> Line:
    """Compare the last line with the one before it."""
    large, small = lines[-1], lines[-2]
    what = f"flat: {large.what.rpartition(' ')[2]} beside {small.what.rpartition(' ')[2]}"
    if "map over" in large.what:
        what = "linear: the larger beside the smaller"
    return Line(what=what, value=large.value / small.value, unit="times", limit=LINEAR)


def _peer_steps(options: Options, size: int, database: Path | None = None) -> tuple[Beside, ...]:
    if not options.has_peers or size > 1_000:  # noqa: PLR2004 - it would take minutes
        return ()
    from benchmarks import peers  # noqa: PLC0415 - half a second of imports

    def work() -> float:
        with peers.local_runner(peers.steps, database) as runner:
            return peers.result_of(runner, size)

    progress(f"{size:,} steps by the official local runner")
    return (measured("local runner", work, MICRO),)


def _peer_map(options: Options, size: int) -> tuple[Beside, ...]:
    if not options.has_peers or size > 1_000:  # noqa: PLR2004 - as above
        return ()
    from benchmarks import peers  # noqa: PLC0415 - as above

    def work() -> float:
        with peers.local_runner(peers.mapped) as runner:
            return peers.result_of(runner, size)

    progress(f"a map over {size:,} items by the official local runner")
    return (measured("local runner", work, MICRO),)


def _peer_executions(options: Options, database: Path) -> tuple[Beside, ...]:
    if not options.has_peers:
        return ()
    from benchmarks import peers  # noqa: PLC0415 - as above

    count = 20

    def work() -> float:
        with peers.local_runner(peers.three_steps, database) as runner:
            began = perf_counter()
            arns = [runner.run_async(input="1", execution_name=f"e{n}") for n in range(count)]
            for arn in arns:
                runner.wait_for_result(arn)
            return count / (perf_counter() - began)

    progress(f"{count} executions by the official local runner")
    return (measured("local runner", work),)
