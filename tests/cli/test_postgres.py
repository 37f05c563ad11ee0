"""Every command on a PostgreSQL database, and several processes before one."""

import re
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from durably.seams import RandomIds
from tests.cli.conftest import ORDERS, Shell

LEASE = ("--lease", "1")
MORE = """
from durably import durable_execution

@durable_execution
async def refund(order, ctx):
    return await ctx.invoke("score", "score", order)
"""
SCORE = """
from durably import durable_execution

@durable_execution
async def score(order, ctx):
    return [order, 7]
"""


@pytest.fixture
def fleet(shell: Shell, address: str) -> Shell:
    """Commands whose store is a database of their own."""
    shell.env["DURABLY_STORE"] = address
    return shell


def worker(fleet: Shell, *words: object, file: Path = ORDERS) -> subprocess.Popen[str]:
    """Start a worker, and wait until it is ready."""
    process = fleet.start("worker", file, *LEASE, *words)
    assert process.stderr is not None
    assert "ready" in process.stderr.readline()
    return process


def status(fleet: Shell, name: str) -> str:
    return str(fleet.run("show", name, "--json").json["Status"])


def wait_for_end(fleet: Shell, name: str) -> Any:
    fleet.wait_for(lambda: status(fleet, name) != "RUNNING")
    return fleet.run("show", name, "--json").json


def workers(fleet: Shell) -> list[dict[str, Any]]:
    return list(fleet.run("workers", "--json").json["Workers"])


def state_of_workers(fleet: Shell) -> list[str]:
    return [one["State"] for one in workers(fleet)]


def has_callback(fleet: Shell, name: str) -> bool:
    return "callback succeed" in fleet.run("why", name).out


# Every command


def test_an_execution_runs_to_its_end_and_goes_on_by_its_name(fleet: Shell) -> None:
    target = f"{ORDERS}:fulfil"

    done = fleet.run("run", target, "--name", "o-1", "--input", '{"id": "o-1"}')
    again = fleet.run("run", target, "--name", "o-1")

    assert (done.code, done.json) == (0, {"order": "o-1", "paid": 1.0})
    assert (again.code, again.out) == (0, done.out)
    assert fleet.effects == ["charge o-1", "ship o-1"]


def test_what_a_worker_has_is_started_by_its_name_alone(fleet: Shell) -> None:
    process = worker(fleet)

    done = fleet.run("start", "fulfil", "--name", "o-2", "--input", '{"id": "o-2"}')

    assert (done.code, done.err) == (0, "")
    assert wait_for_end(fleet, "o-2")["Status"] == "SUCCEEDED"
    history = fleet.run("history", "o-2")
    assert "ExecutionSucceeded" in history.out
    assert fleet.run("list").out.count("o-2") == 1
    assert fleet.interrupt(process, signal.SIGTERM).code == 0


def test_an_execution_is_paused_resumed_stopped_and_deleted_beside_a_worker(fleet: Shell) -> None:
    process = worker(fleet)
    fleet.run("start", "sleep_long", "--name", "bear")
    fleet.wait_for(lambda: fleet.run("why", "bear", "--json").json["Standing"] == "waiting")

    assert fleet.run("pause", "bear").code == 0
    assert "is paused" in fleet.run("why", "bear").out
    assert "goes on" in fleet.run("resume", "bear").err
    assert fleet.run("stop", "bear").code == 0
    assert status(fleet, "bear") == "STOPPED"
    assert fleet.run("delete", "bear").code == 0
    assert fleet.run("show", "bear").code == 2
    assert fleet.interrupt(process, signal.SIGTERM).code == 0


def test_a_callback_is_answered_from_outside_with_an_old_key_and_with_a_new_one(
    fleet: Shell,
) -> None:
    process = worker(fleet)
    for name in ("a-1", "a-2"):
        fleet.run("start", "approve", "--name", name)
        fleet.wait_for(partial(has_callback, fleet, name))
        found = fleet.run("why", name, "--json").json
        callback_id = found["WaitsFor"][0]["CallbackId"]
        assert fleet.run("callback", "heartbeat", callback_id).code == 0
        assert fleet.run("callback", "succeed", callback_id, "--payload", '"yes"').code == 0
        assert wait_for_end(fleet, name)["Result"] == '"yes"'
        rotated = fleet.run("rotate-key")
        assert rotated.code == (0 if name == "a-1" else 2)
    assert "The newest key is not five minutes old." in rotated.err
    assert fleet.interrupt(process, signal.SIGTERM).code == 0


