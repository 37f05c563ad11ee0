"""`durably history --export` and `durably replay`: a past, held against the code of today."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import ORDERS, Done, Shell

NEW = """
from durably import DurableContext, durable_execution


@durable_execution
async def fulfil(order: dict, ctx: DurableContext) -> dict:
    charged = await ctx.step("refund", print, order)
    await ctx.wait("cooling off", 1)
    return charged


@durable_execution
async def silent(order: dict, ctx: DurableContext) -> None:
    return None


@durable_execution
async def raising(order: dict, ctx: DurableContext) -> None:
    await ctx.step("charge", print, order)
    missing = order["price"]


@durable_execution
async def waiting(order: dict, ctx: DurableContext) -> None:
    await ctx.step("charge", print, order)
    await ctx.wait("cooling off", 1)
    await ctx.wait_for_callback("approval", print)
"""


@pytest.fixture
def exported(shell: Shell) -> Shell:
    """A store with an execution that has ended, and its history in a file."""
    words = ("--input", '{"id": "Lovelace"}', "--name", "o-7", "-q")
    assert shell.run("run", f"{ORDERS}:fulfil", *words).code == 0
    done = shell.run("history", "o-7", "--export", "o-7.jsonl")
    assert (done.code, done.out) == (0, "")
    assert re.fullmatch(r"Written: \d+ facts, to o-7.jsonl.\n", done.err)
    (shell.folder / "new.py").write_text(NEW)
    return shell


def replay(shell: Shell, *words: str, stdin: str | None = None) -> Done:
    """Replay, with nothing that has an effect."""
    before = shell.effects
    done = shell.run("replay", "o-7.jsonl", *words, stdin=stdin)
    assert shell.effects == before
    return done


# Exports


def test_a_file_is_written_for_its_owner_alone(exported: Shell) -> None:
    assert (exported.folder / "o-7.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_masked_file_has_nothing_of_the_values(exported: Shell) -> None:
    done = exported.run("history", "o-7", "--export", "masked.jsonl", "--mask")

    assert done.err.endswith("masked, to masked.jsonl.\n")
    assert "Lovelace" in (exported.folder / "o-7.jsonl").read_text()
    assert "Lovelace" not in (exported.folder / "masked.jsonl").read_text()
    assert exported.run("replay", "masked.jsonl", str(ORDERS)).code == 0


def test_a_history_can_be_written_to_standard_output(exported: Shell) -> None:
    done = exported.run("history", "o-7", "--export", "-")

    assert done.out == (exported.folder / "o-7.jsonl").read_text()
    assert json.loads(done.out.splitlines()[0])["format"] == "durably-history"


@pytest.mark.parametrize("more", ["--json", "--newest-first", "--limit=3"])
def test_an_export_is_no_listing(exported: Shell, more: str) -> None:
    done = exported.run("history", "o-7", "--export", "x", more)

    assert (done.code, done.out) == (2, "")
    assert "--export writes a file of its own form" in done.err


def test_a_mask_is_for_an_export(exported: Shell) -> None:
    assert "--mask is for --export" in exported.run("history", "o-7", "--mask").err


def test_a_file_that_is_there_is_not_replaced(exported: Shell) -> None:
    before = (exported.folder / "o-7.jsonl").read_text()

    done = exported.run("history", "o-7", "--export", "o-7.jsonl", "--mask")

    assert done.code == 2
    assert "There is a file 'o-7.jsonl' already.\nName another one" in done.err
    assert (exported.folder / "o-7.jsonl").read_text() == before


def test_a_file_that_cannot_be_written_is_named(exported: Shell) -> None:
    done = exported.run("history", "o-7", "--export", "no/such/folder")

    assert done.code == 2
    assert "'no/such/folder' cannot be written: No such file or directory." in done.err


# Replays


@pytest.mark.parametrize("target", [str(ORDERS), f"{ORDERS}:fulfil"])
def test_the_same_code_replays_without_any_effect(exported: Shell, target: str) -> None:
    done = replay(exported, target)

    assert done.code == 0
    assert re.fullmatch(r"fulfil/o-7 replays: \d+ states, without a difference\n", done.out)
    assert "a line that the user's code prints" in done.err


def test_other_code_is_shown_beside_what_was_recorded(exported: Shell) -> None:
    done = replay(exported, "new.py")

    assert (done.code, done.err) == (1, "")
    assert re.fullmatch(
        r"fulfil/o-7 does not replay: after \d+ of its \d+ facts\n"
        r"  charge\n"
        r"    recorded  step 'charge'\n"
        r"    now       step 'refund'\n"
        r'    \S+new.py, line 7, in fulfil: charged = await ctx.step\("refund", print, order\)\n',
        done.out,
    )


def test_a_masked_history_that_does_not_replay_says_that_it_is(exported: Shell) -> None:
    (exported.folder / "o-7.jsonl").unlink()
    exported.run("history", "o-7", "--export", "o-7.jsonl", "--mask")

    assert "The history is masked" in replay(exported, "new.py").out


# One operation


@pytest.mark.parametrize("text", ["charge", "c4ca4238a0b92382", "c4ca"])
def test_a_replay_stops_at_an_operation_and_shows_it(exported: Shell, text: str) -> None:
    done = replay(exported, str(ORDERS), "--at", text)

    assert done.code == 0
    assert re.search(r"operation +charge\nkind +step\nid +c4ca4238a0b92382\n", done.out)
    assert re.search(r"line +\S+orders.py, line \d+, in fulfil: await ctx.step\(", done.out)
    assert re.search(r"status +SUCCEEDED\ntook +\d+ m?s\nresult +null\n", done.out)


def test_an_operation_that_the_history_does_not_have_is_refused(exported: Shell) -> None:
    done = replay(exported, str(ORDERS), "--at", "label")

    assert done.code == 2
    assert "The history has no operation 'label'.\nIt has: charge, cooling off, ship\n" in done.err


def test_a_difference_on_the_way_is_shown(exported: Shell) -> None:
    done = replay(exported, "new.py", "--at", "ship")

    assert done.code == 1
    assert "now       step 'refund'" in done.out


def test_an_operation_that_is_never_asked_for_is_a_difference(exported: Shell) -> None:
    assert replay(exported, "new.py:waiting", "--at", "ship").code == 1
    done = replay(exported, "new.py:silent", "--at", "charge")

    assert done.code == 1
    assert "now       the function returns without it" in done.out


TOGETHER = """
import asyncio
from durably import DurableContext, durable_execution


