"""Worker processes: how they are begun, awaited and ended, and what must hold at the very end."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from random import Random

from durably.app.engine import Engine
from tests.chaos.oracle import Oracle
from tests.chaos.worker import Life, work

LONGEST_LIFE = 2.5
DRAIN_SECONDS = 120.0
_READY_SECONDS = 30.0
_HISTORIES = 200
# Workers are forked from a process that has imported everything: a life begins at once.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.chaos.many_workers"])


class Worker:
    """A process that works for one life.

    Attributes:
        life: what it is to do.
        pid: of the process.
    """

    def __init__(self, life: Life) -> None:
        self.life = life
        self._told, telling = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(target=work, args=(life, telling), daemon=True)
        self._process.start()
        telling.close()
        self.pid = self._process.pid

    @property
    def code(self) -> int | None:
        """How it has ended: the negative number of a signal, or its exit code."""
        return self._process.exitcode

    def await_ready(self) -> None:
        """Return when it works, or is dead."""
        if not self._told.poll(_READY_SECONDS):
            raise RuntimeError(f"the worker is not ready in {_READY_SECONDS} s")
        try:
            self._told.recv()
        except EOFError:  # it is dead
            self._process.join(_READY_SECONDS)
            if self.code != -signal.SIGKILL:
                raise RuntimeError(f"the worker did not come up: {self.code}") from None

    def idle(self, seconds: float) -> None:
        """Let it live for so long."""
        self._process.join(seconds)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it is dead."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid or 0, number)

    def end(self) -> None:
        """Kill it, if it lives."""
        self._process.kill()
        self._process.join()
        self._told.close()

    def await_end(self, oracle: Oracle) -> None:
        """Let it end by itself, and blame it if it does not."""
        self._process.join(DRAIN_SECONDS)
        if self.code is None:
            oracle.violations["liveness"].append(f"not all ended in {DRAIN_SECONDS} s")
        elif self.code:
            oracle.violations["trouble"].append(f"a worker ended with {self.code}")
        self.end()


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