def test_a_history_is_exported_and_replayed_and_a_deploy_is_checked(fleet: Shell) -> None:
    fleet.run("run", f"{ORDERS}:sleep_long", "--name", "bear", "--input", "{}", "--no-wait")
    file = fleet.folder / "bear.jsonl"

    assert fleet.run("history", "bear", "--export", file).code == 0
    assert fleet.run("replay", file, f"{ORDERS}:sleep_long").code == 0
    checked = fleet.run("check-deploy", ORDERS)

    assert (checked.code, checked.err) == (0, "1 execution under way: all of them would go on.\n")


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_a_server_stands_before_a_database(fleet: Shell, command: str) -> None:
    files = [ORDERS] if command == "dev" else []
    process = fleet.start(command, *files, "--port", 0)
    assert process.stdout is not None
    said = ""
    while "Ready." not in said:
        said += process.stdout.readline()

    assert "postgresql://" in said
    assert state_of_workers(fleet) == ["alive"]
    assert fleet.interrupt(process, signal.SIGTERM).code == 0
    assert state_of_workers(fleet) == []


# What is missing


@pytest.mark.parametrize("words", [("list",), ("show", "a"), ("callback", "succeed", "x")])
def test_a_command_that_only_looks_makes_nothing(fleet: Shell, words: tuple[str, ...]) -> None:
    for _ in range(2):
        done = fleet.run(*words)

        assert (done.code, done.out) == (2, "")
        assert "has no such schema" in done.err
        assert "Nothing has run there yet" in done.err


def test_a_password_is_shown_nowhere(fleet: Shell) -> None:
    url = "postgresql://me:secret@localhost:1/orders"
    for words in (("list",), ("worker", ORDERS), ("run", f"{ORDERS}:fulfil"), ("workers",)):
        done = fleet.run(*words, "--store", url)

        assert done.code == 2
        assert "no connection to postgresql://localhost:1/orders" in done.err
        assert "secret" not in done.err


def test_workers_of_a_file_are_none(shell: Shell) -> None:
    shell.run("run", f"{ORDERS}:fulfil", "--input", '{"id": "o"}')

    done = shell.run("workers")

    assert (done.code, done.out) == (2, "")
    assert "is for one process at a time" in done.err


# Several workers


def test_what_a_killed_worker_had_is_finished_by_another_and_nothing_is_lost(fleet: Shell) -> None:
    names = [f"g-{number}" for number in range(6)]
    first = worker(fleet, "--concurrency", "3")
    second = worker(fleet, "--concurrency", "3")
    for name in names:
        fleet.run("start", "gated_async", "--name", name)
    fleet.wait_for(lambda: [one["Held"] for one in workers(fleet)] == [3, 3])
    fleet.reach()

    first.send_signal(signal.SIGKILL)
    first.wait()
    fleet.open()

    for name in names:
        assert wait_for_end(fleet, name)["Result"] == '"through"'
    assert fleet.effects.count("before") == len(names)
    assert fleet.effects.count("after") == len(names)
    fleet.wait_for(lambda: sorted(state_of_workers(fleet)) == ["alive", "dead"])
    assert fleet.interrupt(second, signal.SIGTERM).code == 0
    assert state_of_workers(fleet) == ["dead"]


def test_what_a_worker_says_that_stood_still_past_its_lease_is_refused(fleet: Shell) -> None:
    zombie = worker(fleet)
    fleet.run("start", "gated", "--name", "z")
    fleet.reach()
    zombie.send_signal(signal.SIGSTOP)

    other = worker(fleet)
    fleet.open()
    found = wait_for_end(fleet, "z")
    before = fleet.run("history", "z", "--json").out
    zombie.send_signal(signal.SIGCONT)

    fleet.wait_for(lambda: state_of_workers(fleet) == ["alive", "alive"])
    done = fleet.interrupt(zombie, signal.SIGTERM)
    assert done.code == 0
    assert found["Result"] == '"through"'
    assert fleet.run("history", "z", "--json").out == before
    assert fleet.effects == ["before", "after"]
    assert fleet.interrupt(other, signal.SIGTERM).code == 0


