"""The pytest plugin, as a project of a user's has it: in a process of its own."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

CONFTEST = """
import os, sys, threading
import pytest

@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"

BEFORE = set(os.listdir("."))

def pytest_sessionfinish(session):
    left = [thread for thread in threading.enumerate() if thread.name.startswith("durably")]
    for thread in left:
        thread.join(5)  # one that has just told its end may be there for a moment
    left = [thread.name for thread in left if thread.is_alive()]
    files = {name for name in set(os.listdir(".")) - BEFORE if "cache" not in name}
    print("left behind:", left, sorted(files))
    print("loaded:", sorted({name for name in sys.modules if name.partition(".")[0] == "durably"}))
"""
FUNCTIONS = """
import asyncio, threading
from durably import durable_execution, DurableContext, SyncDurableContext
from durably.testing import TestEngine

@durable_execution
async def greet(name: str, ctx: DurableContext) -> str:
    await ctx.wait("a day", 86400)
    return await ctx.step("greet", "Hello, {}!".format, name)

@durable_execution
def plain(name: str, ctx: SyncDurableContext) -> str:
    ctx.wait("a day", 86400)
    return ctx.step("greet", "Hello, {}!".format, name)
"""
ASYNC_TEST = """
MARK
async def test_in_the_loop_of_the_test(durably_engine):
    before = asyncio.all_tasks()
    async with durably_engine(greet, plain) as t:
        assert (await t.run(greet, "Ada")).result == "Hello, Ada!"
        assert (await t.run(plain, "Ada")).result == "Hello, Ada!"
        await t.start(plain, "Grace")
    assert asyncio.all_tasks() == before
"""
SYNC_TEST = """
def test_without_a_loop(sync_durably_engine):
    t = sync_durably_engine(greet)
    assert t.run(greet, "Ada").result == "Hello, Ada!"

def test_of_what_is_misspelt(sync_durably_engine):
    t = sync_durably_engine(greet)
    t.fake_step("great", returns="Hi")
    t.run(greet, "Ada")
"""


def run_pytest(place: Path, text: str, *options: str) -> str:
    """Run the tests in *text*, and give what pytest says."""
    (place / "conftest.py").write_text(CONFTEST)
    (place / "test_users.py").write_text(text)
    (place / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    known = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", *options],
        cwd=place,
        env={**known, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_project_that_does_not_use_it_does_not_load_the_package(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, "def test_nothing():\n    pass\n")

    assert "1 passed" in said
    assert "loaded: []" in said


def test_its_fixtures_run_functions_and_leave_nothing_behind(tmp_path: Path) -> None:
    mark = "import pytest\n@pytest.mark.anyio"

    said = run_pytest(tmp_path, FUNCTIONS + ASYNC_TEST.replace("MARK", mark) + SYNC_TEST)

    assert "3 passed, 1 error" in said
    assert "UnmetFakeError: fake_step('great'): no such step ran. Steps that ran: 'greet'" in said
    assert "left behind: [] []" in said


@pytest.mark.skipif(find_spec("pytest_asyncio") is None, reason="it is not installed")
def test_it_works_under_pytest_asyncio(tmp_path: Path) -> None:
    mark = "import pytest\n@pytest.mark.asyncio"

    said = run_pytest(tmp_path, FUNCTIONS + ASYNC_TEST.replace("MARK", mark), "-p", "no:anyio")

    assert "1 passed" in said
    assert "left behind: [] []" in said


def test_it_works_in_a_loop_that_the_test_runs_itself(tmp_path: Path) -> None:
    text = """
def test_in_a_loop_of_its_own(durably_engine):
    async def main():
        async with durably_engine(greet) as t:
            assert (await t.run(greet, "Ada")).result == "Hello, Ada!"
    asyncio.run(main())
"""

    said = run_pytest(tmp_path, FUNCTIONS + text)

    assert "1 passed" in said
    assert "left behind: [] []" in said


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["in one process", "with xdist"])
def test_it_says_what_executions_cost_if_it_is_asked(tmp_path: Path, options: list[str]) -> None:
    said = run_pytest(tmp_path, FUNCTIONS + SYNC_TEST, "--durably-cost", *options)

    costs = [line for line in said.splitlines() if "test_users.py::" in line and "greet/" in line]
    assert [line.split()[:3] for line in costs] == [["2", "4", "2"], ["2", "4", "2"]]
    assert re.search(r"operations +checkpoints +invocations +bytes +test, execution", said)


@pytest.mark.parametrize(("option", "runs"), [("sample", 11), ("off", 1)])
def test_it_says_how_many_crashes_are_tried(tmp_path: Path, option: str, runs: int) -> None:
    text = """
