"""`durably run`: streams, exit codes, going on by name."""

import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import DURABLY, ORDERS, Shell

# Streams and exit codes


def test_standard_output_has_the_result_and_nothing_else(shell: Shell) -> None:
    done = shell.run("run", f"{ORDERS}:fulfil", "--input", '{"id": "o-7"}', "--name", "o-7")

    assert (done.code, done.out) == (0, '{"order":"o-7","paid":1.0}\n')
    assert "a line that the user's code prints" in done.err
    assert "and one of a program" in done.err
    assert "o-7 succeeded" in done.err
    assert "\x1b" not in done.err
    assert shell.effects == ["charge o-7", "ship o-7"]
    assert shell.database.stat().st_mode & 0o777 == 0o600


def test_progress_is_told_in_plain_lines_where_nobody_draws(shell: Shell) -> None:
    done = shell.run("run", f"{ORDERS}:fulfil", "--input", '{"id": "o-7"}', "--name", "o-7")

    lines = [line for line in done.err.splitlines() if line.startswith("fulfil/o-7 ")]
    assert lines[0] == "fulfil/o-7 started"
    assert lines[1].startswith("fulfil/o-7 charge (step) succeeded in ")
    assert lines[-2].startswith("fulfil/o-7 ship (step) succeeded in ")
    assert lines[-1].startswith("fulfil/o-7 succeeded in ")
    assert any(re.search(r"cooling off \(wait\) waits until \d\d:\d\d:\d\d", one) for one in lines)


def test_quiet_shows_no_progress(shell: Shell) -> None:
    done = shell.run("run", "-q", f"{ORDERS}:odd", "--input", '"control"')

    assert done.code == 0
    assert done.err == ""


def test_a_failure_is_one_sentence_and_its_place_in_the_user_s_code(shell: Shell) -> None:
    done = shell.run("run", f"{ORDERS}:refuse", "--input", "{}", "--name", "no")

    assert (done.code, done.out) == (1, "")
    assert r"no failed in" in done.err
    assert r"PermissionError: not \x1b[31mallowed\x1b[0m, \u202eever" in done.err
    assert re.search(rf"  {re.escape(str(ORDERS))}, line \d+, in refuse\n", done.err)
    assert "handler.py" not in done.err


def test_what_terminals_obey_is_escaped_in_the_result(shell: Shell) -> None:
    done = shell.run("run", f"{ORDERS}:odd", "--input", '"control"')

    assert done.out == '"\\u009b31m\\u202e\\u007f"\n'
    assert done.json == "\x9b31m\u202e\x7f"


@pytest.mark.parametrize(("event", "said"), [("nan", "nan"), ("huge", "6291456 are allowed")])
def test_a_result_that_cannot_be_kept_is_a_failure(shell: Shell, event: str, said: str) -> None:
    done = shell.run("run", f"{ORDERS}:odd", "--input", json.dumps(event))

    assert (done.code, done.out) == (1, "")
    assert said in done.err


# Input


def test_the_input_comes_from_a_file_or_from_standard_input(shell: Shell) -> None:
    (shell.folder / "order.json").write_text('{ "id" : "o-1", "amount" : 2.50 }')

    from_file = shell.run("run", f"{ORDERS}:fulfil", "--input", "@order.json", "--name", "o-1")
    again = shell.run(
        "run",
        f"{ORDERS}:fulfil",
        "--input",
        "-",
        "--name",
        "o-1",
        stdin='{"id":"o-1","amount":2.50}',
    )

    assert from_file.json == again.json == {"order": "o-1", "paid": 2.5}
    assert shell.effects == ["charge o-1", "ship o-1"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{id: 7}", "The input is not JSON"),
        ("", "The input is not JSON"),
        ('{"id": "a", "id": "b"}', "the same key twice"),
        ('{"id": NaN}', "The input is not JSON"),
        ("[" * 600 + "]" * 600, "nested too deep"),
        ('"\\ud800"', "The input is not JSON"),
        ("@nowhere.json", "'nowhere.json' cannot be read: No such file"),
        ('{"id": 7}', "Input of fulfil: is not Order: Expected `str`, got `int` - at `$.id`"),
        ('{"amount": 7}', "missing required field `id`"),
    ],
)
def test_an_input_that_is_wrong_is_refused_and_nothing_is_started(
    shell: Shell, source: str, said: str
) -> None:
    done = shell.run("run", f"{ORDERS}:fulfil", "--input", source, "--name", "o-1")

    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not shell.database.exists()


