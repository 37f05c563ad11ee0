"""One execution whose record cannot be read: it is told, stopped and deleted, and others go on."""

import asyncio
import signal
import sqlite3

import pytest

from durably import ResourceConflictException
from tests.cli.conftest import ORDERS, Shell

UNREADABLE = "its record cannot be read; stop it or restore a backup"
UNREADABLE_AND_CLOSED = UNREADABLE.replace("stop", "delete")


def damage(shell: Shell, name: str) -> None:
    """Change what is recorded of an execution behind the back of everybody."""
    database = sqlite3.connect(shell.database)
    with database:
        [changed] = database.execute(
            "UPDATE facts SET body = x'00' WHERE execution_id IN "
            "(SELECT id FROM executions WHERE name = ?) AND position = 0 RETURNING 1",
            (name,),
        ).fetchone()
    database.close()
    assert changed


@pytest.fixture
def damaged(shell: Shell) -> Shell:
    """A store with two executions that are due, of which one is damaged."""
    for name in ("bad", "good"):
        started = shell.run("start", f"{ORDERS}:sleep_long", "--name", name)
        assert started.code == 0, started.err
    damage(shell, "bad")
    return shell


def test_the_damage_is_told_and_what_to_do(damaged: Shell) -> None:
    show, why = damaged.run("show", "bad"), damaged.run("why", "bad")
    document = damaged.run("show", "bad", "--json").json

    assert show.code == why.code == 0
    assert f"{UNREADABLE}: facts from 0 on are not what was written" in show.out
    assert f"bad is parked: {UNREADABLE}" in why.out
    assert "`durably stop bad`" in why.out
    assert UNREADABLE in damaged.run("list").out
    assert document["Damage"].startswith(UNREADABLE)
    assert "ExpectedExecutionTimeoutTimestamp" not in document


@pytest.mark.parametrize(
    "words", [("history",), ("run", f"{ORDERS}:sleep_long", "--name"), ("resume",)]
)
def test_what_its_record_would_be_needed_for_is_refused(
    damaged: Shell, words: tuple[str, ...]
) -> None:
    done = damaged.run(*words, "bad")

    assert (done.code, done.out) == (2, "")
    assert f"bad: {UNREADABLE}" in done.err


@pytest.mark.parametrize("is_worked_on", [False, True], ids=["alone", "beside a worker"])
def test_it_is_stopped_and_deleted(damaged: Shell, *, is_worked_on: bool) -> None:
    if is_worked_on:
        damaged.worker()
    too_early = damaged.run("delete", "bad")
    stopped = damaged.run("stop", "bad")
    listed = {one["DurableExecutionName"]: one for one in damaged.run("list", "--json").json}
    why = damaged.run("why", "bad")

    deleted = damaged.run("delete", "bad")

    assert too_early.code == 2
    assert stopped.code == deleted.code == 0
    assert "bad is stopped." in stopped.err
    assert listed["bad"]["Status"] == "STOPPED"
    assert "`durably delete bad`" in why.out
    damaged.end_workers()


def test_a_worker_parks_it_once_and_goes_on_with_the_others(damaged: Shell) -> None:
    worker = damaged.worker()
    damaged.wait_for(lambda: damaged.run("list", "--parked", "--json").json)
    damaged.wait_for(lambda: "winter" in damaged.run("show", "good").out)

    listed = damaged.run("list").out
    done = damaged.interrupt(worker, signal.SIGTERM)

    assert UNREADABLE in listed
    assert "PARKED" in listed
    assert done.code == 0
    assert done.err.count("sleep_long/bad was parked") == 1


def test_a_result_that_is_lost_is_not_made_up(shell: Shell) -> None:
    words = ("run", f"{ORDERS}:odd", "--name", "o", "--input", '"control"')
    first = shell.run(*words)
    damage(shell, "o")

    again = shell.run("run", f"{ORDERS}:odd", "--name", "o")
    why = shell.run("why", "o")

    async def ask() -> None:
        async with shell.engine() as engine:
            with pytest.raises(ResourceConflictException, match="o: its record cannot be read"):
                await (await engine.get("o")).result()

    asyncio.run(ask())
    assert (first.code, again.code, again.out) == (0, 2, "")
    assert UNREADABLE_AND_CLOSED in again.err
    assert f"o is SUCCEEDED: {UNREADABLE_AND_CLOSED}" in why.out


def test_who_waits_for_it_is_told(damaged: Shell) -> None:
    async def wait() -> str:
        async with damaged.engine() as engine:
            bad = await engine.get("bad")
            with pytest.raises(Exception, match="cannot be read") as parked:
                await bad.result()
            await bad.stop()
            with pytest.raises(Exception, match="was stopped"):
                await bad.result()
            await engine.delete(bad)
            return parked.typename

    assert asyncio.run(wait()) == "ExecutionParkedError"
