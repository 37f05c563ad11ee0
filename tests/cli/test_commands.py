"""The commands beside `run`, with a process on the store and without one."""

import asyncio
import re
import shlex
import signal
import subprocess
import sys
from typing import Any

import pytest

from durably import ExecutionFailedError
from durably.engine.views import Standing
from tests.app.functions import reach
from tests.cli.conftest import DURABLY, ORDERS, Done, Shell

# ruff: noqa: S603 - the programs are our own

MORE = """
from durably import durable_execution

@durable_execution
def refund(order, ctx):
    pass
"""


@pytest.fixture(params=[True, False], ids=["beside a worker", "alone"])
def store(request: pytest.FixtureRequest, shell: Shell) -> Shell:
    """A store with one execution that waits for a callback, and one that sleeps."""
    shell.callback_id = asyncio.run(_begin(shell))
    if request.param:
        shell.worker()
    return shell


async def _begin(shell: Shell) -> str:
    async with shell.engine() as engine:
        asking = await engine.start("approve", {}, name="a-1")
        sleeping = await engine.start("sleep_long", {}, name="bear")
        for run in (asking, sleeping):
            await reach(engine, run, Standing.WAITING)
        [awaited] = (await engine.why(asking)).waits_for
        assert awaited.operation.callback_details is not None
        return awaited.operation.callback_details.callback_id or ""


def result_of(shell: Shell, name: str) -> Any:
    """Give the result of an execution, with no worker on the store."""
    shell.end_workers()

    async def look() -> Any:
        async with shell.engine() as engine:
            return await (await engine.get(name)).result(5)

    return asyncio.run(look())


def names(done: Done) -> list[str]:
    return [one["DurableExecutionName"] for one in done.json]


# Starting and working


def test_a_started_execution_waits_for_a_worker(shell: Shell) -> None:
    words = ("start", f"{ORDERS}:fulfil", "--input", '{"id":"o-7"}', "--name", "o-7")
    first, second = shell.run(*words), shell.run(*words)

    assert first.code == second.code == 0
    assert first.out == second.out
    assert re.fullmatch(
        r"arn:aws:lambda:local:0{12}:function:fulfil:\$LATEST/\S+/o-7/\S+\n", first.out
    )
    assert "No process works on this store" in first.err
    assert "waits for a worker" in shell.run("why", "o-7").out

    worker = shell.worker()
    shell.wait_for(lambda: shell.effects == ["charge o-7", "ship o-7"])
    done = shell.interrupt(worker, signal.SIGTERM)
    assert done.code == 0
    assert "ended; what was not finished goes on the next time" in done.err


def test_a_process_starts_what_another_one_asks_for(shell: Shell) -> None:
    shell.worker()

    refused = shell.run("start", "fulfil", "--input", '"x"', "--name", "o-7")
    done = shell.run("start", "fulfil", "--input", '{"id":"o-7"}', "--name", "o-7")

    assert refused.code == 2
    assert "Input of fulfil: is not Order" in refused.err
    assert (done.code, done.err) == (0, "")
    shell.wait_for(lambda: shell.effects == ["charge o-7", "ship o-7"])


@pytest.mark.parametrize("target", ["refund", f"{ORDERS}:refund"])
def test_a_function_that_there_is_not_cannot_be_started(shell: Shell, target: str) -> None:
    shell.worker()

    done = shell.run("start", target)

    assert (done.code, done.out) == (2, "")
    assert "'refund'" in done.err


def test_a_worker_that_does_not_know_a_function_says_which_it_knows(shell: Shell) -> None:
    shell.worker()
    (shell.folder / "more.py").write_text(MORE)

    mistyped = shell.run("start", "fulfill")
    elsewhere = shell.run("start", f"{shell.folder}/more.py:refund")

    said = "Error: The process that works on this store has no function 'fulfill'; it has: "
    assert mistyped.err.startswith(said)
    assert "fulfil, " in mistyped.err
    assert " Did you mean 'fulfil'?\n" in mistyped.err
    assert "has no function 'refund'; it has: " in elsewhere.err
    for done in (mistyped, elsewhere):
        assert (done.code, done.out) == (2, "")
        assert done.err.endswith(
            "\nStart it with the file that has the function, or name another store with --store.\n"
        )