def test_without_an_input_a_new_execution_gets_an_empty_object(shell: Shell) -> None:
    done = shell.run("run", f"{ORDERS}:fulfil")

    assert done.code == 2
    assert "missing required field `id`" in done.err


# Going on


def test_a_name_runs_once_and_answers_for_ever(shell: Shell) -> None:
    words = ("run", f"{ORDERS}:fulfil", "--name", "o-7")
    first = shell.run(*words, "--input", '{"id":"o-7"}')
    second = shell.run(*words, "--input", '{"id":"o-7"}')
    third = shell.run(*words)

    assert first.out == second.out == third.out
    assert shell.effects == ["charge o-7", "ship o-7"]


def test_a_name_in_use_with_another_input_is_refused(shell: Shell) -> None:
    words = ("run", f"{ORDERS}:fulfil", "--name", "o-7")
    shell.run(*words, "--input", '{"id":"o-7"}')

    done = shell.run(*words, "--input", '{"id":"o-8"}')

    assert (done.code, done.out) == (2, "")
    assert "An execution of this name exists" in done.err
    assert "leave --input out" in done.err
    assert shell.effects == ["charge o-7", "ship o-7"]


@pytest.mark.parametrize("function", ["gated", "gated_async"])
def test_a_process_that_is_killed_is_gone_on_with(shell: Shell, function: str) -> None:
    words = ("run", f"{ORDERS}:{function}", "--input", "{}", "--name", "g")
    process = shell.start(*words)
    shell.reach()
    process.kill()
    process.wait()
    shell.open()

    done = shell.run(*words)

    assert (done.code, done.out) == (0, '"through"\n')
    assert re.search(r"going on after [12] operation", done.err)
    assert shell.effects == ["before", "after"]


