"""`make chaos`: a worker is killed with SIGKILL at random moments under load; nothing may be lost.

`python -m tests.chaos.main --kills 60 --seed 7` repeats a run as far as processes can be repeated:
the moments are the same, what the machine does in between is not. The exit code is 1 if a promise
was broken or the run proves nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Timer
from time import monotonic

from durably.app.engine import Engine
from tests.chaos import aim
from tests.chaos.oracle import Oracle
from tests.chaos.worker import DATABASE, LEDGER

_ROOT = Path(__file__).parents[2]
_READY_SECONDS = 30.0
_DRAIN_SECONDS = 120.0
_LONGEST_LIFE = 2.5
# Of the kills so many hit a worker before it is ready, or one that has been asked to end, or are
# aimed at a certain moment. The others come at any time.
_STARTING = 0.1
_STOPPING = 0.1
_AIMED = 0.5
_HISTORIES = 200


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
            return cls(_LONGEST_LIFE, aim=aim.draw(random))
        seconds = random.uniform(0.02, _LONGEST_LIFE)
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

    def __init__(self, folder: Path, seed: int, open_orders: int) -> None:
        self._folder = folder
        self._random = Random(seed)  # noqa: S311 - so that a run can be repeated
        self._open = open_orders
        self._scratch = folder / "scratch"
        self._scratch.mkdir()
        self._life = 0
        self.oracle = Oracle(folder / LEDGER)
        self.faults = Faults()

    def kill(self) -> bool:
        """Let a worker live for a while, kill it, and judge what is left; say if it still lived."""
        plan = Plan.draw(self._random)
        worker = self._worker(self._open, *([plan.aim] if plan.aim else ()))
        try:
            if not plan.is_starting:
                _await_ready(worker)
            _idle(worker, plan.seconds)
            if plan.is_stopping:
                worker.terminate()
                _idle(worker, self._random.uniform(0, 0.3))
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.communicate()
        self._judge()
        if worker.returncode != -signal.SIGKILL:
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
        worker = self._worker(0)
        try:
            worker.communicate(timeout=_DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.oracle.violations["liveness"].append(f"not all ended in {_DRAIN_SECONDS} s")
        finally:
            worker.kill()
            worker.communicate()
        if worker.returncode:
            self.oracle.violations["trouble"].append(f"the worker ended with {worker.returncode}")
        self._judge()
        self.oracle.finish()
        asyncio.run(self._check_histories())

    async def _check_histories(self) -> None:
        """Read some histories through the front door: event ids without gaps, time in order."""
        arns = sorted(self.oracle.database.journals)
        chosen = self._random.sample(arns, min(len(arns), _HISTORIES))
        async with Engine(f"sqlite:{self._folder / DATABASE}") as engine:
            for arn in chosen:
                events = await (await engine.get(arn)).history()
                at = [event.event_timestamp for event in events]
                ids = [event.event_id for event in events]
                if ids != list(range(1, len(ids) + 1)) or at != sorted(at):
                    self.oracle.violations["history"].append(f"events of {arn}: {ids}")

    def _worker(self, open_orders: int, *aim: str) -> subprocess.Popen[str]:
        self._life += 1
        arguments = [str(self._folder), str(self._life), str(open_orders), *aim]
        return subprocess.Popen(  # noqa: S603 - a program of ours
            [sys.executable, "-m", "tests.chaos.worker", *arguments],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )

    def _judge(self) -> None:
        self.oracle.look(self._folder / DATABASE, self._scratch, self._life)


def _await_ready(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    watchdog = Timer(_READY_SECONDS, worker.kill)
    watchdog.start()
    line = worker.stdout.readline()
    watchdog.cancel()
    if line != "ready\n" and worker.wait(_READY_SECONDS) != -signal.SIGKILL:
        raise RuntimeError(f"the worker did not come up: {line!r}")


def _idle(worker: subprocess.Popen[str], seconds: float) -> None:
    try:
        worker.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, judge, and report."""
    asked = _parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="durably-chaos-", dir=asked.folder))
    print(f"chaos: {asked.kills} kills, seed {asked.seed}, in {folder}")
    run = Run(folder, asked.seed, asked.open)
    began = monotonic()
    while run.faults.kills < asked.kills and not run.oracle.violations:
        if run.kill():
            _show(run, asked.kills)
    if not run.oracle.violations:
        run.drain()
    print(f"\nchaos: {monotonic() - began:.0f} s")
    is_good = _report(run, asked.kills)
    if is_good:
        shutil.rmtree(folder)
    else:
        print(f"chaos: the database and the ledger are kept in {folder}")
    return int(not is_good)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.main", description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="how many; 60 by default")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--open", type=int, default=150, help="how many orders are open at a time")
    parser.add_argument("--folder", help="where the run's folder is made")
    return parser.parse_args(arguments)


def _show(run: Run, kills: int) -> None:
    oracle, number = run.oracle, run.faults.kills
    text = (
        f"kill {number:>3}/{kills}: {oracle.database.claimed:>3} invocations and "
        f"{oracle.cut_off:>2} step bodies cut off; {oracle.finished} of {oracle.orders} orders done"
    )
    is_terminal = sys.stdout.isatty()
    if is_terminal or number % 10 == 0 or number == kills:
        print(f"\r{text}  " if is_terminal else text, end="" if is_terminal else "\n", flush=True)


def _report(run: Run, kills: int) -> bool:
    faults, oracle = run.faults, run.oracle
    print(
        f"faults: {faults.kills} SIGKILLs hit a living worker, {faults.aimed} of them aimed at a "
        f"certain moment; {faults.in_flight} met work in flight: "
        f"{faults.claimed} invocations and {faults.cut_off} step bodies cut off"
    )
    for what, count in oracle.totals().items():
        print(f"{count:>8,}  {what}")
    print()
    for rule, promise in RULES.items():
        print(f"{len(oracle.violations[rule]):>8}  {promise}")
    for rule, texts in oracle.violations.items():
        for text in texts[:5]:
            print(f"VIOLATED {rule}: {text[:2000]}")
    if any(oracle.violations.values()):
        return False
    is_proof = faults.in_flight * 2 >= kills and oracle.finished > 0
    if not is_proof:
        print("chaos: too few kills met work in flight: this run proves nothing")
    return is_proof


RULES = {
    "acknowledged": "acknowledged updates lost (P1, P2, P8)",
    "half-applied": "half-applied checkpoints (I7)",
    "at-most-once": "at-most-once steps run twice, or before their START was durable (P4)",
    "repeated": "steps run again without need (P3)",
    "terminal": "operations or executions that left their end (P5)",
    "history": "histories changed, with gaps or out of order (P10)",
    "value": "values that differ from what is recorded (P18)",
    "result": "results that differ from the model",
    "liveness": "executions that did not come to their end, claims left over (P14)",
    "integrity": "failed integrity checks of the database",
    "trouble": "errors seen by the worker",
}


if __name__ == "__main__":
    sys.exit(main())
