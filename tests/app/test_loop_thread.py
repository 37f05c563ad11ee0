"""A SyncEngine whose user code raises what ends a loop, swallows what ends a task, or is forked."""

import asyncio
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from durably import (
    DurableContext,
    DurablePlugin,
    InvalidStateError,
    RetryPresets,
    StepConfig,
    SyncEngine,
    durable_execution,
)

ONCE = StepConfig(retry_strategy=RetryPresets.none())
CRASHES = pytest.mark.parametrize("crash", [SystemExit, KeyboardInterrupt])


@durable_execution
async def echo(event: int, ctx: DurableContext) -> int:
    return await ctx.step("echo", lambda: event)


@CRASHES
def test_a_task_of_user_code_that_wants_to_end_the_process_ends_nothing_else(
    crash: type[BaseException],
) -> None:
    async def wild() -> None:
        raise crash

    @durable_execution
    async def careless(event: int, ctx: DurableContext) -> int:
        task = asyncio.create_task(wild())
        await asyncio.wait((task,))
        task.exception()
        return await ctx.step("echo", lambda: event)

    with SyncEngine("memory:", [careless, echo], grace=0) as engine:
        assert engine.start(careless, 1).result(timeout=20) == 1
        assert engine.start(echo, 2).result(timeout=20) == 2


@CRASHES
def test_user_code_that_wants_to_end_the_process_fails_its_invocation_alone(
    crash: type[BaseException],
) -> None:
    crashed = threading.Event()

    @durable_execution
    async def wild(event: int, ctx: DurableContext) -> int:
        if crashed.is_set():
            return event
        crashed.set()
        raise crash

    with SyncEngine("memory:", [wild, echo], grace=0) as engine:
        run = engine.start(wild, 1)
        assert crashed.wait(20)
        assert engine.start(echo, 2).result(timeout=20) == 2
        assert run.result(timeout=20) == 1  # the next invocation of it ends it


@CRASHES
def test_a_plugin_that_wants_to_end_the_process_keeps_no_execution_from_its_end(
    crash: type[BaseException],
) -> None:
    class Wild(DurablePlugin):
        def on_invocation_start(self, info: Any) -> None:
            raise crash

    async def watching(event: int, ctx: DurableContext) -> int:
        return event

    watched = durable_execution(watching, plugins=[Wild()])
    with SyncEngine("memory:", [watched, echo], grace=0) as engine:
        engine.start(watched, 1)
        assert engine.start(echo, 2).result(timeout=20) == 2


def test_leaving_an_engine_does_not_wait_for_a_coroutine_that_will_not_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entered = threading.Event()

    @durable_execution
    async def stubborn(event: int, ctx: DurableContext) -> int:
        while True:
            entered.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    with SyncEngine("memory:", [stubborn], grace=0) as engine:
        run = engine.start(stubborn, 1)
        assert entered.wait(20)

    assert "does not end when it is cancelled, and is left behind" in caplog.text
    assert "does not unwind, and is left behind" in caplog.text
    with pytest.raises(InvalidStateError, match="not open"):
        run.status()


def test_leaving_an_engine_does_not_wait_for_code_that_keeps_its_loop(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr("durably.app.sync_engine._LEAVING_SECONDS", 0.1)

    @durable_execution
    async def busy(event: int, ctx: DurableContext) -> int:
        entered.set()
        may_end.wait()
        return event

    engine = SyncEngine("memory:", [busy], grace=0)
    with engine:
        run = engine.start(busy, 1)
        assert entered.wait(20)
        asking, told = threading.Thread(target=lambda: told.append(_refusal(run))), list[str]()
        asking.start()
    asking.join(20)
    may_end.set()

    assert "does not close within 0.1 s, and is left behind" in caplog.text
    assert told == ["the engine was closed meanwhile: open another one"]


def _refusal(run: Any) -> str:
    try:
        run.result()
    except InvalidStateError as error:
        return str(error)
    return ""


FORKED = """
import os, sys
from durably import InvalidStateError, SyncEngine
with SyncEngine("sqlite:" + sys.argv[1], grace=0) as engine:
    child = os.fork()
    if child == 0:
        try:
            engine.list()
        except InvalidStateError as error:
            print(error, flush=True)
if child == 0:
    print("left", flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_an_engine_of_the_parent_says_so_in_a_forked_child(tmp_path: Path) -> None:
    ended = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path / "d.db")],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    first, *others = ended.stdout.splitlines()
    assert first.endswith("and this one was forked from it: open another one here"), ended.stderr
    assert others == ["left"]


STUBBORN = """
import asyncio
from contextlib import suppress
from durably import DurableContext, durable_execution

@durable_execution
async def stubborn(event: object, ctx: DurableContext) -> None:
    print("entered", flush=True)
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
"""


@pytest.mark.process
@pytest.mark.timeout(120)
def test_a_worker_ends_although_a_coroutine_of_its_will_not(tmp_path: Path) -> None:
    file, url = tmp_path / "app.py", f"sqlite:{tmp_path}/d.db"
    file.write_text(STUBBORN)
    command = [sys.executable, "-m", "durably", "worker", str(file), "--store", url, "--grace", "0"]

    with subprocess.Popen(  # noqa: S603 - ours
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as worker:
        try:
            assert worker.stdout is not None
            assert "ready" in worker.stdout.readline()
            started = [sys.executable, "-m", "durably", "start", "stubborn", "--store", url]
            subprocess.run(started, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
            assert worker.stdout.readline() == "entered\n"
            worker.terminate()
            assert worker.wait(60) == 0
        finally:
            worker.kill()
