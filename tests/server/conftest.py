"""What every test of the server begins with."""

from collections.abc import Iterator

import pytest

from tests.network import only_this_machine


@pytest.fixture(autouse=True)
def _no_other_machine() -> Iterator[None]:
    with only_this_machine():
        yield
