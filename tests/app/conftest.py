"""What every test of the engine begins with."""

import pytest

from tests.app.functions import ASKED, BROKEN, CALLS, GATES


@pytest.fixture(autouse=True)
def _nothing_has_happened() -> None:
    for known in (ASKED, BROKEN, CALLS, GATES):
        known.clear()
