"""What is wrong with a store: one sentence, a next step, nothing lost, and work that goes on."""

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

import pytest

from durably import Engine
from durably.cli.main import main
from tests.cli import orders
from tests.cli.conftest import ORDERS, Done, Shell

# ruff: noqa: S603, S607 - the programs are our own, and mount's

NOBODY = 65_534


def fulfil(name: str = "o-7") -> tuple[str, ...]:
    return ("run", f"{ORDERS}:fulfil", "--input", '{"id":"o-7"}', "--name", name)


# Who holds it


def test_two_processes_cannot_run_on_one_store(shell: Shell) -> None:
    worker = shell.worker()

    done = shell.run(*fulfil())

    assert (done.code, done.out) == (2, "")
    assert f"durably.db is held by process {worker.pid}" in done.err
    assert "`durably start` hands that process an execution" in done.err
    assert shell.run("start", "fulfil", "--input", '{"id":"o-7"}').code == 0
    shell.wait_for(lambda: shell.effects == ["charge o-7", "ship o-7"])


def test_a_store_whose_owner_takes_no_commands_is_given_up_on(shell: Shell) -> None:
    shell.worker()
    (shell.folder / "durably.db.sock").unlink()

    done = shell.run("start", f"{ORDERS}:sleep_long")

    assert done.code == 2
    assert "is held by process" in done.err


# What it is


@pytest.mark.parametrize("words", [("list",), ("stop", "x"), ("why", "x"), ("start", "fulfil")])
def test_a_store_that_is_not_there_is_not_made_by_accident(
    shell: Shell, words: tuple[str, ...]
) -> None:
    done = shell.run(*words, "--store", "sqlite:typo.db")

    assert (done.code, done.out) == (2, "")
    assert "There is no database" in done.err
    assert "typo.db" in done.err
    assert list(shell.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memory:", "memory: is known to nobody but the process that uses it."),
        ("postgresql://me:secret@localhost:1/orders", "no connection to postgresql://localhost:1/"),
        ("orders.db", "must be sqlite:PATH, postgresql://… or memory:"),
        ("sqlite:", "is no file"),
    ],
)
def test_a_url_that_will_not_do_is_refused(shell: Shell, url: str, said: str) -> None:
    done = shell.run("list", "--store", url)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_store_in_memory_is_enough_for_one_run(shell: Shell) -> None:
    done = shell.run(*fulfil(), "--store", "memory:")

    assert done.code == 0
    assert [path.name for path in shell.folder.iterdir()] == ["effects"]


def test_a_folder_that_is_not_there_is_named(shell: Shell) -> None:
    done = shell.run(*fulfil(), "--store", "sqlite:no/durably.db")

    assert done.code == 2
    assert re.search(r"no/durably\.db: there is no directory '.*/no'\. Make it", done.err)


@pytest.mark.parametrize("command", [fulfil(), ("list",)], ids=["run", "list"])
def test_a_damaged_store_is_refused_and_a_restored_one_goes_on(
    shell: Shell, command: tuple[str, ...]
) -> None:
    shell.run(*fulfil(), "--no-wait")
    good = shell.database.read_bytes()
    shell.database.write_bytes(good[:100] + b"\xa5" * (len(good) - 100))

    done = shell.run(*command)
    shell.database.write_bytes(good)

    assert (done.code, done.out) == (2, "")
    assert "Do not write to it any more. Restore a backup" in done.err
    assert shell.run(*fulfil()).code == 0
    assert shell.effects == ["charge o-7", "ship o-7"]


def test_a_file_that_is_no_database_is_left_alone(shell: Shell) -> None:
    (shell.folder / "shop.py").write_text("def f(): ...\n" * 20)

    for command in (fulfil(), ("list",)):
        done = shell.run(*command, "--store", "sqlite:shop.py")

        assert (done.code, done.out) == (2, "")
        assert "shop.py is not a SQLite database. Name another file." in done.err
        assert "Do not write" not in done.err
    assert (shell.folder / "shop.py").read_text() == "def f(): ...\n" * 20


