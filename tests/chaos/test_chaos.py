"""A chaos run in small: three kills, and nothing of what was promised is broken."""

from pathlib import Path

import pytest

from tests.chaos.main import Run

pytestmark = pytest.mark.process

KILLS = 3


@pytest.mark.timeout(120)
def test_killed_workers_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    run = Run(tmp_path, seed=11, open_orders=20)

    while run.faults.kills < KILLS:
        run.kill()
    run.drain()

    assert not run.oracle.violations
    assert run.faults.in_flight
    assert run.oracle.finished == run.oracle.orders > 0
