"""How much of a state goes into one message."""

from collections.abc import Iterator

import pytest

from durably.engine.paging import MAX_PAGE_BYTES, fitting, page_of
from durably.seams import disturb
from durably.wire.operation import Operation, OperationStatus, OperationType


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    yield
    disturb(None)


def operation(number: int) -> Operation:
    return Operation(
        id=str(number),
        type=OperationType.WAIT,
        status=OperationStatus.STARTED,
        start_timestamp=None,
    )


def test_a_page_has_as_many_as_fit_and_at_least_one() -> None:
    assert fitting([]) == 0
    assert fitting([MAX_PAGE_BYTES, 1]) == 1
    assert fitting([1] * 10) == 10


def test_a_simulation_may_want_pages_of_one() -> None:
    operations = [operation(number) for number in range(3)]
    assert page_of(operations) == 3

    disturb(lambda name: name == "page of one")

    assert page_of(operations) == 1
    assert page_of([]) == 0