def test_a_worker_that_is_told_to_end_hands_over_at_once(fleet: Shell) -> None:
    leaving = worker(fleet, "--grace", "0", "--lease", "60")
    fleet.run("start", "gated_async", "--name", "h")
    fleet.reach()
    other = worker(fleet, "--lease", "60")

    leaving.send_signal(signal.SIGTERM)
    fleet.wait_for(lambda: state_of_workers(fleet) == ["alive"])
    fleet.open()

    assert wait_for_end(fleet, "h")["Result"] == '"through"'
    assert fleet.end(leaving).code == 0
    assert fleet.effects == ["before", "after"]
    assert fleet.interrupt(other, signal.SIGTERM).code == 0


def test_a_worker_that_is_told_to_end_claims_nothing_more(fleet: Shell) -> None:
    leaving = worker(fleet, "--grace", "30")
    fleet.run("start", "gated_async", "--name", "h")
    fleet.reach()

    leaving.send_signal(signal.SIGTERM)
    fleet.wait_for(lambda: state_of_workers(fleet) == ["draining"])
    fleet.run("start", "approve", "--name", "late")
    why = fleet.run("why", "late")
    fleet.open()

    assert fleet.end(leaving).code == 0
    assert status(fleet, "h") == "SUCCEEDED"
    assert "can go on and waits for a worker" in why.out
    assert "No worker that is alive has approve" in why.out


# Functions and versions


def test_functions_of_other_workers_are_invoked_and_waited_for(fleet: Shell) -> None:
    (fleet.folder / "more.py").write_text(MORE)
    (fleet.folder / "score.py").write_text(SCORE)
    scoring = worker(fleet, file=fleet.folder / "score.py")
    assert fleet.interrupt(scoring, signal.SIGTERM).code == 0
    asking = worker(fleet, file=fleet.folder / "more.py")

    fleet.run("start", "refund", "--name", "r", "--input", "1")
    fleet.wait_for(lambda: "no worker has it" in fleet.run("list").out)
    scoring = worker(fleet, file=fleet.folder / "score.py")

    assert wait_for_end(fleet, "r")["Result"] == "[1,7]"
    for process in (asking, scoring):
        assert fleet.interrupt(process, signal.SIGTERM).code == 0


def test_an_execution_goes_on_only_in_the_version_that_it_began_with(fleet: Shell) -> None:
    old = worker(fleet, "--version", "1")
    fleet.run("start", "gated_async", "--name", "g")
    fleet.reach()
    new = worker(fleet, "--version", "2")
    old.send_signal(signal.SIGKILL)
    old.wait()
    fleet.open()

    fleet.wait_for(lambda: "no worker has it in version 1" in fleet.run("list").out)
    why = fleet.run("why", "g")
    shown = fleet.run("workers")
    fleet.run("start", "gated_async", "--name", "newer")
    assert wait_for_end(fleet, "newer")["Version"] == "2"
    again = worker(fleet, "--version", "1")

    assert "No worker that is alive has gated_async in version 1" in why.out
    assert re.search(r"gated_async:1 +1 .*no worker has it", shown.out)
    assert wait_for_end(fleet, "g")["Version"] == "1"
    for process in (new, again):
        assert fleet.interrupt(process, signal.SIGTERM).code == 0


def test_a_namespace_sees_nothing_of_another(fleet: Shell, address: str) -> None:
    fleet.run("run", f"{ORDERS}:fulfil", "--name", "o", "--input", '{"id": "o"}')
    other = f"{address}&namespace=n{RandomIds().hex(8)}"

    assert fleet.run("run", f"{ORDERS}:approve", "--no-wait", "--store", other).code == 3

    assert fleet.run("show", "o", "--store", other).code == 2
    assert "fulfil" not in fleet.run("list", "--store", other).out
    assert "approve" not in fleet.run("list").out
