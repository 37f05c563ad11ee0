"""The command, as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from durably import DurableFunction, Engine
from tests.cli import orders

ORDERS = Path(__file__).with_name("orders.py")
ROOT = Path(__file__).parents[2]
DURABLY = [sys.executable, "-m", "durably"]


@dataclass(frozen=True, slots=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """A folder, and commands given in it."""

    folder: Path
    env: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    callback_id: str = ""
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.folder / "durably.db"

    def start(self, *words: object, **how: Any) -> subprocess.Popen[str]:
        """Start a command, and give it while it runs."""
        process = subprocess.Popen(  # noqa: S603 - our own
            [*DURABLY, *map(str, words)],
            stdin=how.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.env,
            **how,
        )
        self.started.append(process)
        return process

    def run(self, *words: object, stdin: str | None = None, **how: Any) -> Done:
        """Run a command to its end."""
        if stdin is not None:
            how["stdin"] = subprocess.PIPE
        process = self.start(*words, **how)
        return self.end(process, stdin)

    def end(self, process: subprocess.Popen[str], stdin: str | None = None) -> Done:
        """Wait for a command, and say what it came to. It never shows a traceback."""
        out, err = process.communicate(stdin, timeout=50)
        assert "Traceback" not in err
        return Done(process.returncode, out, err)

    def interrupt(self, process: subprocess.Popen[str], number: signal.Signals) -> Done:
        process.send_signal(number)
        return self.end(process)

    def wait_for(self, is_so: Callable[[], object]) -> None:
        """Wait until something is so."""
        while not is_so():
            Event().wait(0.01)

    def reach(self, gate: str = "gate") -> None:
        """Wait until a durable function is at its gate."""
        self.wait_for((self.folder / f"at {gate}").exists)

    def open(self, gate: str = "gate") -> None:
        """Let it go on."""
        (self.folder / f"open {gate}").touch()

    @property
    def effects(self) -> list[str]:
        path = self.folder / "effects"
        return path.read_text().splitlines() if path.exists() else []

    def worker(self, *words: object) -> subprocess.Popen[str]:
        """Start a worker, and wait until it is ready."""
        process = self.start("worker", ORDERS, *words)
        assert process.stderr is not None
        assert "ready" in process.stderr.readline()
        self.workers.append(process)
        return process

    def end_workers(self) -> None:
        """Tell every worker to end, and wait until it has."""
        for worker in self.workers:
            assert self.interrupt(worker, signal.SIGTERM).code == 0

    def engine(self) -> Engine:
        """Give an engine on the store, with the functions of orders.py, for this process."""
        functions = [one for one in vars(orders).values() if isinstance(one, DurableFunction)]
        return Engine(f"sqlite:{self.database}", functions, grace=0)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    env = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    paths = [str(ROOT / "src"), *filter(None, [env.get("PYTHONPATH")])]
    env |= {"ORDERS_FOLDER": str(tmp_path), "PYTHONPATH": os.pathsep.join(paths)}
    shell = Shell(tmp_path, env)
    orders.FOLDER = tmp_path
    yield shell
    for process in shell.started:
        process.kill()
        process.communicate()


_UNWANTED = ("DURABLY_STORE", "DURABLY_DEBUG", "NO_COLOR", "FORCE_COLOR", "COLUMNS")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test here: each starts real processes."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.process)