def test_a_worker_that_is_told_twice_ends_at_once(shell: Shell) -> None:
    worker = shell.worker("--grace", "60")
    shell.run("start", "gated_async")
    shell.reach()
    worker.send_signal(signal.SIGINT)
    assert worker.stderr is not None
    assert "1 invocation may go on for 60 s" in worker.stderr.readline()

    assert shell.interrupt(worker, signal.SIGINT).code == 0


# Looking


def test_executions_are_listed_newest_first_and_filtered(store: Shell) -> None:
    assert names(store.run("list", "--json")) == ["bear", "a-1"]
    assert names(store.run("list", "--json", "--oldest-first", "--limit", "1")) == ["a-1"]
    assert names(store.run("list", "--json", "--function", "approve")) == ["a-1"]
    assert names(store.run("list", "--json", "--name", "bear", "--status", "running")) == ["bear"]
    assert names(store.run("list", "--json", "--started-after", "2999-01-01")) == []

    table = store.run("list")
    assert re.search(r"NAME +FUNCTION +STATUS +STARTED +TOOK +NEXT", table.out)
    assert re.search(r"bear +sleep_long +RUNNING", table.out)
    assert ("No process works on this store" in table.err) is not bool(store.workers)


def test_a_listing_goes_on_where_it_ended(store: Shell) -> None:
    first = store.run("list", "--json", "--limit", "1")
    [marker] = re.findall(r"There are more: --after (\S+)", first.err)

    assert names(store.run("list", "--json", "--limit", "1", "--after", marker)) == ["a-1"]


def test_an_empty_listing_says_so_to_people_and_is_empty_for_programs(store: Shell) -> None:
    done = store.run("list", "--name", "nobody")

    assert (done.out, done.err) == ("", "There are none.\n")
    assert store.run("list", "--name", "nobody", "--json").json == []


def test_an_execution_is_shown_with_its_operations(store: Shell) -> None:
    done = store.run("show", "bear")
    document = store.run("show", "sleep_long/bear", "--json").json

    assert re.search(r"status +RUNNING", done.out)
    assert re.search(r"● winter +wait +started", done.out)
    assert document["DurableExecutionName"] == "bear"
    assert [one["Type"] for one in document["Operations"]] == ["EXECUTION", "WAIT"]
    assert store.run("show", document["DurableExecutionArn"], "--json").json == document


def test_the_history_is_printed_in_order(store: Shell) -> None:
    events = store.run("history", "bear", "--json").json
    newest = store.run("history", "bear", "--json", "--newest-first", "--limit", "1").json
    table = store.run("history", "bear").out

    assert [one["EventType"] for one in events][:2] == ["ExecutionStarted", "WaitStarted"]
    assert newest == events[-1:]
    assert re.search(r"2 +\+\S+ \S+ +WaitStarted +winter +for 90 d", table)


def test_why_says_what_would_wake_it(store: Shell) -> None:
    bear = store.run("why", "bear").out
    asked = store.run("why", "a-1").out
    document = store.run("why", "a-1", "--json").json

    assert "bear waits, since " in bear
    assert re.search(r"• winter \(wait\): the end of the wait, at \d{4}-\d\d-\d\d", bear)
    goes_on = "It goes on by itself at" if store.workers else "It is due to go on at"
    assert goes_on in bear
    assert ("No process works on this store" in bear) is not bool(store.workers)
    assert f"durably callback succeed {store.callback_id} --payload TEXT" in asked
    assert [one["CallbackId"] for one in document["WaitsFor"]] == [store.callback_id]
    assert document["HasWorker"] is bool(store.workers)
    assert "Unless something wakes it, it times out at" in asked