@pytest.mark.parametrize("function", ["gated", "gated_async"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_suspends_and_says_how_to_go_on(
    shell: Shell, function: str, number: signal.Signals
) -> None:
    process = shell.start(
        "run", f"{ORDERS}:{function}", "--input", "{}", "--name", "g", "--store", "sqlite:my.db"
    )
    shell.reach()
    process.send_signal(number)
    done = shell.interrupt(process, number)  # the second one ends the time to finish

    assert (done.code, done.out) == (130, "")
    assert "g is suspended, and nothing that was recorded is lost." in done.err
    [said] = re.findall(r"Go on with: durably (.*)", done.err)
    assert said == f"run {ORDERS}:{function} --name g --store sqlite:my.db"
    shell.open()
    assert shell.run(*said.split()).out == '"through"\n'
    assert shell.effects == ["before", "after"]


def test_what_ends_in_the_time_that_it_has_after_an_interruption_has_a_result(shell: Shell) -> None:
    process = shell.start("run", f"{ORDERS}:gated_async", "--input", "{}", "--name", "g")
    shell.reach()
    process.send_signal(signal.SIGINT)
    shell.open()
    done = shell.end(process)

    assert (done.code, done.out) == (0, '"through"\n')
    assert "g succeeded" in done.err
    assert shell.effects == ["before", "after"]


def test_no_wait_leaves_when_nothing_goes_on(shell: Shell) -> None:
    words = ("run", f"{ORDERS}:approve_many", "--name", "m")

    asked = shell.run(*words, "--input", "2", "--no-wait")
    again = shell.run(*words, "--no-wait")

    assert (asked.code, again.code) == (3, 3)
    assert asked.out == again.out == ""
    assert "m is suspended; `durably why m`" in asked.err
    assert len(re.findall(r"approve \d \(invoke\) waits", asked.err)) == 2
    why = shell.run("why", "m").out
    for callback_id in re.findall(r"durably callback succeed (\w+) --payload TEXT", why):
        assert shell.run("callback", "succeed", callback_id, "--payload", "[1]").code == 0
    done = shell.run(*words, "--no-wait")
    assert (done.code, done.json) == (0, [[1], [1]])


def test_a_changed_handler_fails_loudly(shell: Shell) -> None:
    program = shell.folder / "changing.py"
    program.write_text(ORDERS.read_text())
    words = ("run", f"{program}:fulfil", "--name", "o-7")
    assert shell.run(*words, "--input", '{"id":"o-7"}', "--no-wait").code == 3
    program.write_text(ORDERS.read_text().replace('"charge"', '"bill"'))

    done = shell.run(*words)

    assert (done.code, done.out) == (1, "")
    assert "NonDeterministicExecutionError" in done.err
    assert "charge" in done.err
    assert "bill" in done.err
    assert shell.effects == ["charge o-7"]


def test_an_unknown_name_without_an_input_starts_nothing(shell: Shell) -> None:
    words = ("run", f"{ORDERS}:gated", "--name", "typo")

    first = shell.run(*words)
    made = shell.database.exists()
    shell.run("run", f"{ORDERS}:odd", "--input", '"control"')
    second = shell.run(*words)

    assert not made
    for done in (first, second):
        assert (done.code, done.out) == (2, "")
        assert "There is no execution 'typo' of gated to go on with." in done.err
        assert "Give --input to start it" in done.err
    assert len(shell.run("list", "--json").json) == 1


def test_others_that_are_worked_on_are_named(shell: Shell) -> None:
    for name in ("g-1", "g-2"):
        shell.run("start", f"{ORDERS}:gated_async", "--name", name)
    shell.open()

    loud = shell.run("run", f"{ORDERS}:fulfil", "--input", '{"id":"o-7"}', "--name", "o-7")
    alone = shell.run("run", f"{ORDERS}:fulfil", "--input", '{"id":"o-8"}', "--name", "o-8")

    said = "fulfil/o-7 shares this process with gated_async/g-2, gated_async/g-1: due in the"
    assert said in loud.err
    assert loud.err.count("shares this process") == 1
    assert "shares this process" not in alone.err


def test_a_word_that_is_no_text_is_refused(shell: Shell) -> None:
    for words in (
        ("show", b"\xff"),
        ("stop", "x", "--reason", b"\xff"),
        ("callback", "fail", b"\xff"),
    ):
        command = subprocess.run(  # noqa: S603 - our own
            [*DURABLY, *words], check=False, capture_output=True, cwd=shell.folder, env=shell.env
        )

        assert command.returncode == 2
        assert b"on the command line is not UTF-8 text" in command.stderr
        assert b"defect" not in command.stderr


# The picture


def on_a_terminal(shell: Shell, *words: object, **env: str) -> tuple[str, str]:
    """Give what is printed on standard output, and what is drawn on the terminal."""
    master, terminal = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - our own
        [*DURABLY, *map(str, words)],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        cwd=shell.folder,
        env=shell.env | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"} | env,
    )
    os.close(terminal)
    drawn = b""
    while True:
        try:
            piece = os.read(master, 65_536)
        except OSError:  # the other end was closed
            break
        drawn += piece
    os.close(master)
    out, _ = process.communicate()
    assert process.returncode == 0
    return out.decode(), drawn.decode()


def test_on_a_terminal_a_picture_shows_what_is_under_way(shell: Shell) -> None:
    words = ("run", f"{ORDERS}:fulfil", "--input", '{"id":"o-7"}', "--name", "o-7")

    out, drawn = on_a_terminal(shell, *words)

    assert out == '{"order":"o-7","paid":1.0}\n'
    assert "cooling off" in drawn
    assert "goes on in" in drawn
    assert "1 done" in drawn
    assert "fulfil/o-7 ship (step) succeeded in" in drawn
    assert "a line that the user's code prints" in drawn
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", drawn)


def test_a_terminal_without_color_is_left_without(shell: Shell) -> None:
    words = ("run", f"{ORDERS}:fulfil", "--input", '{"id":"o-7"}')

    _, drawn = on_a_terminal(shell, *words, NO_COLOR="1")

    assert "cooling off" in drawn
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", drawn)


# Files


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere.py:fulfil", "There is no file 'nowhere.py'."),
        (f"{ORDERS}:fulfill", "has no durable function 'fulfill'."),
        (f"{ORDERS}:plain", "is a function, but not a durable one."),
        (f"{ORDERS}", "has several durable functions: approve,"),
        ("empty.py:f", "empty.py has no durable function."),
        ("broken.py:f", "broken.py is not valid Python: '(' was never closed."),
        ("raises.py:f", "raises.py could not be loaded: ZeroDivisionError: division by zero"),
        ("leaves.py:f", "leaves.py ended itself while it was loaded."),
        ("twins.py:f", "two of them are called 'f'"),
    ],
)
def test_a_file_that_will_not_do_is_refused_in_one_sentence(
    shell: Shell, target: str, said: str
) -> None:
    for name, text in FILES.items():
        (shell.folder / name).write_text(text)

    done = shell.run("run", target)

    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not shell.database.exists()


