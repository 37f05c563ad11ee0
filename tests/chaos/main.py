"""`make chaos`: workers are killed with SIGKILL at random moments under load; nothing may be lost.

`python -m tests.chaos.main --kills 60 --seed 7` repeats a run as far as processes can be repeated:
the moments are the same, what the machine does in between is not. The exit code is 1 if a promise
was broken or the run proves nothing.

With `--store postgresql` several workers share a database, which crashes, and more befalls them:
see `many_workers`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from tests.chaos.many_workers import Fleet, Wanted
from tests.chaos.one_worker import Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, judge, and report."""
    asked = _parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="durably-chaos-", dir=asked.folder))
    print(f"chaos: {asked.kills} kills on {asked.store}, seed {asked.seed}, in {folder}")
    began = monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and leave nothing running
    run = _run(folder, asked)
    try:
        while not run.is_over and not run.oracle.violations:
            _show(run.step(), run)
        if not run.oracle.violations:
            run.drain()
        print(f"\nchaos: {monotonic() - began:.0f} s")
        is_good = _report(run)
    finally:
        run.close()
    if is_good:
        shutil.rmtree(folder)
    else:
        print(f"chaos: what there is of it is kept in {folder}")
    return int(not is_good)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.main", description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--kills", type=int, help="how many; 60 by default, 30 on PostgreSQL")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--open", type=int, help="orders at a time; 150, or 60 on PostgreSQL")
    parser.add_argument("--folder", help="where the run's folder is made")
    asked = parser.parse_args(arguments)
    is_alone = asked.store == "sqlite"
    asked.kills = asked.kills or (60 if is_alone else 30)
    asked.open = asked.open or (150 if is_alone else 60)
    return asked


def _run(folder: Path, asked: argparse.Namespace) -> Run | Fleet:
    if asked.store == "sqlite":
        return Run(folder, asked.seed, kills=asked.kills, open_orders=asked.open)
    return Fleet(folder, asked.seed, wanted=Wanted.with_kills(asked.kills), open_orders=asked.open)


def _show(text: str, run: Run | Fleet) -> None:
    text = f"{text}; {run.oracle.finished} of {run.oracle.orders} orders done"
    is_terminal = sys.stdout.isatty()
    print(f"\r{text}  " if is_terminal else text, end="" if is_terminal else "\n", flush=True)


def _report(run: Run | Fleet) -> bool:
    oracle = run.oracle
    print(f"faults: {run.said}")
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
    is_proof = run.is_proof and oracle.finished > 0
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