@durable_execution
async def both(event: dict, ctx: DurableContext) -> None:
    await asyncio.gather(ctx.wait("night", 3600), ctx.step("lights", print))
"""
IN_TURN = """
from durably import DurableContext, durable_execution


@durable_execution
async def both(event: dict, ctx: DurableContext) -> None:
    await ctx.wait("night", 3600)
    await ctx.step("lights", print)
"""


def test_an_operation_that_is_asked_for_later_is_said_not_to_be_asked_for(shell: Shell) -> None:
    (shell.folder / "together.py").write_text(TOGETHER)
    (shell.folder / "in_turn.py").write_text(IN_TURN)
    export(shell, "together.py:both", "--no-wait")

    assert replay(shell, "in_turn.py").code == 0
    done = replay(shell, "in_turn.py", "--at", "lights")

    assert (done.code, done.err) == (1, "")
    assert done.out == "lights: the code does not ask for it: it ends, or waits, before that\n"


def export(shell: Shell, target: str, *more: str) -> None:
    """Run an execution as far as it goes, and export its history."""
    shell.run("run", target, "--input", "{}", "--name", "o-7", "-q", *more)
    assert shell.run("history", "o-7", "--export", "o-7.jsonl").code == 0


def test_the_error_of_an_operation_is_shown(shell: Shell) -> None:
    export(shell, f"{ORDERS}:stumble", "--no-wait")

    done = replay(shell, str(ORDERS), "--at", "call")

    assert re.search(r"status +PENDING\nerror +ConnectionError: no route\n", done.out)


# The debugger


def test_the_debugger_stands_in_the_handler_and_steps_through_it(exported: Shell) -> None:
    done = replay(exported, "new.py:waiting", "--at", "charge", "--pdb", stdin="p order\nn\nc\n")

    assert done.code == 0
    assert re.search(r"> \S+new.py\(25\)waiting\(\)\n-> await ctx.step", done.out)
    assert "{'id': 'Lovelace'}" in done.out
    assert re.search(r"> \S+new.py\(26\)waiting\(\)\n-> await ctx.wait", done.out)


def test_the_debugger_can_be_left(exported: Shell) -> None:
    done = replay(exported, "new.py:waiting", "--at", "charge", "--pdb", stdin="q\n")

    assert (done.code, done.err) == (0, "")


def test_the_debugger_stands_in_a_thread_too(shell: Shell) -> None:
    (shell.folder / "open gate").touch()
    export(shell, f"{ORDERS}:gated")

    done = replay(shell, str(ORDERS), "--at", "gate", "--pdb", stdin="p event\nb 1\nc\n")

    assert done.code == 0
    assert re.search(r"> \S+orders.py\(\d+\)gated\(\)\n-> ctx.step\(\"gate\"", done.out)


def test_the_debugger_stands_where_the_code_differs(exported: Shell) -> None:
    done = replay(exported, "new.py", "--pdb", stdin="p order\nq\n")

    assert done.code == 1
    assert done.out.count("does not replay") == 1
    assert re.search(r"> \S+new.py\(7\)fulfil\(\)\n-> charged = await", done.out)


def test_the_debugger_stands_where_the_code_has_raised(exported: Shell) -> None:
    done = replay(exported, "new.py:raising", "--pdb", stdin="p order\nq\n")

    assert done.code == 1
    assert re.search(r"> \S+new.py\(20\)raising\(\)\n-> missing = order", done.out)


def test_there_may_be_nowhere_to_stand(exported: Shell) -> None:
    done = replay(exported, "new.py:silent", "--pdb", stdin="")

    assert done.code == 1
    assert "There is no line to stand in" in done.err


def test_the_debugger_has_nothing_to_do_where_the_code_replays(exported: Shell) -> None:
    assert "without a difference" in replay(exported, str(ORDERS), "--pdb", stdin="").out


# What cannot be tried


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (None, "'o-7.jsonl' cannot be read: No such file or directory."),
        (b"", "'o-7.jsonl' cannot be replayed: line 1 is not the head of a history"),
        (b"\xff", "'o-7.jsonl' is not UTF-8 text"),
    ],
)
def test_what_is_no_history_is_refused(shell: Shell, raw: bytes | None, said: str) -> None:
    file: Path = shell.folder / "o-7.jsonl"
    if raw is not None:
        file.write_bytes(raw)

    done = replay(shell, str(ORDERS))

    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_file_without_the_function_is_refused(exported: Shell) -> None:
    (exported.folder / "other.py").write_text(NEW.replace("def fulfil", "def deliver"))

    done = replay(exported, "other.py")

    assert done.code == 2
    assert "several durable functions" in done.err
