"""What holds for every test: how hard hypothesis tries, the event loop, and no sleeping."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import settings

from tests.stores.postgres_server import in_schema, postgres_url

# No deadline: how long one example takes depends on what else the machine does. A test that
# hangs is ended by the ten seconds of pyproject.toml.
settings.register_profile("default", deadline=None, max_examples=50)
# The same examples on every run: a submission is not refused for what it did not change.
# New examples are found by `make fuzz`.
settings.register_profile(
    "ci", deadline=None, max_examples=100, derandomize=True, database=None, print_blob=True
)
_EXAMPLES = int(os.environ.get("EXAMPLES", "1000"))
settings.register_profile("long", deadline=None, max_examples=_EXAMPLES, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")

# Processes, and many examples: their speed is the machine's, so only a hang takes two minutes.
_HERE = Path(__file__).parent
_SLOW = ("app", "cli", "docs", "examples", "properties", "server", "stores")
_SLEEPLESS = (_HERE / "unit", _HERE / "properties")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the slower tests the time that a busy machine needs, and `make fuzz` an hour each."""
    is_long = settings.get_current_profile_name() == "long"
    for item in items:
        if is_long:
            item.add_marker(pytest.mark.timeout(3600), append=False)
            continue
        is_slow = any(item.path.is_relative_to(_HERE / name) for name in _SLOW)
        if is_slow and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio only, the one loop we support."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Give the address of a PostgreSQL server."""
    with postgres_url() as url:
        yield url


@pytest.fixture
def address(postgres: str) -> str:
    """Give the address of a store in PostgreSQL that nobody has opened yet."""
    return in_schema(postgres)


@pytest.fixture(autouse=True)
def _no_sleeping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse real sleep in unit tests and properties, those marked `process` excepted."""
    path = request.node.path
    if any(path.is_relative_to(folder) for folder in _SLEEPLESS) and not (
        request.node.get_closest_marker("process")
    ):
        monkeypatch.setattr("time.sleep", _refuse)
        monkeypatch.setattr("asyncio.sleep", _sleepless(asyncio.sleep))


def _refuse(seconds: float) -> NoReturn:
    pytest.fail(
        f"this test slept {seconds} s on the real clock: inject the clock of durably.testing, or"
        " wait on an event. Tests of real processes are marked `process`."
    )


def _sleepless(sleep: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Wrap asyncio's *sleep* so that it only gives way, unless its loop keeps a time of its own."""

    async def guarded(delay: float, result: Any = None) -> Any:
        loop = asyncio.get_running_loop()
        if delay > 0 and type(loop).time is asyncio.BaseEventLoop.time:
            _refuse(delay)
        return await sleep(delay, result)

    return guarded
