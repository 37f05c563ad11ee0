"""Chaos runs in small: a few faults, and nothing of what was promised is broken."""

from pathlib import Path

import pytest

from tests.chaos.many_workers import Fleet, Wanted
from tests.chaos.one_worker import Run
from tests.stores.postgres_server import OwnServer

pytestmark = pytest.mark.process

KILLS = 3


@pytest.mark.timeout(120)
def test_killed_workers_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    run = Run(tmp_path, seed=11, kills=KILLS, open_orders=20)

    while not run.is_over:
        run.step()
    run.drain()

    assert not run.oracle.violations
    assert run.faults.in_flight
    assert run.oracle.finished == run.oracle.orders > 0


@pytest.mark.timeout(120)
def test_workers_and_a_database_that_fail_lose_nothing_and_do_nothing_twice(
    tmp_path: Path,
) -> None:
    wanted = Wanted(kills=1, crashes=1, zombies=1, terminations=5, ambiguous=5)
    server = OwnServer()
    run = Fleet(tmp_path, 11, server, wanted=wanted, open_orders=15)
    try:
        while not run.is_over and not run.oracle.violations:
            run.step()
        run.drain()
    finally:
        run.close()
        server.end()

    assert not run.oracle.violations
    assert run.faults.taken
    assert run.oracle.finished == run.oracle.orders > 0
