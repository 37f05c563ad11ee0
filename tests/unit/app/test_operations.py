"""Which operation a person means."""

import pytest

from durably.app.operations import find_operations
from durably.wire.operation import Operation, OperationStatus, OperationType


def operation(operation_id: str, name: str | None, parent_id: str | None = None) -> Operation:
    return Operation(
        id=operation_id,
        type=OperationType.STEP,
        status=OperationStatus.STARTED,
        parent_id=parent_id,
        name=name,
        sub_type="Step",
    )


ROOT = Operation(
    id="root0000", type=OperationType.EXECUTION, status=OperationStatus.STARTED, name="order-7"
)
SHIP = operation("aaaa1111", "ship")
FIRST, SECOND = (operation(f"bbbb{n}", f"item-{n}", SHIP.id) for n in (1, 2))
LABELS = [operation(f"cccc{n}", "label", one.id) for n, one in enumerate((FIRST, SECOND), 1)]
ODD = operation("dddd1111", "cccc")
ALL = [ROOT, SHIP, FIRST, SECOND, *LABELS, ODD]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ship", [SHIP]),
        ("item-2", [SECOND]),
        ("ship/item-2", [SECOND]),
        ("ship > item-1 > label", [LABELS[0]]),
        ("label", LABELS),
        ("bbbb2", [SECOND]),
        ("bbbb", [FIRST, SECOND]),
        ("cccc", [ODD]),  # a name before a part of an id
        ("aaa", []),
        ("order-7", []),
        ("refund", []),
    ],
)
def test_it_is_named_by_its_id_its_path_or_its_name(text: str, meant: list[Operation]) -> None:
    assert find_operations(ALL, text) == meant