@pytest.mark.parametrize("command", [fulfil(), ("list",)], ids=["run", "list"])
def test_a_store_of_a_newer_version_is_refused(shell: Shell, command: tuple[str, ...]) -> None:
    shell.run(*fulfil(), "--no-wait")
    database = sqlite3.connect(shell.database)
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.close()

    done = shell.run(*command)

    assert (done.code, done.out) == (2, "")
    assert "has schema 99" in done.err
    assert "Install that version or a later one." in done.err


# Where there is no room, and no right


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_told_and_the_work_goes_on_when_there_is_room(
    shell: Shell, disk: Path
) -> None:
    words = (
        "run",
        f"{ORDERS}:gated",
        "--input",
        "{}",
        "--name",
        "g",
        "--store",
        f"sqlite:{disk}/durably.db",
    )
    process = shell.start(*words)
    shell.reach()
    fill(disk / "ballast")
    shell.open()
    assert process.stderr is not None
    said = process.stderr.readline()
    while "Make room on the disk." not in said:
        said = process.stderr.readline()
        assert said
    stopped = shell.interrupt(process, signal.SIGINT)
    (disk / "ballast").unlink()

    done = shell.run(*words)

    assert stopped.code in (2, 130)
    assert (done.code, done.out) == (0, '"through"\n')
    assert shell.effects == ["before", "after"]


def fill(path: Path) -> None:
    """Take all the room that there is."""
    with path.open("wb", buffering=0) as ballast:
        for size in (100_000, 1_000, 1):
            with suppress(OSError):
                while ballast.write(bytes(size)) == size:
                    pass


def test_a_store_that_may_not_be_written_can_be_read() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        asyncio.run(_with_one_execution(folder))
        (folder / "durably.db").chmod(0o444)
        (folder / "durably.db.lock").unlink()
        folder.chmod(0o555)

        written = as_nobody(folder, *fulfil())
        stopped = as_nobody(folder, "stop", "kept")
        read = as_nobody(folder, "show", "kept", "--json")
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)

    assert written.code == stopped.code == 2
    assert "Check who owns the database file" in written.err
    assert "Check who owns the database file" in stopped.err
    assert (read.code, read.err) == (0, "")
    assert read.json["Status"] == "SUCCEEDED"


async def _with_one_execution(folder: Path) -> None:
    async with Engine(f"sqlite:{folder}/durably.db", [orders.odd]) as engine:
        await (await engine.start("odd", "control", name="kept")).result()


def as_nobody(folder: Path, *words: str) -> Done:
    """Give a command in a child that file permissions hold for, whoever runs the tests."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # that forking and threads do not mix
            child = os.fork()
        if not child:
            _be_nobody(folder, words, out, err)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return Done(code, out.read(), err.read())


def _be_nobody(folder: Path, words: tuple[str, ...], out: IO[str], err: IO[str]) -> NoReturn:
    code = 1
    try:
        os.chdir(folder)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["durably", *words]
        if not os.geteuid():
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        main()
    except SystemExit as leave:
        code = int(leave.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


# What loops


def test_a_parked_execution_says_so_and_goes_on_when_it_is_run_again(shell: Shell) -> None:
    again = ("run", f"{ORDERS}:crash", "--input", "{}", "--name", "c")
    parked = shell.run(*again, "--park-after", "1")
    assert parked.code == 3

    why = shell.run("why", "c").out
    assert "c is parked" in why
    assert "It loops: 1 invocation failed in a row, the last one with" in why
    assert "out of order" in why
    assert "Mend the cause; nothing lets it go on before `durably resume c`." in why
    assert [one["Status"] for one in shell.run("list", "--parked", "--json").json] == ["RUNNING"]
    assert "PARKED" in shell.run("list").out

    (shell.folder / "repaired").touch()
    done = shell.run(*again)
    assert (done.code, done.out) == (0, '"repaired"\n')


def test_without_its_packages_the_command_line_says_what_to_install(shell: Shell) -> None:
    program = "import sys; sys.modules['click'] = None; from durably.__main__ import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=shell.env, check=False
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'durably[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_its_packages_the_server_names_its_extra(shell: Shell) -> None:
    program = "import sys; sys.modules['starlette'] = None; import durably.server.app"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=shell.env, check=False
    )

    assert done.returncode == 1
    assert (
        "ModuleNotFoundError: durably.server needs `pip install 'durably[server]'`" in done.stderr
    )