def test_commands_to_type_next_name_a_store_that_is_not_the_default(shell: Shell) -> None:
    other = ("--store", "sqlite:two words.db")
    said = "--store 'sqlite:two words.db'`"

    started = shell.run("start", f"{ORDERS}:approve", "--name", "a", *other)
    suspended = shell.run("run", f"{ORDERS}:approve", "--name", "a", "--no-wait", *other)
    why = shell.run("why", "a", *other)
    paused = shell.run("pause", "a", *other)
    still = shell.run("why", "a", *other)
    resumed = shell.run("resume", "a", *other)
    listed = shell.run("list", *other)

    assert f"`durably worker FILE {said}" in started.err
    assert f"`durably why a {said}" in suspended.err
    assert f"`durably worker FILE {said} or `durably dev FILE {said}" in why.out
    assert f"`durably run FILE:approve --name a {said}" in why.out
    assert f"`durably resume a {said}" in paused.err
    assert f"`durably resume a {said}" in still.out
    assert f"`durably worker FILE {said}" in resumed.err
    assert f"`durably worker FILE {said}" in listed.err
    [typed] = re.findall(r"durably (callback succeed .*)", why.out)
    assert shell.run(*shlex.split(typed.replace("TEXT", "yes"))).code == 0


def test_what_comes_next_is_named_by_the_list(shell: Shell) -> None:
    asyncio.run(_begin(shell))
    shell.run("start", f"{ORDERS}:ask_by_tomorrow", "--name", "q")
    shell.run("run", f"{ORDERS}:ask_by_tomorrow", "--name", "q", "--no-wait")

    shell.run("start", f"{ORDERS}:sleep_long", "--name", "p")
    shell.run("pause", "p")
    listing = shell.run("list")

    assert re.search(r"bear .* wakes in 89 d 23 h\n", listing.out)
    assert re.search(r"q .* waits for callback approval; callback times out in 23 h", listing.out)
    assert re.search(r"a-1 .* waits for callback approval; times out in 365 d", listing.out)
    assert re.search(r"p .* PAUSED .* until resume\n", listing.out)
    assert "No process works on this store" in listing.err


def test_why_shows_the_error_of_the_last_attempt(shell: Shell) -> None:
    shell.run("run", f"{ORDERS}:stumble", "--input", "{}", "--name", "s", "--no-wait")

    why, document = shell.run("why", "s").out, shell.run("why", "s", "--json").json

    assert "attempt 1 failed with ConnectionError: no route" in why
    assert f"    {ORDERS}, line " in why
    assert "start `durably worker FILE` or `durably dev FILE`, or `durably serve --func" in why
    assert "`durably run FILE:stumble --name s` goes on with this one alone." in why
    assert document["WaitsFor"][0]["LastError"]["ErrorMessage"] == "no route"
    assert document["Next"] == "tries again"
    assert "tries again" in shell.run("list").out


def test_a_function_without_a_file_needs_a_process(shell: Shell) -> None:
    shell.run("run", f"{ORDERS}:odd", "--input", '"control"')

    done = shell.run("start", "trip")

    assert (done.code, done.out) == (2, "")
    assert "No process works on sqlite:durably.db, so nobody here knows" in done.err
    assert "`durably start FILE:trip`" in done.err


def test_an_answer_that_cannot_be_read_is_told(shell: Shell) -> None:
    callback_id = asyncio.run(_begin(shell))
    shell.run("callback", "succeed", callback_id, "--payload", "not JSON")

    done = shell.run("run", f"{ORDERS}:approve", "--name", "a-1")

    assert done.code == 1
    assert "a-1 failed" in done.err
    assert "the record of approval cannot be read: SerdesError: is not JSON" in done.err


# Operating


def test_an_execution_is_stopped_and_deleted(store: Shell) -> None:
    too_early = store.run("delete", "bear")
    stopped = store.run("stop", "bear", "--reason", "spring")
    again = store.run("stop", "bear")
    shown = store.run("show", "bear", "--json").json

    assert too_early.code == 2
    assert "durably show NAME" in too_early.err
    assert stopped.code == again.code == 0
    assert (shown["Status"], shown["Error"]) == ("STOPPED", {"ErrorMessage": "spring"})
    assert store.run("delete", "bear").code == 0
    assert names(store.run("list", "--json")) == ["a-1"]


