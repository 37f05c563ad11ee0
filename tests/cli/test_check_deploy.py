"""`durably check-deploy`: which executions under way would break."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing

import pytest

from durably.engine.views import Standing
from tests.app.functions import reach
from tests.cli.conftest import ORDERS, Shell
from tests.cli.test_damage import damage

NEW = """
from durably import CallbackConfig, DurableContext, durable_execution


@durable_execution
async def approve(event: dict, ctx: DurableContext) -> str:
    print("a line that the user's code prints")
    callback = await ctx.create_callback("consent", CallbackConfig())
    return await callback.result()


@durable_execution
async def sleep_long(event: dict, ctx: DurableContext) -> None:
    await ctx.wait("winter", 90 * 86_400)
    await ctx.step("wake", print)
"""


@pytest.fixture(params=[True, False], ids=["beside a worker", "alone"])
def store(request: pytest.FixtureRequest, shell: Shell) -> Shell:
    """A store with two executions that wait for an answer, one that sleeps, one that has ended."""
    asyncio.run(_begin(shell))
    if request.param:
        shell.worker()
    (shell.folder / "new.py").write_text(NEW)
    return shell


async def _begin(shell: Shell) -> None:
    async with shell.engine() as engine:
        for name in ("a-1", "a-2"):
            await reach(engine, await engine.start("approve", {}, name=name), Standing.WAITING)
        await reach(engine, await engine.start("sleep_long", {}, name="bear"), Standing.WAITING)
        (shell.folder / "open gate").touch()
        await (await engine.start("gated_async", {}, name="over")).result()


def test_code_that_fits_is_fine(store: Shell) -> None:
    before = store.effects

    done = store.run("check-deploy", ORDERS)

    assert (done.code, done.out) == (0, "")
    assert done.err == "3 executions under way: all of them would go on.\n"
    assert store.effects == before


def test_what_would_break_is_named_with_its_line_and_nothing_is_written(store: Shell) -> None:
    before = _content(store)

    done = store.run("check-deploy", "new.py")

    assert done.code == 1
    assert re.fullmatch(
        r"approve would break: 2 executions, a-1, a-2\n"
        r"  approval\n"
        r"    recorded  callback 'approval'\n"
        r"    now       callback 'consent'\n"
        r"    \S+new.py, line 8, in approve: callback = await ctx.create_callback\(.*\)\n",
        done.out,
    )
    assert "a line that the user's code prints" in done.err
    assert done.err.endswith("3 executions under way: 2 of them would break.\n")
    assert _content(store) == before


def _content(shell: Shell) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{shell.database}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return [
            row
            for (table,) in sorted(tables)
            for row in database.execute(f"SELECT * FROM {table}")  # noqa: S608 - its own names
        ]


def test_a_program_reads_it_as_json(store: Shell) -> None:
    done = store.run("check-deploy", "new.py", "--json")

    assert done.code == 1
    assert [one["DurableExecutionName"] for one in done.json] == ["a-1", "a-2"]
    assert (
        done.json[0].items()
        >= {
            "FunctionName": "approve",
            "Problem": "Difference",
            "Operation": "approval",
            "Recorded": "callback 'approval'",
            "Now": "callback 'consent'",
            "Line": 8,
            "Function": "approve",
        }.items()
    )


def test_executions_whose_function_is_gone_are_named(store: Shell) -> None:
    text = NEW.replace("def approve", "def approve_2").replace("def sleep_long", "def sleep_2")
    (store.folder / "gone.py").write_text(text)

    done = store.run("check-deploy", "gone.py")
    as_json = store.run("check-deploy", "gone.py", "--json")

    assert done.code == as_json.code == 1
    assert done.out == (
        "approve is in none of the files: 2 executions, a-1, a-2\n"
        "sleep_long is in none of the files: 1 execution, bear\n"
    )
    assert {one["Problem"] for one in as_json.json} == {"NoSuchFunction"}


def test_several_files_are_checked_together(store: Shell) -> None:
    (store.folder / "one.py").write_text(NEW.partition("@durable_execution\nasync def sleep")[0])
    (store.folder / "two.py").write_text(NEW.replace("def approve", "def approve_2"))

    done = store.run("check-deploy", "one.py", "two.py")

    assert done.code == 1
    assert "in none of the files" not in done.out


def test_where_nothing_is_under_way_nothing_breaks(shell: Shell) -> None:
    (shell.folder / "open gate").touch()
    shell.run("run", f"{ORDERS}:gated", "-q")

    done = shell.run("check-deploy", ORDERS)

    assert (done.code, done.out, done.err) == (0, "", "Nothing is under way.\n")


def test_a_store_that_is_not_there_cannot_be_checked(shell: Shell) -> None:
    assert shell.run("check-deploy", ORDERS).code == 2


def test_a_damaged_execution_is_mentioned_and_breaks_nothing(shell: Shell) -> None:
    asyncio.run(_begin(shell))
    damage(shell, "bear")

    done = shell.run("check-deploy", ORDERS)

    assert done.code == 0
    assert "bear cannot be read, whatever the code is" in done.err
