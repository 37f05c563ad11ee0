"""The pytest plugin of durably. It loads the package only for tests that ask for it.

That is why it stands beside the package: pytest imports the plugins of everything that is
installed, for every project.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from durably.testing import SyncTestEngine, TestEngine

_COST = "durably_cost"
_REPLAYED = "durably_replayed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("durably", "durable functions")
    group.addoption(
        "--durably-crash",
        choices=["all", "sample", "off"],
        help="at how many points `crash_everywhere` crashes where the test does not say it",
    )
    group.addoption(
        "--durably-cost",
        action="store_true",
        help="say what each test's executions would cost on the managed service",
    )
    group.addoption(
        "--durably-replay",
        action="store_true",
        help="replay each test's executions from every state that they have had",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell the test kit, by the environment: it need not be loaded for that."""
    crash = config.getoption("durably_crash")
    if crash is not None:
        _set_for(config, "DURABLY_CRASH", crash)
    if config.getoption("durably_cost"):
        _set_for(config, "DURABLY_COST", "1")
    if config.getoption("durably_replay"):
        _set_for(config, "DURABLY_REPLAY", "1")


def _set_for(config: pytest.Config, name: str, value: str) -> None:
    """Set a variable of the environment until pytest ends."""
    before = os.environ.get(name)
    os.environ[name] = value

    def restore() -> None:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before

    config.add_cleanup(restore)


@pytest.fixture
def durably_engine() -> Callable[..., TestEngine]:
    """Make a test engine of the functions that are given, for `async with`."""
    from durably.testing import TestEngine  # noqa: PLC0415 - not for tests that do not ask for it

    return lambda *functions, **options: TestEngine(functions, **options)


@pytest.fixture
def sync_durably_engine() -> Iterator[Callable[..., SyncTestEngine]]:
    """Open a test engine of the functions that are given, until the test has ended."""
    from contextlib import ExitStack  # noqa: PLC0415 - a plugin loads nothing that the tests do not ask for

    from durably.testing import SyncTestEngine  # noqa: PLC0415 - a plugin loads nothing that the tests do not ask for

    with ExitStack() as opened:
        yield lambda *functions, **options: opened.enter_context(
            SyncTestEngine(functions, **options)
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Send what the kit tells of a test with its report, which may go to another process."""
    for module, name, kind in (
        ("costs", "COLLECTED", _COST),
        ("produced", "REPLAYED", _REPLAYED),
    ):
        loaded = sys.modules.get(f"durably.testing.{module}")
        if loaded is not None:
            item.user_properties += [(kind, asdict(one)) for one in getattr(loaded, name).take()]
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the executions have cost, and what was replayed, if that was asked for."""
    if terminalreporter.config.getoption("durably_cost"):
        from durably.testing.costs import RunCost, cost_lines  # noqa: PLC0415 - only when asked

        told = _told(terminalreporter, _COST)
        terminalreporter.section("durably: cost")
        for line in cost_lines([(test, RunCost(**cost)) for test, cost in told]):
            terminalreporter.line(line)
    if terminalreporter.config.getoption("durably_replay"):
        told = _told(terminalreporter, _REPLAYED)
        histories, states = (sum(one[key] for _, one in told) for key in ("histories", "states"))
        terminalreporter.section("durably: replay")
        terminalreporter.line(
            f"{histories:,} histories of {len({test for test, _ in told}):,} tests, "
            f"replayed from {states:,} states"
        )


def _told(terminalreporter: pytest.TerminalReporter, kind: str) -> list[tuple[str, Any]]:
    """Give what tests have told of that *kind*, each with its name."""
    last = [one for every in terminalreporter.stats.values() for one in every if _is_last(one)]
    return [
        (report.nodeid, told)
        for report in last
        for name, told in report.user_properties
        if name == kind
    ]


def _is_last(report: object) -> bool:
    """Whether *report* is the last one of a test, which tells of all of it."""
    return isinstance(report, pytest.TestReport) and report.when == "teardown"
