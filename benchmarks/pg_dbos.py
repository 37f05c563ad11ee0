"""DBOS on PostgreSQL, in a process of its own; see `postgres.ask`.

It is used as its documentation says, with its own settings but for one: its queue is looked at ten
times as often as it would be.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter, time  # noqa: TID251 - by which a timer is late
from typing import Any

from dbos import DBOS, DBOSClient

from benchmarks.postgres import act, wait_until_done, workers

_DONE = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"
_QUEUE = "bench"
_QUEUE_SECONDS = 0.1
_reached_at: dict[str, float] = {}


@DBOS.step()
async def plus_one(number: int) -> int:
    """Be a step that costs nothing."""
    return number + 1


@DBOS.workflow()
async def steps_of(count: int) -> float:
    """Make *count* steps, one after the other; give the seconds for one."""
    began = perf_counter()
    for number in range(count):
        await plus_one(number)
    return (perf_counter() - began) / count


@DBOS.workflow()
async def three_steps(number: int) -> int:
    """Make three steps."""
    for _ in range(3):
        number = await plus_one(number)
    return number


@DBOS.workflow()
async def fanned_out(count: int) -> float:
    """Make *count* steps at once; give the seconds for one."""
    began = perf_counter()
    await asyncio.gather(*map(plus_one, range(count)))
    return (perf_counter() - began) / count


@DBOS.workflow()
async def recovered(count: int) -> None:
    """Make *count* steps, then wait for a message."""
    began = perf_counter()
    for number in range(count):
        await plus_one(number)
    _reached_at["recovered"] = perf_counter() - began
    await DBOS.recv_async("answer", timeout_seconds=600)


@DBOS.workflow()
async def sleeper(seconds: float) -> float:
    """Sleep; give how much longer it took."""
    began = time()
    await DBOS.sleep_async(seconds)
    return time() - began - seconds


@DBOS.workflow()
async def answered() -> float:
    """Wait for a message; give when it came."""
    await DBOS.recv_async("answer", timeout_seconds=600)
    return perf_counter()


def steps(url: str, count: int) -> float:
    """Make steps, one after the other; give the seconds for one."""
    return _in(url, lambda: _result(steps_of, count))


def many(url: str, count: int) -> float:
    """Run so many workflows of three steps at once; give how many a second."""

    async def run() -> float:
        await _result(three_steps, 1)
        began = perf_counter()
        await asyncio.gather(*(_result(three_steps, number) for number in range(count)))
        return count / (perf_counter() - began)

    return _in(url, run)


def many_by(url: str, count: int, processes: int) -> float:
    """Have other processes do it: hand all of them to a queue, and look until all have ended."""
    with workers("pg_dbos", url, processes):
        client = DBOSClient(system_database_url=url)
        began = perf_counter()
        for number in range(count):
            client.enqueue(
                {"workflow_name": three_steps.__qualname__, "queue_name": _QUEUE}, number
            )
        wait_until_done(url, _DONE, count)
        taken = perf_counter() - began
        client.destroy()
    return count / taken


def fan_out(url: str, count: int) -> float:
    """Make so many steps of one workflow at once; give the seconds for one."""
    return _in(url, lambda: _result(fanned_out, count))


def begin(url: str, count: int) -> str:
    """Make so many steps, and die while the workflow waits."""

    async def run() -> None:
        await DBOS.start_workflow_async(recovered, count)
        while "recovered" not in _reached_at:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        print('"begun"', flush=True)
        os._exit(0)

    _in(url, run)
    return ""


def recover(url: str, _begun: str) -> float:
    """Find it again in another process; give the seconds from its first line to where it was."""

    async def run() -> float:
        while "recovered" not in _reached_at:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        print(_reached_at["recovered"], flush=True)
        os._exit(0)

    return float(_in(url, run))


def timers(url: str, count: int) -> list[float]:
    """Sleep for a second, so often; give how much longer each took."""

    async def run() -> list[float]:
        handles = []
        for _ in range(count):
            handles.append(await DBOS.start_workflow_async(sleeper, 1))
            await asyncio.sleep(0.023)
        return [await handle.get_result() for handle in handles]

    return list(_in(url, run))


def events(url: str, count: int) -> list[float]:
    """Send messages, one after the other; give the seconds until the workflow goes on."""

    async def one() -> float:
        handle = await DBOS.start_workflow_async(answered)
        await asyncio.sleep(0.05)
        began = perf_counter()
        await DBOS.send_async(handle.workflow_id, "yes", "answer")
        return await handle.get_result() - began

    async def run() -> list[float]:
        return [await one() for _ in range(count)]

    return list(_in(url, run))


def work(url: str) -> None:
    """Be a worker until this process is killed."""

    async def forever() -> None:
        await DBOS.register_queue_async(_QUEUE, polling_interval_sec=_QUEUE_SECONDS)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

    _in(url, forever)


def _in(url: str, work: Callable[[], Awaitable[Any]]) -> Any:
    config: Any = {"name": "bench", "system_database_url": url, "log_level": "CRITICAL"}
    config |= {"executor_id": "bench" if sys.argv[1] != "work" else f"bench-{os.getpid()}"}
    config |= {"application_version": "1", "run_admin_server": False}

    async def main() -> Any:
        DBOS(config=config)
        DBOS.launch()
        try:
            return await work()
        finally:
            DBOS.destroy()

    return asyncio.run(main())


async def _result(workflow: Any, *given: object) -> Any:
    return await (await DBOS.start_workflow_async(workflow, *given)).get_result()


ACTIONS: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (steps, many, many_by, fan_out, begin, recover, timers, events, work)
}

if __name__ == "__main__":
    act(ACTIONS)
