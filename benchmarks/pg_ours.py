"""Ours on PostgreSQL, in a process of its own; see `postgres.ask`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter, process_time
from typing import Any

import psycopg
from msgspec import structs

from benchmarks import functions, rows_waiting
from benchmarks.databases import registered
from benchmarks.measure import percentile, resident_bytes
from benchmarks.postgres import BareCommits, act, wait_until_done, workers
from durably import DurableContext, DurableFunction, durable_execution
from durably.app.engine import Engine
from durably.engine.policy import ServicePolicy
from durably.engine.service import Service
from durably.engine.store import WakeAt
from durably.engine.views import Standing
from durably.seams import RandomIds
from durably.stores.postgres import PostgresStore
from durably.testing.store_values import LEASE, T0, change, claim_at, creation

DONE = "SELECT count(*) FROM durably.executions WHERE ended_at IS NOT NULL"
_FEW = 10
_CLAIMS = 600


def engine(url: str) -> Engine:
    """Make an engine over the database."""
    return Engine(url, [*registered(), recovered])


@durable_execution
async def recovered(count: int, ctx: DurableContext) -> None:
    """Make *count* steps, then wait for an answer; see `functions.answered`."""
    for number in range(count):
        await ctx.step("add", functions.plus_one, number)
    callback = await ctx.create_callback("answer")
    waiting = functions.callback_ids.get("recovered")
    if waiting is not None and not waiting.done():
        waiting.set_result(callback.callback_id)
    await callback.result()
    functions.woken_at["recovered"] = functions.seconds()  # durably: allow[global-state] as there


def steps(url: str, bare_url: str, rounds: int) -> list[float]:
    """Make steps and bare commits in turns; give the median seconds of both."""
    found: list[float] = []
    bare: list[float] = []
    commits = BareCommits(bare_url)

    @durable_execution
    async def in_turns(_input: object, ctx: DurableContext) -> None:
        for _round in range(rounds):
            for number in range(_FEW):
                began = functions.seconds()
                await ctx.step("add", functions.plus_one, number)
                found.append(functions.seconds() - began)
            bare.extend(commits.seconds() for _ in range(_FEW))

    async def main() -> None:
        async with Engine(url, [in_turns]) as ours:
            await (await ours.start(in_turns)).result()

    asyncio.run(main())
    commits.close()
    warm = rounds * _FEW // 5
    return [median(found[warm:]), median(bare[warm:])]


def grown(url: str, count: int) -> float:
    """Make *count* steps in one execution; give the seconds for one."""
    return _in(url, lambda ours: _result(ours, functions.steps, count))


def many(url: str, count: int) -> float:
    """Run so many executions of three steps at once; give how many a second."""

    async def work(ours: Engine) -> float:
        async def one(number: int) -> None:
            await _result(ours, functions.three_steps, number)

        await asyncio.gather(*map(one, range(_FEW)))
        began = perf_counter()
        await asyncio.gather(*map(one, range(count)))
        return count / (perf_counter() - began)

    return _in(url, work)


def many_by(url: str, count: int, processes: int) -> float:
    """Have other processes do it: start all of them here, and look until all have ended."""

    async def start() -> None:
        store = PostgresStore(url, is_visitor=True)
        policy = ServicePolicy(is_shared=True)
        service = Service(store, store.clock, RandomIds(), lambda _name: None, policy)
        await service.open()
        await asyncio.gather(*(service.start("three_steps", str(one)) for one in range(count)))
        await service.close()

    with workers("pg_ours", url, processes):
        began = perf_counter()
        asyncio.run(start())
        wait_until_done(url, DONE, count)
        return count / (perf_counter() - began)


def fan_out(url: str, count: int) -> float:
    """Map over so many items with a step in each; give the seconds for one."""
    return _in(url, lambda ours: _result(ours, functions.mapped_steps, count))


def begin(url: str, count: int) -> str:
    """Make so many steps and wait for an answer; give the id to answer to."""

    async def work(ours: Engine) -> str:
        waiting = asyncio.get_running_loop().create_future()
        functions.callback_ids["recovered"] = waiting
        await ours.start(recovered, count, name="recovered")
        return await waiting

    return _in(url, work)


def recover(url: str, callback_id: str) -> float:
    """Answer, in another process; give the seconds until the function goes on."""

    async def work(ours: Engine) -> float:
        began = perf_counter()
        await ours.callback_succeed(callback_id)
        while "recovered" not in functions.woken_at:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        return functions.woken_at["recovered"] - began

    return _in(url, work)


def timers(url: str, count: int) -> list[float]:
    """Sleep for a second, so often; give how late each timer is."""
    return _in(url, lambda ours: rows_waiting.late_timers(ours, count))


def events(url: str, count: int) -> list[float]:
    """Answer callbacks, one after the other; give the seconds until the function goes on."""

    async def work(ours: Engine) -> list[float]:
        return [await rows_waiting.answer(ours, f"c{number}") for number in range(count)]

    return _in(url, work)


def asleep(url: str, empty_url: str, count: int) -> dict[str, float]:
    """Have so many executions sleep; see what a worker and a claim cost beside an empty table.

    One falls asleep by itself, and the others are copies of what is stored of it.
    """

    async def main() -> dict[str, float]:
        async with engine(empty_url):  # makes the schema
            pass
        async with engine(url) as ours:
            sleeping = await ours.start(functions.sleeper, functions.YEAR_SECONDS)
            while (await ours.why(sleeping)).standing is not Standing.WAITING:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.to_thread(_copy_sleeper, url, count)
        claims = await _claims(url, empty_url)
        async with engine(url) as ours:
            before = process_time()
            await asyncio.sleep(2)
            idle = (process_time() - before) / 2
            began = perf_counter()
            await asyncio.gather(*(_result(ours, functions.three_steps, one) for one in range(100)))
            rate = 100 / (perf_counter() - began)
            began = perf_counter()
            assert ours._assembly is not None  # noqa: SLF001 - nothing else shows it
            await ours._assembly.service.store.roster()  # noqa: SLF001
            roster = perf_counter() - began
            memory = resident_bytes()
        return {**claims, "idle": idle, "rate": rate, "roster": roster, "memory": memory}

    return asyncio.run(main())


def _copy_sleeper(url: str, count: int) -> None:
    columns = """function_id, version, parent_arn, status, parked_reason, started_at, ended_at,
      delete_at, owner, epoch, fact_count"""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"""INSERT INTO durably.executions (namespace_id, arn, name, wake_at, {columns})
            SELECT namespace_id, arn || one, name || one, wake_at + one, {columns}
            FROM durably.executions, generate_series(1, {count}) AS one""".encode()  # noqa: S608
        )
        connection.execute(
            b"""INSERT INTO durably.facts (execution_id, position, amount, checksum, body)
            SELECT held.id, position, amount, checksum, body FROM durably.executions AS held, (
              SELECT * FROM durably.facts
              WHERE execution_id = (SELECT min(id) FROM durably.executions)
            ) AS one WHERE held.id <> one.execution_id"""
        )
        connection.execute(b"VACUUM (ANALYZE) durably.executions, durably.facts")


async def _claims(url: str, empty_url: str) -> dict[str, float]:
    """Claim one execution at a time in each database in turns; give the 99th percentiles."""
    stores = {"many": PostgresStore(url), "none": PostgresStore(empty_url)}
    taken: dict[str, list[float]] = {name: [] for name in stores}
    for store in stores.values():
        await store.open()
    for number in range(_CLAIMS):
        for name, store in stores.items():
            due = creation(f"due{number}", wake=WakeAt(T0), function=functions.sleeper.name)
            await store.append([due])
            began = perf_counter()
            [claim] = await claim_at(store, T0 + LEASE, (functions.sleeper.name,))
            taken[name].append(perf_counter() - began)
            done = change(f"due{number}", 1, b"", wake=WakeAt(None), epoch=claim.epoch)
            await store.append([structs.replace(done, arn=claim.arn)])
    for store in stores.values():
        await store.close()
    return {name: percentile(found[_CLAIMS // 10 :], 99) for name, found in taken.items()}


def work(url: str) -> None:
    """Be a worker until this process is killed."""

    async def forever(_ours: Engine) -> None:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

    _in(url, forever)


def _in(url: str, work: Callable[[Engine], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with engine(url) as ours:
            return await work(ours)

    return asyncio.run(main())


async def _result(ours: Engine, function: DurableFunction, given: object) -> Any:
    return await (await ours.start(function, given)).result()


ACTIONS: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (steps, grown, many, many_by, fan_out, begin, recover, timers, events, asleep, work)
}

if __name__ == "__main__":
    act(ACTIONS)
