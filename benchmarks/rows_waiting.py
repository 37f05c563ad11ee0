"""What waiting costs: timers, callbacks, and a hundred thousand executions asleep."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from benchmarks import functions
from benchmarks.databases import bytes_on_disk, engine, folder
from benchmarks.floors import BareCommits
from benchmarks.measure import (
    LINEAR,
    MIB,
    MICRO,
    MILLI,
    Options,
    measured,
    percentile,
    progress,
    resident_bytes,
)
from benchmarks.report import Beside, Line
from durably.app.engine import Engine
from durably.app.execution import Execution
from durably.engine.store import Listed, Query
from durably.engine.views import Standing

_ASLEEP = 100_000
_SQLITE_MB = 30
_MEMORY_MB = 250
_LATE_P50_MS = 5
_LATE_P99_MS = 50
_CALLBACK_MS = 2
_AT_ONCE = 500
_NOTICE_SECONDS = 0.005


def timers(options: Options) -> list[Line]:
    """How late timers ring when nothing else goes on."""
    with folder() as inside:
        return asyncio.run(_timers(options, inside))


async def _timers(options: Options, inside: Path) -> list[Line]:
    count = options.pick(400, 60)
    progress(f"{count} sleeps of one second, one after the other begun")
    async with engine(inside / "timers.db") as ours:
        late = await late_timers(ours, count)
    p50, p99 = (percentile(late, percent) * MILLI for percent in (50, 99))
    return [
        Line(
            what="lateness of a timer, SQLite, idle, p50", value=p50, unit="ms", limit=_LATE_P50_MS
        ),
        Line(
            what="lateness of a timer, SQLite, idle, p99", value=p99, unit="ms", limit=_LATE_P99_MS
        ),
    ]


async def late_timers(ours: Engine, count: int) -> list[float]:
    """Sleep for a second, so often; give how late each timer is."""
    late: list[float] = []

    async def one() -> None:
        run = await ours.start(functions.sleeper, 1)
        woken = await run.result()
        late.append(woken - await _due_at(run))

    async with asyncio.TaskGroup() as sleeping:
        for _ in range(count):
            sleeping.create_task(one())
            await asyncio.sleep(0.023)
    return late


async def _due_at(run: Execution) -> float:
    for event in await run.history():
        if event.wait_started_details is not None:
            due = event.wait_started_details.scheduled_end_timestamp
            assert due is not None
            return due.timestamp()
    raise AssertionError("it has slept")


def callbacks(options: Options) -> list[Line]:
    """How long it takes from an answer to the handler that goes on."""
    with folder() as inside:
        return asyncio.run(_callbacks(options, inside))


async def _callbacks(options: Options, inside: Path) -> list[Line]:
    count = options.pick(300, 60)
    progress(f"{count} callbacks, one after the other")
    async with engine(inside / "callbacks.db") as ours:
        taken = [await answer(ours, f"c{number}") for number in range(count)]
    with BareCommits(inside / "bare.db") as commits:
        bare = median(commits.seconds(1) for _ in range(count))
    return [
        Line(
            what="callback sent until the handler goes on, SQLite, p50",
            value=percentile(taken, 50) * MILLI,
            unit="ms",
            limit=_CALLBACK_MS,
            floors=(Beside(name="synced commit", value=bare * MILLI),),
            peers=_peer_callbacks(options, inside / "peer.db"),
        ),
        Line(what="the same, p99", value=percentile(taken, 99) * MILLI, unit="ms"),
    ]


async def answer(ours: Engine, key: str) -> float:
    """Have one execution wait until its invocation has ended, answer, and time until it goes on."""
    waiting = functions.callback_ids[key] = asyncio.get_running_loop().create_future()
    run = await ours.start(functions.answered, key)
    callback_id = await waiting
    while (await ours.why(run)).standing is not Standing.WAITING:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)
    began = perf_counter()
    await ours.callback_succeed(callback_id)
    await run.result()
    del functions.callback_ids[key]
    return functions.woken_at.pop(key) - began


def _peer_callbacks(options: Options, database: Path) -> tuple[Beside, ...]:
    if not options.has_peers:
        return ()
    from benchmarks import peers  # noqa: PLC0415 - half a second of imports

    def work() -> float:
        taken = []
        with peers.local_runner(peers.answered, database) as runner:
            for number in range(7):
                key = f"c{number}"
                arn = runner.run_async(input=f'"{key}"', execution_name=key)
                callback_id = runner.wait_for_callback(arn)
                peers.let_settle()
                began = perf_counter()
                runner.send_callback_success(callback_id, b'"yes"')
                runner.wait_for_result(arn)
                taken.append(peers.woken_at[key] - began)
        return median(taken)

    progress("callbacks by the official local runner")
    return (measured("local runner", work, MILLI),)


def sleeping_memory(options: Options) -> list[Line]:
    """What executions asleep cost in the memory store."""
    return asyncio.run(_sleeping(options, None))


def sleeping_sqlite(options: Options) -> list[Line]:
    """What executions asleep cost on SQLite."""
    with folder() as inside:
        return asyncio.run(_sleeping(options, inside / "sleeping.db"))


async def _sleeping(options: Options, database: Path | None) -> list[Line]:
    count = options.pick(_ASLEEP, _ASLEEP // 10)
    kind, megabytes = ("memory", _MEMORY_MB) if database is None else ("SQLite", _SQLITE_MB)
    async with engine(database) as ours:
        await _put_to_sleep(ours, _AT_ONCE)
        few = [await _wake_up_seconds(ours, number) for number in range(options.pick(300, 100))]
        before = resident_bytes()
        began = perf_counter()
        await _put_to_sleep(ours, count)
        rate = count / (perf_counter() - began)
        more = (resident_bytes() - before) / MIB
        many = [await _wake_up_seconds(ours, number) for number in range(options.pick(300, 100))]
        began = process_time()
        await asyncio.sleep(1)
        idle = process_time() - began
    limit = megabytes if count == _ASLEEP else None  # caches weigh more on fewer
    asleep = f"{count:,} asleep, {kind}"
    lines = [
        Line(what=f"{asleep}: more memory", value=more, unit="MB", limit=limit),
        Line(
            what=f"{asleep}: a wake-up",
            value=median(many) * MICRO,
            unit="µs",
            floors=(Beside(name=f"with {_AT_ONCE} asleep", value=median(few) * MICRO),),
        ),
        Line(
            what=f"{asleep}: a wake-up beside one with {_AT_ONCE}",
            value=median(many) / median(few),
            unit="times",
            limit=LINEAR,
        ),
        Line(what=f"{asleep}: processor while idle", value=idle * 100, unit="%"),
        Line(what=f"{asleep}: put to sleep", value=rate, unit="/s"),
    ]
    if database is not None:
        lines.append(
            Line(what=f"{asleep}: on disk", value=bytes_on_disk(database) / MIB, unit="MB")
        )
    return lines


async def _put_to_sleep(ours: Engine, count: int) -> None:
    """Start *count* executions that sleep for a year, and return when all of them do."""
    for start in range(0, count, _AT_ONCE):
        if start and start % 20_000 == 0:
            progress(f"{start:,} of {count:,} asleep")
        few = min(_AT_ONCE, count - start)
        started = (ours.start(functions.sleeper, functions.YEAR_SECONDS) for _ in range(few))
        await asyncio.gather(*started)
        while await _are_awake(ours):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(_NOTICE_SECONDS)


async def _are_awake(ours: Engine) -> bool:
    """Say whether one of those started last does not sleep yet."""
    page = await ours.list(Query(function_name=functions.sleeper.name, limit=_AT_ONCE))
    return any(one.is_claimed or _is_near(one) for one in page.executions)


def _is_near(one: Listed) -> bool:
    assert one.wake_at is not None, "what sleeps will be woken"
    return one.wake_at - one.summary.started_at < timedelta(days=1)


async def _wake_up_seconds(ours: Engine, number: int) -> float:
    """Time one execution of three steps, from its start to its end."""
    began = perf_counter()
    await (await ours.start(functions.three_steps, number)).result()
    return perf_counter() - began


def profile_sleeping_memory(_options: Options) -> list[str]:
    """Say what keeps the memory: the places that allocated most of it."""
    return asyncio.run(_memory_held(None))


def profile_sleeping_sqlite(_options: Options) -> list[str]:
    """Say the same for SQLite."""
    with folder() as inside:
        return asyncio.run(_memory_held(inside / "sleeping.db"))


async def _memory_held(database: Path | None) -> list[str]:
    count = 5_000
    async with engine(database) as ours:
        await _put_to_sleep(ours, _AT_ONCE)
        tracemalloc.start()
        before = tracemalloc.take_snapshot()
        await _put_to_sleep(ours, count)
        gc.collect()
        after = tracemalloc.take_snapshot()
        tracemalloc.stop()
    found = after.compare_to(before, "lineno")[:15]
    held = [f"{one.size_diff / count:8.0f}  {_place(one)}" for one in found]
    return ["bytes for one asleep, by the line that allocated them:", *held]


def _place(one: tracemalloc.StatisticDiff) -> str:
    frame = one.traceback[0]
    return f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}"


def profile_callbacks(_options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `callbacks`."""

    async def work(inside: Path) -> None:
        async with engine(inside / "callbacks.db") as ours:
            for number in range(200):
                await answer(ours, f"p{number}")

    def run() -> None:
        with folder() as inside:
            asyncio.run(work(inside))

    return run
