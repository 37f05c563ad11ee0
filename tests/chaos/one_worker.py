"""Chaos on SQLite: one worker at a time, killed at random moments, and what it leaves behind."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos import aim
from tests.chaos.journal import Report
from tests.chaos.lives import LONGEST_LIFE, Worker, check_histories
from tests.chaos.oracle import Oracle
from tests.chaos.worker import LEDGER, Life

_DATABASE = "durably.db"
_LEASE_SECONDS = 30
# Of the kills so many hit a worker before it is ready, or one that has been asked to end, or are
# aimed at a certain moment. The others come at any time.
_STARTING = 0.1
_STOPPING = 0.1
_AIMED = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How one life ends: after *seconds*, which begin with the process or when it is ready.

    Attributes:
        aim: at which moment the worker is to kill itself before that, if at any.
    """

    seconds: float
    is_starting: bool = False
    is_stopping: bool = False
    aim: str | None = None

    @classmethod
    def draw(cls, random: Random) -> Plan:
        """Draw one."""
        kind = random.random()
        if kind < _STARTING:
            return cls(random.uniform(0.02, 0.5), is_starting=True)
        if kind < _STARTING + _AIMED:
            return cls(LONGEST_LIFE, aim=aim.draw(random))
        seconds = random.uniform(0.02, LONGEST_LIFE)
        return cls(seconds, is_stopping=kind > 1 - _STOPPING)


@dataclass(slots=True)
class Faults:
    """Proof that the kills met work: how many did, and what they met."""

    kills: int = 0
    aimed: int = 0
    in_flight: int = 0
    claimed: int = 0
    cut_off: int = 0


class Run:
    """One chaos run in a folder of its own."""

    def __init__(self, folder: Path, seed: int, *, kills: int, open_orders: int) -> None:
        self._folder = folder
        self._random = Random(seed)  # noqa: S311 - so that a run can be repeated
        self._kills = kills
        self._open = open_orders
        scratch = folder / "scratch"
        scratch.mkdir()
        database = folder / _DATABASE
        self._url = f"sqlite:{database}"
        self._life = 0
        self.oracle = Oracle(folder / LEDGER, lambda report: copied(database, scratch, report))
        self.faults = Faults()

    @property
    def is_over(self) -> bool:
        """Whether it has seen all its kills."""
        return self.faults.kills >= self._kills

    def step(self) -> str:
        """Kill a worker that still lives; say what it met."""
        while not self._kill():
            pass
        return (
            f"kill {self.faults.kills:>3}/{self._kills}: {self.oracle.database.claimed:>3} "
            f"invocations and {self.oracle.cut_off:>2} step bodies cut off"
        )

    def _kill(self) -> bool:
        """Let a worker live for a while, kill it, and judge what is left; say if it still lived."""
        plan = Plan.draw(self._random)
        worker = self._begin(self._open, plan.aim)
        try:
            if not plan.is_starting:
                worker.await_ready()
            worker.idle(plan.seconds)
            if plan.is_stopping:
                worker.send(signal.SIGTERM)
                worker.idle(self._random.uniform(0, 0.3))
        finally:
            worker.end()
        self.oracle.look([self._life])
        if worker.code != -signal.SIGKILL:
            return False
        claimed = self.oracle.database.claimed
        self.faults.kills += 1
        self.faults.aimed += plan.aim is not None
        self.faults.claimed += claimed
        self.faults.cut_off += self.oracle.cut_off
        self.faults.in_flight += bool(claimed or self.oracle.cut_off)
        return True

    def drain(self) -> None:
        """Let the last worker bring everything to its end, and judge the whole."""
        self._begin(0).await_end(self.oracle)
        self.oracle.look([self._life], is_last=True)
        self.oracle.finish()
        asyncio.run(check_histories(self._url, self.oracle, self._random))

    def close(self) -> None:
        """Leave nothing running: nothing does."""

    @property
    def counts(self) -> dict[str, int]:
        """What befell the workers."""
        faults = self.faults
        return {
            "SIGKILLs that hit a living worker": faults.kills,
            "of them aimed at a certain moment": faults.aimed,
            "of them with work in flight": faults.in_flight,
            "invocations cut off": faults.claimed,
            "step bodies cut off": faults.cut_off,
        }

    @property
    def is_proof(self) -> bool:
        """Whether enough kills met work."""
        return self.faults.in_flight * 2 >= self._kills

    def _begin(self, open_orders: int, aim: str | None = None) -> Worker:
        self._life += 1
        return Worker(
            Life(
                folder=str(self._folder),
                number=self._life,
                open=open_orders,
                url=self._url,
                lease=_LEASE_SECONDS,
                aim=aim,
            )
        )


@contextmanager
def copied(database: Path, scratch: Path, report: Report) -> Generator[sqlite3.Connection | None]:
    """Show a copy of *database*, made in *scratch* while nobody writes, if it has its tables."""
    for path in scratch.glob("copy.db*"):
        path.unlink()
    for path in database.parent.glob(f"{database.name}*"):
        if path.is_file() and not path.name.endswith((".lock", "-shm")):
            shutil.copy(path, scratch / path.name.replace(database.name, "copy.db"))
    with closing(sqlite3.connect(scratch / "copy.db")) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            report("integrity", str(found))
        sql = "SELECT count(*) FROM sqlite_master WHERE name = 'executions'"
        [has_schema] = connection.execute(sql).fetchone()
        yield connection if has_schema else None
