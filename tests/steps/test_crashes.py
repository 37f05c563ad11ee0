"""Killed at any point: a step's rows and its outcome are both there, or neither is."""

import subprocess
import sys
from pathlib import Path

import pytest

from durably import Engine
from durably.wire.history import EventType
from tests.steps.conftest import Database

PROGRAM = Path(__file__).with_name("pay_until_killed.py")
STEPS_BEFORE_THE_KILL = (1, 4, 9, 23)


def kill_after(url: str, steps: int) -> None:
    """Let the program write until its next *steps* steps have, and kill it without warning."""
    command = [sys.executable, str(PROGRAM), url, "order"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        assert process.stdout is not None
        for _ in range(steps):
            process.stdout.readline()
        process.kill()


async def outcomes(url: str) -> int:
    """Say how many steps have succeeded."""
    async with Engine(url) as engine:
        [listed] = (await engine.list()).executions
        amount, marker = 0, None
        while True:
            page = await engine.history(listed.arn, marker=marker, max_items=1000)
            amount += [one.event_type for one in page.events].count(EventType.STEP_SUCCEEDED)
            marker = page.next_marker
            if marker is None:
                return amount


@pytest.mark.process
@pytest.mark.timeout(100)
async def test_a_killed_process_leaves_rows_and_outcomes_alike(database: Database) -> None:
    before = 0
    for steps in STEPS_BEFORE_THE_KILL:
        kill_after(database.url, steps)
        recorded = await outcomes(database.url)

        assert database.paid() == list(range(recorded))
        assert recorded >= before + steps - 1
        before = recorded
