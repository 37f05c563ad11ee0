"""absurd on PostgreSQL, in a process of its own; see `postgres.ask`.

Its schema comes from `absurdctl`, which has it inside. It is used as its documentation says; its
workers look for work every 10 ms instead of every 250.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter, time  # noqa: TID251 - by which a timer is late
from typing import Any

import absurdctl
import psycopg
from absurd_sdk import AsyncAbsurd

from benchmarks.postgres import act, wait_until_done, workers

_DONE = "SELECT count(*) FROM absurd.t_bench WHERE state = 'completed'"
_QUEUE = "bench"
_AT_ONCE = 100
_POLL_SECONDS = 0.01
_reached: dict[str, asyncio.Future[float]] = {}


async def plus_one() -> int:
    """Be a step that costs nothing."""
    return 1


async def steps_of(count: int, ctx: Any) -> None:
    """Make *count* steps, one after the other; say how long one took."""
    began = perf_counter()
    for _ in range(count):
        await ctx.step("add", plus_one)
    _reached["steps"].set_result((perf_counter() - began) / count)


async def three_steps(_number: int, ctx: Any) -> None:
    """Make three steps."""
    for _ in range(3):
        await ctx.step("add", plus_one)


async def recovered(count: int, ctx: Any) -> None:
    """Make *count* steps, then wait for an event."""
    for _ in range(count):
        await ctx.step("add", plus_one)
    await ctx.await_event("answer")
    _reached["recovered"].set_result(perf_counter())


async def sleeper(key: str, ctx: Any) -> None:
    """Sleep for a second; say how much longer it took."""

    async def now() -> float:
        return time()

    began = await ctx.step("now", now)
    await ctx.sleep_for("sleep", 1)
    _reached[key].set_result(time() - began - 1)


async def answered(key: str, ctx: Any) -> None:
    """Wait for an event; say when it came."""
    await ctx.await_event(key)
    _reached[key].set_result(perf_counter())


def steps(url: str, count: int) -> float:
    """Make steps, one after the other; give the seconds for one."""

    async def run(app: AsyncAbsurd) -> float:
        return await _reached_by(app, "steps", "steps_of", count)

    return float(_in(url, run))


def many(url: str, count: int) -> float:
    """Run so many tasks of three steps at once; give how many a second."""

    async def run(app: AsyncAbsurd) -> float:
        began = perf_counter()
        for number in range(count):
            await app.spawn("three_steps", number)
        await asyncio.to_thread(wait_until_done, url, _DONE, count)
        return count / (perf_counter() - began)

    return float(_in(url, run))


def many_by(url: str, count: int, processes: int) -> float:
    """Have other processes do it: spawn all of them here, and look until all have ended."""

    async def start() -> None:
        app = AsyncAbsurd(url, queue_name=_QUEUE)
        for number in range(count):
            await app.spawn("three_steps", number, queue=_QUEUE)
        await app.close()

    _prepare(url)
    with workers("pg_absurd", url, processes):
        began = perf_counter()
        asyncio.run(start())
        wait_until_done(url, _DONE, count)
        return count / (perf_counter() - began)


def fan_out(url: str, count: int) -> float:
    """Make so many steps, one after the other: a task of it can do no two things at once."""
    return steps(url, count)


def begin(url: str, count: int) -> str:
    """Make so many steps, and wait for an event."""

    async def run(app: AsyncAbsurd) -> str:
        await app.spawn("recovered", count)
        asleep = "SELECT count(*) FROM absurd.t_bench WHERE state = 'sleeping'"
        await asyncio.to_thread(wait_until_done, url, asleep, 1)
        return "begun"

    return str(_in(url, run))


def recover(url: str, _begun: str) -> float:
    """Emit it, in another process; give the seconds until the task goes on."""

    async def run(app: AsyncAbsurd) -> float:
        reached = _reached["recovered"] = asyncio.get_running_loop().create_future()
        began = perf_counter()
        await app.emit_event("answer")
        return await reached - began

    return float(_in(url, run))


def timers(url: str, count: int) -> list[float]:
    """Sleep for a second, so often; give how much longer each took."""

    async def run(app: AsyncAbsurd) -> list[float]:
        waiting = []
        for number in range(count):
            key = f"t{number}"
            waiting.append(asyncio.create_task(_reached_by(app, key, "sleeper", key)))
            await asyncio.sleep(0.023)
        return await asyncio.gather(*waiting)

    return list(_in(url, run))


def events(url: str, count: int) -> list[float]:
    """Emit events, one after the other; give the seconds until the task goes on."""

    async def one(app: AsyncAbsurd, key: str) -> float:
        reached = _reached[key] = asyncio.get_running_loop().create_future()
        await app.spawn("answered", key)
        await asyncio.sleep(0.1)
        began = perf_counter()
        await app.emit_event(key)
        return await reached - began

    async def run(app: AsyncAbsurd) -> list[float]:
        return [await one(app, f"c{number}") for number in range(count)]

    return list(_in(url, run))


def work(url: str) -> None:
    """Be a worker until this process is killed."""

    async def forever(_app: AsyncAbsurd) -> None:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

    _in(url, forever)


def _prepare(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('absurd.queues')").fetchone() == (None,):
            connection.execute(absurdctl.BUNDLED_SCHEMA_SQL.encode())
            connection.execute("SELECT absurd.create_queue(%s)", (_QUEUE,))


def _in(url: str, work: Callable[[AsyncAbsurd], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        worker, client = (AsyncAbsurd(url, queue_name=_QUEUE) for _ in range(2))
        for app in (worker, client):
            for task in (steps_of, three_steps, recovered, sleeper, answered):
                app.register_task(task.__name__)(task)
        working = asyncio.create_task(
            worker.start_worker(concurrency=_AT_ONCE, poll_interval=_POLL_SECONDS)
        )
        try:
            return await work(client)
        finally:
            worker.stop_worker()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await worker.close()
            await client.close()

    _prepare(url)
    return asyncio.run(main())


async def _reached_by(app: AsyncAbsurd, key: str, task: str, given: object) -> float:
    reached = _reached[key] = asyncio.get_running_loop().create_future()
    await app.spawn(task, given)
    return await reached


ACTIONS: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (steps, many, many_by, fan_out, begin, recover, timers, events, work)
}

if __name__ == "__main__":
    act(ACTIONS)
