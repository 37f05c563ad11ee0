"""What becomes of executions when the engine around them ends, well or badly."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from durably import (
    Engine,
    ExecutionFailedError,
    ExecutionParkedError,
    StoreLockedError,
    SyncDurableContext,
    durable_execution,
)
from durably.engine.views import Standing
from durably.stores.sqlite_lock import OwnerLock
from tests.app.functions import ALL, BROKEN, CALLS, GATES, Gate, reach


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path}/durably.db"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_was_under_way_goes_on_by_itself_when_the_engine_opens(
    kind: str, url: str
) -> None:
    engine = Engine("memory:" if kind == "memory" else url, ALL)
    async with engine:
        run = await engine.start("sleepy", "again", name="again")
        await reach(engine, run, Standing.WAITING)

    async with engine:
        assert await (await engine.get("again")).result() == "awake"

    assert (CALLS["before again"], CALLS["after again"]) == (1, 1)


async def test_a_step_that_runs_when_the_engine_closes_gets_its_grace(url: str) -> None:
    gate = GATES["grace"] = Gate()
    async with Engine(url, ALL, grace=5) as engine:
        run = await engine.start("gated", "grace")
        await gate.reached.wait()
        asyncio.get_running_loop().call_later(0.2, gate.opened.set)

    async with Engine(url, ALL) as engine:
        assert await (await engine.get(run.arn)).result() == "through"
    assert (CALLS["before grace"], CALLS["after grace"]) == (1, 1)


async def test_a_step_that_outlasts_the_grace_is_run_again_the_next_time(url: str) -> None:
    gate = GATES["cut"] = Gate()
    async with Engine(url, ALL, grace=0.05) as engine:
        run = await engine.start("gated", "cut")
        await gate.reached.wait()

    GATES["cut"].opened.set()
    async with Engine(url, ALL) as engine:
        assert await (await engine.get(run.arn)).result() == "through"
        events = await engine.history(run.arn)
    assert (CALLS["before cut"], CALLS["after cut"]) == (1, 1)
    assert [one for one in events.events if _failed(one)] != []


async def test_a_thread_that_outlasts_the_grace_changes_nothing_any_more(url: str) -> None:
    entered, go_on, runs = threading.Event(), threading.Event(), [0]

    @durable_execution
    def stubborn(event: object, ctx: SyncDurableContext) -> int:
        def work() -> int:
            runs[0] += 1
            entered.set()
            assert go_on.wait(8)
            return runs[0]

        return ctx.step("work", work)

    async with Engine(url, [stubborn], grace=0) as engine:
        run = await engine.start(stubborn, {})
        await asyncio.to_thread(entered.wait)
        asyncio.get_running_loop().call_later(0.2, go_on.set)

    async with Engine(url, [stubborn]) as engine:
        assert await (await engine.get(run.arn)).result() == 2


async def test_two_engines_cannot_have_one_file(url: str) -> None:
    async with Engine(url, ALL) as engine:
        with pytest.raises(StoreLockedError, match="this very process"):
            async with Engine(url, ALL):
                pass

        assert await (await engine.start("echo", 1)).result() == 1

    async with Engine(url, ALL) as engine:
        assert len((await engine.list()).executions) == 1


async def test_a_command_that_has_the_file_for_a_moment_is_waited_for(
    url: str, tmp_path: Path
) -> None:
    lock = OwnerLock(tmp_path / "durably.db")
    asyncio.get_running_loop().call_later(0.1, lock.release)

    async with Engine(url, ALL) as engine:
        assert await (await engine.start("echo", 1)).result() == 1


async def test_an_execution_whose_invocations_crash_is_parked_and_resumed(url: str) -> None:
    BROKEN.add("poison")
    async with Engine(url, ALL, park_after=1) as engine:
        run = await engine.start("crash", "poison")
        fine = await engine.start("echo", "fine")

        with pytest.raises(ExecutionParkedError, match="is parked"):
            await run.result()
        assert await fine.result() == "fine"
        found = await engine.why(run)
        assert (found.standing, found.wakes_at) == (Standing.PARKED, None)
        assert found.last_error is not None
        assert found.last_error.error_message == "poison"

        BROKEN.clear()
        await engine.resume(run)
        assert await run.result() == "repaired"
    assert CALLS["before poison"] == 1


async def test_a_changed_handler_fails_loudly_and_the_others_go_on(url: str) -> None:
    async with Engine(url, ALL) as engine:
        run = await engine.start("sleepy", "changed")
        other = await engine.start("sleepy", "other")
        await reach(engine, other, Standing.WAITING)

    @durable_execution
    def sleepy(event: str, ctx: SyncDurableContext) -> str:
        """Has lost its first step, but only for one of the two."""
        if event == "other":
            ctx.step("before", lambda: None)
        ctx.wait("nap", 1)
        ctx.step("after", lambda: None)
        return "awake"

    async with Engine(url, [sleepy]) as engine:
        with pytest.raises(ExecutionFailedError, match="NonDeterministicExecutionError") as failed:
            await (await engine.get(run.arn)).result()
        assert await (await engine.get(other.arn)).result() == "awake"
    assert failed.value.error is not None
    assert "recorded as STEP" in str(failed.value.error.error_message)


def python(*words: str) -> subprocess.Popen[bytes]:
    """Run a program, and give it while it runs."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", *words], stdout=pipe, stderr=pipe)  # noqa: S603 - ours


