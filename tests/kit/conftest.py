"""What tests of the test kit begin with."""

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(8)  # one that has just told its end may be there for a moment
        assert not thread.is_alive()