def test_it_is_crashed(sync_durably_engine):
    starts = []
    t = sync_durably_engine(greet)
    t.fake_step("greet", lambda name: "Hello, Ada!")
    report = t.crash_everywhere(greet, "Ada", reset=lambda: starts.append(1))
    print("runs:", len(starts))
"""

    said = run_pytest(tmp_path, FUNCTIONS + text, "--durably-crash", option)

    assert f"runs: {runs}\n" in said


REPLAYED_TESTS = """
calls = []

@durable_execution
async def forgets(event: None, ctx: DurableContext) -> None:
    calls.append(1)
    name = "first" if len(calls) == 1 else "later"
    await ctx.step(name, str, 1)

def test_that_blocks(sync_durably_engine):
    assert sync_durably_engine(plain).run(plain, "Ada").result == "Hello, Ada!"

def test_in_a_loop_of_its_own():
    async def main():
        async with TestEngine(functions=[forgets]) as t:
            await t.run(forgets, None)
    asyncio.run(main())

def test_that_says_that_it_is_not_replayed(sync_durably_engine):
    sync_durably_engine(forgets, replay=False).run(forgets, None)

def test_of_crashes(sync_durably_engine):
    sync_durably_engine(greet).crash_everywhere(greet, "Ada")
"""


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["in one process", "with xdist"])
def test_it_replays_every_history_if_it_is_asked(tmp_path: Path, options: list[str]) -> None:
    options = ["--durably-replay", "--durably-crash=sample", "--durably-cost", *options]

    said = run_pytest(tmp_path, FUNCTIONS + REPLAYED_TESTS, *options)

    assert "1 failed, 3 passed" in said
    assert "FAILED test_users.py::test_in_a_loop_of_its_own" in said
    assert re.search(r"E +recorded  step 'first'\nE +now       step 'later'\n", said)
    assert re.search(r"E +\S+test_users.py, line \d+, in forgets: await ctx.step\(name, str", said)
    # What it shows is the block in the test that ends there, and nothing of the kit.
    assert "src/durably" not in said
    assert re.search(r"\n13 histories of 3 tests, replayed from \d\d states\n", said)
    assert "left behind: [] []" in said


@pytest.mark.parametrize(
    ("plugin", "mark"), [("anyio", "pytest.mark.anyio"), ("pytest_asyncio", "pytest.mark.asyncio")]
)
def test_it_replays_under_every_plugin_for_coroutines(
    tmp_path: Path, plugin: str, mark: str
) -> None:
    pytest.importorskip(plugin)
    others = [] if plugin == "anyio" else ["-p", "no:anyio"]
    text = FUNCTIONS + ASYNC_TEST.replace("MARK", f"import pytest\n@{mark}")

    said = run_pytest(tmp_path, text, "--durably-replay", *others)

    assert "1 passed" in said
    assert "3 histories of 1 tests, replayed from" in said
    assert "left behind: [] []" in said


def test_it_says_nothing_of_costs_and_replays_if_it_is_not_asked(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, FUNCTIONS + SYNC_TEST)

    assert "durably: cost" not in said
    assert "durably: replay" not in said


FAILING_TESTS = """
@durable_execution
async def broken(name, ctx: DurableContext):
    raise ValueError(name)

@durable_execution
async def waiting(name, ctx: DurableContext):
    return await (await ctx.create_callback("yes")).result()

def test_failed_run():
    with SyncTestEngine([broken]) as t:
        t.run(broken, "Ada").result

def test_unfinished_run():
    with SyncTestEngine([waiting]) as t:
        t.run(waiting, "Ada")

def test_unmet_fake():
    with SyncTestEngine([broken]) as t:
        t.fake_step("great")

def test_crash_difference():
    with SyncTestEngine([greet]) as t:
        t.fake_step("greet", lambda name: t.effect("greeted", once=True) or "Hello")
        t.crash_everywhere(greet, "Ada")
"""


def test_a_test_that_fails_shows_its_own_line_and_none_of_the_kit_s(tmp_path: Path) -> None:
    head = "from durably.testing import SyncTestEngine\n"

    said = run_pytest(tmp_path, FUNCTIONS + head + FAILING_TESTS)

    assert "4 failed" in said
    for error in ("FailedRun", "UnfinishedRun", "UnmetFake", "CrashDifference"):
        assert f": {error}Error" in said
    assert not re.findall(r"^\S*(?:durably/|asyncio/)\S+\.py:\d+", said, re.MULTILINE)
