"""What every test of the engine begins with."""

from collections.abc import Iterator

import pytest

from tests.app.functions import ASKED, BROKEN, CALLS, GATES
from tests.network import only_this_machine


@pytest.fixture(autouse=True)
def _no_other_machine() -> Iterator[None]:
    with only_this_machine():
        yield


@pytest.fixture(autouse=True)
def _nothing_has_happened() -> None:
    for known in (ASKED, BROKEN, CALLS, GATES):
        known.clear()
