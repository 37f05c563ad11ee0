"""What every test of the server begins with."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from typing import Any

import pytest

from tests.network import only_this_machine

SPARE_SECONDS = 2.0
"""How much sooner than its process a test is given up, so that it can end what it has begun."""


@pytest.fixture(autouse=True)
def _no_other_machine() -> Iterator[None]:
    with only_this_machine():
        yield


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have every test that awaits fail where it waits for what never comes."""
    test = getattr(item, "obj", None)
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(test):
        marker = item.get_closest_marker("timeout")
        seconds = float(marker.args[0] if marker else item.config.getini("timeout"))
        item.obj = _bounded(test, seconds - SPARE_SECONDS)


def _bounded(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Any]:
    @wraps(test)
    async def bounded(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **kwargs)

    return bounded