def test_an_execution_is_paused_and_resumed(store: Shell) -> None:
    assert store.run("pause", "bear", "--reason", "holidays").code == 0
    paused = store.run("why", "bear").out
    twice = store.run("pause", "bear")
    resumed = store.run("resume", "bear")

    assert "bear is paused" in paused
    assert "before `durably resume bear`" in paused
    assert twice.code == 2
    assert resumed.code == 0
    assert "bear waits" in store.run("why", "bear").out


def test_a_callback_is_answered_once(store: Shell) -> None:
    words = ("callback", "succeed", store.callback_id)

    alive = store.run("callback", "heartbeat", store.callback_id)
    answer = store.run(*words, "--payload", "-", stdin='{"ok":true}')
    again = store.run(*words)

    assert alive.code == answer.code == 0
    assert again.code == 2
    assert "has timed out or has been completed before" in again.err
    assert result_of(store, "a-1") == {"ok": True}


def test_a_new_key_leaves_callbacks_alone_until_there_is_a_second_one(store: Shell) -> None:
    answer = ("callback", "succeed", store.callback_id)
    for _ in range(2):
        assert store.run("rotate-key").code == 0
    refused = store.run(*answer)

    assert refused.code == 2
    assert "There is no such callback." in refused.err


def test_a_callback_is_told_of_a_failure(store: Shell) -> None:
    words = ("--error", "no \x1b[31m", "--error-type", "Refused", "--data", "{}")

    done = store.run("callback", "fail", store.callback_id, *words)

    assert done.code == 0
    with pytest.raises(ExecutionFailedError, match="no \x1b"):
        result_of(store, "a-1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "nobody"), "There is no execution 'nobody'."),
        (("why", "approve/bear"), "There is no execution 'approve/bear'."),
        (("why", "bera"), "There is no execution 'bera'. Did you mean 'bear'?"),
        (("sohw", "bear"), "No such command 'sohw'. Did you mean 'show'?"),
        (("show", "bear", "--jsno"), "No such option '--jsno'. (Did you mean one of: '--json'"),
        (("run", f"{ORDERS}:fulfill"), "no durable function 'fulfill'. Did you mean 'fulfil'?"),
        (("stop", "arn:nonsense"), "is not the arn of an execution."),
        (("callback", "heartbeat", "0" * 64), "There is no such callback."),
        (("callback", "succeed", "a\x1b[31mb"), "There is no such callback."),
        (("list", "--after", "nonsense"), "no listing has returned it"),
        (("list", "--status", "asleep"), "'asleep' is not one of"),
        (("list", "--started-after", "yesterday"), "'yesterday' does not match"),
    ],
)
def test_what_there_is_not_is_refused_in_one_sentence(
    shell: Shell, words: tuple[str, ...], said: str
) -> None:
    asyncio.run(_begin(shell))

    done = shell.run(*words)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: ")
    assert said in done.err
    assert "\x1b" not in done.err


def test_a_name_of_two_functions_must_say_which(shell: Shell) -> None:
    async def begin() -> None:
        async with shell.engine() as engine:
            for function in ("sleep_long", "approve"):
                await engine.start(function, {}, name="both")

    asyncio.run(begin())

    done = shell.run("show", "both")

    assert done.code == 2
    assert "say approve/both or sleep_long/both" in done.err


def test_what_nobody_reads_to_the_end_is_no_error_of_ours(store: Shell) -> None:
    command = subprocess.Popen(
        [*DURABLY, "history", "bear"],
        cwd=store.folder,
        env=store.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None
    command.stdout.close()

    assert b"Traceback" not in command.communicate()[1]


INTERRUPTED_EARLY = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "durably.engine":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())

from durably_command import main
main()
"""


def test_an_interruption_while_it_is_loaded_ends_a_command_quietly(shell: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_EARLY, "list"],
        capture_output=True,
        check=False,
        cwd=shell.folder,
        env=shell.env,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