FILES = {
    "empty.py": "",
    "broken.py": "print(",
    "raises.py": "def f():\n    return 1 / 0\n\nf()\n",
    "leaves.py": "raise SystemExit(3)",
    "twins.py": """
from durably import durable_execution
def make():
    @durable_execution
    def f(event, ctx): ...
    return f
f = make()
g = make()
""",
    "only.py": """
from dataclasses import dataclass
from durably import durable_execution
import beside

@dataclass
class Order:
    id: "str"

@durable_execution
def f(order: "Order", ctx):
    return beside.GREETING + order.id
""",
    "beside.py": "GREETING = 'hello '",
}


def test_the_place_of_an_error_in_the_file_is_shown_without_our_own_frames(shell: Shell) -> None:
    path = shell.folder / "raises.py"
    path.write_text(FILES["raises.py"])

    done = shell.run("run", "raises.py:f")

    assert f"  {path}, line 4, in <module>: f()\n  {path}, line 2, in f: return 1 / 0\n" in done.err
    assert "durably/cli" not in done.err


def test_a_file_alone_will_do_and_may_import_what_lies_beside_it(shell: Shell) -> None:
    for name, text in FILES.items():
        (shell.folder / name).write_text(text)

    done = shell.run("run", "only.py", "--input", '{"id":"you"}')

    assert (done.code, done.out) == (0, '"hello you"\n')


def test_a_file_of_a_package_is_imported_as_part_of_it(shell: Shell) -> None:
    folder = shell.folder / "shop" / "orders"
    folder.mkdir(parents=True)
    (shell.folder / "shop" / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "beside.py").write_text(FILES["beside.py"])
    text = FILES["only.py"].replace("import beside", "from . import beside")
    (folder / "only.py").write_text(text)

    done = shell.run("run", "shop/orders/only.py:f", "--input", '{"id":"you"}')

    assert (done.code, done.out) == (0, '"hello you"\n')


# Help


def test_the_version_is_that_of_the_package(shell: Shell) -> None:
    done = shell.run("--version")

    assert re.fullmatch(r"durably \d+\.\d+\.\d+\n", done.out)


def test_every_command_explains_itself(shell: Shell) -> None:
    shell.env["COLUMNS"] = "80"
    listing = shell.run("--help").out
    alone = shell.run()
    names = re.findall(r"^  (\w+) ", listing.partition("Commands:")[2], re.MULTILINE)

    assert {"dev", "run", "serve", "worker", "workers"} <= set(names)
    assert len(names) == len(set(names)) == 17
    assert "..." not in listing.partition("Commands:")[2]
    assert (alone.code, alone.out, alone.err) == (2, "", listing)
    assert "durably callback [OPTIONS] COMMAND" in shell.run("callback").err.splitlines()[0]
    assert shell.run("run", "--help").out.count("Exit codes") == 1
    assert Path(shell.folder / "durably.db").exists() is False
