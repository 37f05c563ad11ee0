"""Worker processes: how they are begun, awaited and ended, and what must hold at the very end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from threading import Timer

import msgspec

from durably.app.engine import Engine
from tests.chaos.oracle import Oracle
from tests.chaos.worker import Life

LONGEST_LIFE = 2.5
DRAIN_SECONDS = 120.0
_ROOT = Path(__file__).parents[2]
_READY_SECONDS = 30.0
_HISTORIES = 200


def begin(life: Life) -> subprocess.Popen[str]:
    """Start a worker."""
    return subprocess.Popen(  # noqa: S603 - a program of ours
        [sys.executable, "-m", "tests.chaos.worker", msgspec.json.encode(life).decode()],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )


def await_ready(worker: subprocess.Popen[str]) -> None:
    """Return when a worker works, or is dead."""
    assert worker.stdout is not None
    watchdog = Timer(_READY_SECONDS, worker.kill)
    watchdog.start()
    line = worker.stdout.readline()
    watchdog.cancel()
    if line != "ready\n" and worker.wait(_READY_SECONDS) != -signal.SIGKILL:
        raise RuntimeError(f"the worker did not come up: {line!r}")


def idle(worker: subprocess.Popen[str], seconds: float) -> None:
    """Let a worker live for so long."""
    try:
        worker.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return


def await_end(worker: subprocess.Popen[str], oracle: Oracle) -> None:
    """Let a worker end by itself, and blame it if it does not."""
    try:
        worker.communicate(timeout=DRAIN_SECONDS)
    except subprocess.TimeoutExpired:
        oracle.violations["liveness"].append(f"not all ended in {DRAIN_SECONDS} s")
    finally:
        worker.kill()
        worker.communicate()
    if worker.returncode:
        oracle.violations["trouble"].append(f"a worker ended with {worker.returncode}")


async def check_histories(url: str, oracle: Oracle, random: Random) -> None:
    """Read some histories through the front door: event ids without gaps, time in order."""
    arns = sorted(oracle.database.journals)
    chosen = random.sample(arns, min(len(arns), _HISTORIES))
    async with Engine(url) as engine:
        for arn in chosen:
            events = await (await engine.get(arn)).history()
            at = [event.event_timestamp for event in events]
            ids = [event.event_id for event in events]
            if ids != list(range(1, len(ids) + 1)) or at != sorted(at):
                oracle.violations["history"].append(f"events of {arn}: {ids}")
