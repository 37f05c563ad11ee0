import pytest

from durably.core.effects import Park
from durably.core.operations.wait import never, wait
from durably.wire.operation import (
    OperationStatus,
    OperationSubType,
    OperationType,
    WaitDetails,
)
from durably.wire.update import WaitOptions
from tests.unit.core.support import LATER, ByHand, an_op, journal_of, record, result_of

WAIT = an_op(OperationType.WAIT, OperationSubType.WAIT)


def test_a_new_wait_is_durable_before_it_sleeps() -> None:
    journal = journal_of()
    program = ByHand(journal, wait(journal, WAIT, 30))

    assert program.until_asked() == Park(WAIT)
    assert program.sent == [WAIT.start(wait_options=WaitOptions(wait_seconds=30))]
    assert program.waited == [True]


def test_a_recorded_wait_goes_on_sleeping_and_is_not_started_again() -> None:
    details = WaitDetails(scheduled_end_timestamp=LATER)
    journal = journal_of(record(WAIT, OperationStatus.STARTED, wait_details=details))

    assert next(wait(journal, WAIT, 30)) == Park(WAIT, LATER)


@pytest.mark.parametrize(
    "status", [OperationStatus.SUCCEEDED, OperationStatus.CANCELLED, OperationStatus.STOPPED]
)
def test_a_wait_that_is_over_in_any_way_is_over(status: OperationStatus) -> None:
    journal = journal_of(record(WAIT, status))

    assert result_of(wait(journal, WAIT, 30)) is None


def test_what_never_ends_waits_again_whenever_it_is_woken() -> None:
    program = never(WAIT)

    assert [next(program), next(program)] == [Park(WAIT), Park(WAIT)]
