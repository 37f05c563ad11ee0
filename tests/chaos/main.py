"""`make chaos`: workers are killed with SIGKILL at random moments under load; nothing may be lost.

`python -m tests.chaos.main --kills 60 --seed 7` repeats a run as far as processes can be repeated:
the moments are the same, what the machine does in between is not. The exit code is 1 if a promise
was broken or the run proves nothing.

With `--store postgresql` several workers share a database, which crashes, and more befalls them:
see `many_workers`. With `--seconds 3600` run follows upon run until so much time has passed; on
PostgreSQL it is the same server all the while. Nothing of a run is kept when it was good.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic

from tests.chaos.many_workers import Fleet, Wanted
from tests.chaos.one_worker import Run
from tests.stores.postgres_server import OwnServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, judge, and report."""
    asked = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and leave nothing running
    server = None if asked.store == "sqlite" else OwnServer()
    try:
        return int(not _run_all(asked, server))
    finally:
        if server is not None:
            server.end()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.main", description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--kills", type=int, help="how many; 60 by default, 30 on PostgreSQL")
    parser.add_argument("--seconds", type=float, default=0.0, help="begin runs for so long")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--open", type=int, help="orders at a time; 150, or 60 on PostgreSQL")
    parser.add_argument("--folder", help="where the runs' folders are made")
    asked = parser.parse_args(arguments)
    is_alone = asked.store == "sqlite"
    asked.kills = asked.kills or (60 if is_alone else 30)
    asked.open = asked.open or (150 if is_alone else 60)
    return asked


def _run_all(asked: argparse.Namespace, server: OwnServer | None) -> bool:
    """Run once, or for as long as was asked for; print what has happened in all."""
    counts: Counter[str] = Counter()
    began = monotonic()
    is_good, number = True, 0
    while is_good and (number == 0 or monotonic() - began < asked.seconds):
        folder = Path(tempfile.mkdtemp(prefix="durably-chaos-", dir=asked.folder))
        seed = asked.seed + number
        number += 1
        print(f"chaos: {asked.kills} kills on {asked.store}, seed {seed}, in {folder}")
        is_good = _run(folder, asked, seed, server, counts)
        print(f"chaos: {monotonic() - began:.0f} s, {number} runs")
        if is_good:
            shutil.rmtree(folder)
        else:
            print(f"chaos: what there is of it is kept in {folder}")
    for what, count in counts.items():
        print(f"{count:>10,}  {what}")
    return is_good


def _run(
    folder: Path,
    asked: argparse.Namespace,
    seed: int,
    server: OwnServer | None,
    counts: Counter[str],
) -> bool:
    """Run once, add to *counts* what has happened, and say whether it was good."""
    run: Run | Fleet
    if server is None:
        run = Run(folder, seed, kills=asked.kills, open_orders=asked.open)
    else:
        wanted = Wanted.with_kills(asked.kills)
        run = Fleet(folder, seed, server, wanted=wanted, open_orders=asked.open)
    with closing(run):
        while not run.is_over and not run.oracle.violations:
            _show(run.step(), run)
        if not run.oracle.violations:
            run.drain()
    counts.update(run.counts)
    counts.update(run.oracle.totals())
    counts.update({promise: len(run.oracle.violations[rule]) for rule, promise in RULES.items()})
    return _is_good(run)


def _show(text: str, run: Run | Fleet) -> None:
    text = f"{text}; {run.oracle.finished} of {run.oracle.orders} orders done"
    is_terminal = sys.stdout.isatty()
    print(f"\r{text}  " if is_terminal else text, end="" if is_terminal else "\n", flush=True)


def _is_good(run: Run | Fleet) -> bool:
    print()
    violations = run.oracle.violations
    for rule, texts in violations.items():
        for text in texts[:5]:
            print(f"VIOLATED {rule}: {text[:2000]}")
    if any(violations.values()):
        return False
    is_proof = run.is_proof and run.oracle.finished > 0
    if not is_proof:
        print("chaos: too few faults met work in flight: this run proves nothing")
    return is_proof


RULES = {
    "acknowledged": "acknowledged updates lost (P1, P2, P8)",
    "half-applied": "half-applied checkpoints (I7)",
    "at-most-once": "at-most-once steps run twice, or before their START was durable (P4)",
    "repeated": "steps run again without need (P3)",
    "terminal": "outcomes recorded twice, or left again (P5)",
    "history": "histories changed, with gaps or out of order (P10)",
    "value": "values that differ from what is recorded (P18)",
    "result": "results that differ from the model",
    "liveness": "executions that did not come to their end, claims left over (P14)",
    "integrity": "failed integrity checks of the database",
    "trouble": "errors seen by the worker",
}


if __name__ == "__main__":
    sys.exit(main())
