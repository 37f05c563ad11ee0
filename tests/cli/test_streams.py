"""Where the output of a command goes, and where it cannot."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import DURABLY, ORDERS, Shell

FULL = Path("/dev/full")


def into(shell: Shell, redirection: str, **env: str) -> subprocess.CompletedProcess[str]:
    words = [*DURABLY, "history", "n"]
    return subprocess.run(  # noqa: S603 - our own
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *words],
        cwd=shell.folder,
        env=shell.env | env,
        text=True,
        capture_output=True,
        check=False,
        timeout=50,
    )


@pytest.fixture
def ran(shell: Shell) -> Shell:
    words = ("run", f"{ORDERS}:sleep_long", "--input", '"Łukasz"', "--name", "n", "--no-wait")
    assert shell.run(*words).code == 3
    return shell


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_under_the_output_is_said_and_is_no_defect(ran: Shell) -> None:
    done = into(ran, f">{FULL}")

    assert done.returncode == 2
    assert done.stderr == f"Error: The output: {os.strerror(28)}.\n"


def test_a_command_whose_output_is_closed_does_its_work(ran: Shell) -> None:
    done = into(ran, ">&-")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_the_characters_gets_others(ran: Shell) -> None:
    done = into(ran, "", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_no_file_can_have_is_said(shell: Shell) -> None:
    done = shell.run("list", "--store", f"sqlite:{'x' * 300}")

    assert done.code == 2
    assert done.err.endswith(f"{os.strerror(36)}.\n")