_WORKER = """
import asyncio, sys
from durably import Engine
from durably.stores.sqlite_lock import OwnerLock
from tests.app.functions import ALL, GATES, Gate

async def main():
    GATES["killed"] = Gate()
    async with Engine(sys.argv[1], ALL) as engine:
        await engine.start("gated", "killed", name="killed")
        await engine.start("long_sleep", "x", name="bear")
        await GATES["killed"].reached.wait()
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.process
async def test_a_process_that_is_killed_loses_nothing(url: str) -> None:
    worker = python(_WORKER, url)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    worker.kill()
    worker.communicate()

    GATES["killed"] = Gate()
    GATES["killed"].opened.set()
    async with Engine(url, ALL) as engine:
        assert await (await engine.get("killed")).result() == "through"
        assert (await engine.why("bear")).standing is Standing.WAITING
        events = await engine.history("killed")

    assert (CALLS["before killed"], CALLS["after killed"]) == (0, 1)
    errors = [
        one.invocation_completed_details.error.payload
        for one in events.events
        if one.invocation_completed_details and one.invocation_completed_details.error
    ]
    assert [error and error.error_type for error in errors] == ["Runtime.ExitError"]
    with sqlite3.connect(url.removeprefix("sqlite:")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


_FOREVER = """
import asyncio, sys
from durably import Engine, SyncEngine
from durably.stores.sqlite_lock import OwnerLock
from tests.app.functions import ALL, GATES, Gate

kind, url, event = sys.argv[1:]

async def main():
    engine = Engine(url, ALL, grace=5)
    await engine.run_forever()

async def main_inside():
    GATES[event] = gate = Gate()
    async with Engine(url, ALL, grace=5) as engine:
        await engine.start("gated", event, name=event)
        await gate.reached.wait()
        asyncio.get_running_loop().call_soon(lambda: print("ready", flush=True))
        asyncio.get_running_loop().call_later(0.5, gate.opened.set)
        await engine.run_forever()

if kind == "inside":
    asyncio.run(main_inside())
else:
    SyncEngine(url, ALL).run_forever()
"""


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_ends_well_when_it_is_told_to(url: str, number: signal.Signals) -> None:
    worker = python(_FOREVER, "inside", url, "told")
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    worker.send_signal(number)
    _, said = await asyncio.to_thread(worker.communicate)

    assert (worker.returncode, said) == (0, b"")
    async with Engine(url, ALL) as engine:
        assert await (await engine.get("told")).result() == "through"
        events = (await engine.history("told")).events
    assert not [one for one in events if _failed(one)]


def _failed(event: object) -> bool:
    details = getattr(event, "invocation_completed_details", None)
    return details is not None and details.error is not None


@pytest.mark.process
async def test_a_worker_of_a_synchronous_program_ends_well_too(url: str) -> None:
    async with Engine(url, ALL) as engine:
        run = await engine.start("sleepy", "sync", name="sync")
        await reach(engine, run, Standing.WAITING)

    worker = python(_FOREVER, "sync", url, "")
    reader = sqlite3.connect(f"file:{url.removeprefix('sqlite:')}?mode=ro", uri=True)
    status = None
    while status != ("SUCCEEDED",):
        status = reader.execute("SELECT status FROM executions").fetchone()
        await asyncio.sleep(0.02)
    reader.close()
    worker.terminate()
    _, said = await asyncio.to_thread(worker.communicate)

    assert (worker.returncode, said) == (0, b"")
