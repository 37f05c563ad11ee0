"""An engine in a process that was forked from the one that opened it: told so, and harmless."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from durably import StoreLockedError
from durably.clients.control import ControlClient
from durably.stores.sqlite import SqliteStore

pytestmark = pytest.mark.process

PROGRAM = Path(__file__).with_name("fork_while_open.py")
CALLS = 8


class Forked:
    """The program, after it has forked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        lines = [self.read_line() for _ in range(CALLS + 1)]
        [forked] = [line for line in lines if line.endswith(" forked")]
        self.child = int(forked.split()[0])
        self.told = [line for line in lines if line != forked]

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> list[str]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return [self.read_line(), self.read_line()]


@contextmanager
def forked(kind: str, path: Path, *more: str) -> Iterator[Forked]:
    arguments = [sys.executable, str(PROGRAM), kind, str(path), *more]
    environment = os.environ | {"PYTHONPATH": str(PROGRAM.parents[2])}
    with subprocess.Popen(  # noqa: S603 - ours
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # with a group of its own, to which the child belongs
    ) as process:
        try:
            yield Forked(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(params=["async", "sync"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_forked_child_is_told_at_every_call_whose_engine_it_is(kind: str, tmp_path: Path) -> None:
    with forked(kind, tmp_path / "d.db") as program:
        said = f"InvalidStateError the engine was opened by process {program.process.pid}, and "

        assert program.told == [f"{said}this one was forked from it: open another one here"] * CALLS


def test_the_end_of_a_forked_child_leaves_the_parents_engine_as_it_is(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "d.db"
    with forked(kind, path, "ends") as program:
        with pytest.raises(StoreLockedError, match=f"is held by process {program.process.pid}"):
            asyncio.run(SqliteStore(path).open())
        assert ControlClient(path).is_answered()

        assert program.go_on() == ["3", "closed"]


def test_a_forked_child_outlives_its_parent_and_keeps_nobody_from_anything(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "d.db"
    with forked(kind, path) as program:
        program.process.kill()
        program.process.wait()

        assert not ControlClient(path).is_answered()
        os.kill(program.child, 0)  # it is there
