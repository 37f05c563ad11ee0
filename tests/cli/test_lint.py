"""`durably lint`, as a command."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import DURABLY, ROOT, Shell

WRONG = """import time
from durably import durable_execution

raise SystemExit("this is read, and never run")

@durable_execution
async def handler(event, ctx):
    return "\N{SNOWMAN}", time.time()
"""
RIGHT = WRONG.replace("time.time()", "ctx.now()")
OURS = ("benchmarks", "examples", "scripts", "src", "tests/conformance/handlers")


@pytest.fixture
def wrong(shell: Shell) -> Path:
    path = shell.folder / "wrong.py"
    path.write_text(WRONG, encoding="utf-8")
    return path


def test_what_is_found_is_one_line_each_in_a_pipe(shell: Shell, wrong: Path) -> None:
    done = shell.run("lint", "wrong.py")

    assert done.code == 1
    assert done.out == (
        "wrong.py:8:17: clock: `time.time()` gives another time in every replay."
        " Write `ctx.now()`, or read the clock in a step.\n"
    )
    assert done.err == "1 finding in 1 file\n"


def test_nothing_found_says_so_and_succeeds(shell: Shell, wrong: Path) -> None:
    wrong.write_text(RIGHT, encoding="utf-8")

    done = shell.run("lint", wrong)

    assert (done.code, done.out, done.err) == (0, "", "0 findings in 1 file\n")


def test_json_is_one_object_for_each(shell: Shell, wrong: Path) -> None:
    done = shell.run("lint", "--format", "json", "wrong.py")

    assert (done.code, done.err) == (1, "")
    assert done.json == [
        {
            "path": "wrong.py",
            "line": 8,
            "column": 17,
            "rule": "clock",
            "message": "`time.time()` gives another time in every replay.",
            "instead": "Write `ctx.now()`, or read the clock in a step.",
            "source": '    return "\N{SNOWMAN}", time.time()',
            "width": 11,
        }
    ]
    assert len(done.out.splitlines()) == 3
    wrong.write_text(RIGHT, encoding="utf-8")
    assert json.loads(shell.run("lint", "--format", "json", "wrong.py").out) == []


def test_folders_are_looked_through_without_what_tools_made(shell: Shell, wrong: Path) -> None:
    for place in ("b/c", "a", ".hidden", "venv/lib", "node_modules", "__pycache__"):
        folder = shell.folder / "all" / place
        folder.mkdir(parents=True)
        (folder / "wrong.py").write_text(WRONG, encoding="utf-8")
        (folder / "wrong.txt").write_text(WRONG, encoding="utf-8")
    (shell.folder / "all" / "venv" / "pyvenv.cfg").touch()

    done = shell.run("lint", "all", "wrong.py", "all/a/wrong.py", "all/a/wrong.txt")

    paths = [line.partition(":")[0] for line in done.out.splitlines()]
    assert paths == ["all/a/wrong.py", "all/b/c/wrong.py", "wrong.py", "all/a/wrong.txt"]
    assert done.err == "4 findings in 4 files\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument 'PATH...'"),
        (["gone.py"], "Error: 'gone.py' cannot be read: No such file or directory."),
        (["wrong.py", "--format", "xml"], "'xml' is not one of"),
    ],
)
def test_what_cannot_be_done_is_another_exit_code(
    shell: Shell, wrong: Path, words: list[str], said: str
) -> None:
    done = shell.run("lint", *words)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_file_that_cannot_be_read_is_not_passed_over(shell: Shell, wrong: Path) -> None:
    (shell.folder / "loop.py").symlink_to("loop.py")
    (shell.folder / ".#wrong.py").symlink_to("an editor's lock")

    done = shell.run("lint", ".")

    assert (done.code, done.out) == (2, "")
    assert "Error: 'loop.py' cannot be read: Too many levels of symbolic links." in done.err


def test_a_folder_that_may_not_be_read_is_not_passed_over(shell: Shell, wrong: Path) -> None:
    closed = shell.folder / "closed"
    closed.mkdir(mode=0)
    if os.access(closed, os.R_OK):
        pytest.skip("this user may read everything")

    assert shell.run("lint", ".").code == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"durable = '\xff'", "this is not the text of a program: "),
        (b"# coding: nonsense\ndurable", "this is not the text of a program: unknown encoding"),
        (b"durable function", "this is not Python: invalid syntax"),
    ],
)
def test_what_is_not_python_is_a_finding(
    shell: Shell, wrong: Path, content: bytes, said: str
) -> None:
    wrong.write_bytes(content)

    done = shell.run("lint", wrong)

    assert done.code == 1
    assert said in done.out


def test_what_is_no_text_and_mentions_nothing_durable_is_left_alone(
    shell: Shell, wrong: Path
) -> None:
    wrong.write_bytes(b"# coding: nonsense\nyear = '\xff'")

    assert shell.run("lint", wrong).code == 0


def test_files_are_read_in_the_encoding_that_they_name(shell: Shell, wrong: Path) -> None:
    latin = WRONG.replace("\N{SNOWMAN}", "\xfc")
    wrong.write_bytes(f"# coding: latin-1\n{latin}".encode("latin-1"))
    assert "wrong.py:9:17: clock" in shell.run("lint", "wrong.py").out

    wrong.write_bytes(f"\ufeff{WRONG}".encode())
    assert "wrong.py:8:17: clock" in shell.run("lint", "wrong.py").out


def test_in_a_terminal_the_place_is_shown(shell: Shell, wrong: Path) -> None:
    shown = in_terminal(shell)

    plain = re.sub(r"\x1b\[\d+m", "", shown)
    assert plain.splitlines() == [
        "wrong.py:8:17 clock",
        '    return "\N{SNOWMAN}", time.time()',
        "                ^^^^^^^^^^^",
        "  `time.time()` gives another time in every replay.",
        "  Write `ctx.now()`, or read the clock in a step.",
        "",
    ]
    assert "\x1b[31mclock\x1b[0m" in shown


def test_without_colour_and_without_what_a_terminal_obeys(shell: Shell, wrong: Path) -> None:
    wrong.write_text(f"{RIGHT}\x1b[2J\n", encoding="utf-8")
    assert in_terminal(shell, NO_COLOR="1").splitlines() == [
        "wrong.py:9:1 unreadable",
        r"    \x1b[2J",
        "    ^",
        "  this is not Python: invalid non-printable character U+001B.",
        "  Mend it, or leave the file out.",
        "",
    ]

    wrong.write_bytes(b"\xff durable")
    assert len(in_terminal(shell, NO_COLOR="1").splitlines()) == 4


def in_terminal(shell: Shell, **env: str) -> str:
    """Give what a terminal is sent."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - our own
        [*DURABLY, "lint", "wrong.py"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=shell.folder,
        env=shell.env | env,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # Linux says so that the other end is closed
    os.close(ours)
    assert process.wait(timeout=50) == 1
    return shown.decode()


def test_our_own_programs_break_no_rule(shell: Shell) -> None:
    done = shell.run("lint", *(ROOT / folder for folder in OURS))

    assert (done.code, done.out) == (0, "")
