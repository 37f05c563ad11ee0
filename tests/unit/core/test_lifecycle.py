import pytest

from durably.core.lifecycle import Activity, reason_to_stop
from durably.core.op import Op
from durably.errors import TerminationReason
from durably.wire.operation import OperationSubType, OperationType
from tests.unit.core.support import an_op

RETRY = an_op()
CONDITION = an_op(OperationType.STEP, OperationSubType.WAIT_FOR_CONDITION)
WAIT = an_op(OperationType.WAIT, OperationSubType.WAIT)
CALLBACK = an_op(OperationType.CALLBACK, OperationSubType.CALLBACK)


@pytest.mark.parametrize(
    ("awaited", "reason"),
    [
        ([], None),
        ([CALLBACK, WAIT, RETRY], TerminationReason.RETRY_SCHEDULED),
        ([CALLBACK, WAIT, CALLBACK], TerminationReason.WAIT_SCHEDULED),
        ([CALLBACK], TerminationReason.CALLBACK_PENDING),
        ([CONDITION], TerminationReason.CALLBACK_PENDING),
    ],
)
def test_a_retry_is_a_better_reason_than_a_wait_and_a_wait_than_a_callback(
    awaited: list[Op], reason: TerminationReason | None
) -> None:
    assert reason_to_stop(awaited) == reason


def test_it_is_certainly_over_when_nothing_moves_and_every_owner_is_parked() -> None:
    activity = Activity()
    activity.owners = activity.parked_owners = 2

    assert activity.is_certainly_over


@pytest.mark.parametrize(("moving", "parked_owners"), [(1, 2), (0, 1)])
def test_it_is_not_certainly_over_while_an_operation_or_an_owner_may_go_on(
    moving: int, parked_owners: int
) -> None:
    activity = Activity()
    activity.owners = 2
    activity.moving, activity.parked_owners = moving, parked_owners

    assert not activity.is_certainly_over
