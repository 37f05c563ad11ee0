from typing import Any

import pytest

from durably.core.effects import Park, Program
from durably.core.journal import Journal
from durably.core.operations.invoke import invoke
from durably.errors import InvokeError, SerdesError
from durably.serdes import JsonSerdes
from durably.wire.operation import (
    ChainedInvokeDetails,
    ErrorObject,
    OperationStatus,
    OperationSubType,
    OperationType,
)
from durably.wire.update import ChainedInvokeOptions
from tests.unit.core.support import ByHand, an_op, journal_of, record, result_of

INVOKE = an_op(OperationType.CHAINED_INVOKE, OperationSubType.CHAINED_INVOKE)
OPTIONS = ChainedInvokeOptions(function_name="score", tenant_id="t")


def program_of(journal: Journal, payload: object = None) -> Program[Any]:
    return invoke(journal, INVOKE, OPTIONS, payload, (JsonSerdes(), JsonSerdes()))


def test_a_new_invoke_is_durable_before_it_sleeps() -> None:
    journal = journal_of()
    program = ByHand(journal, program_of(journal, {"a": 1}))

    assert program.until_asked() == Park(INVOKE)
    assert program.sent == [
        INVOKE.start(payload='{"a":1}', chained_invoke_options=OPTIONS),
    ]
    assert program.waited == [True]


def test_the_targets_result_is_read() -> None:
    details = ChainedInvokeDetails(result="[1]")
    journal = journal_of(record(INVOKE, OperationStatus.SUCCEEDED, chained_invoke_details=details))

    assert result_of(program_of(journal)) == [1]


def test_no_result_is_none() -> None:
    assert result_of(program_of(journal_of(record(INVOKE, OperationStatus.SUCCEEDED)))) is None


@pytest.mark.parametrize(
    "status", [OperationStatus.FAILED, OperationStatus.TIMED_OUT, OperationStatus.STOPPED]
)
def test_every_bad_end_of_the_target_is_an_invoke_error(status: OperationStatus) -> None:
    details = ChainedInvokeDetails(error=ErrorObject(error_type="X", error_message="no"))
    journal = journal_of(record(INVOKE, status, chained_invoke_details=details))

    with pytest.raises(InvokeError) as error:
        next(program_of(journal))

    assert (error.value.error_type, error.value.message) == ("X", "no")


def test_a_payload_that_cannot_be_written_records_nothing() -> None:
    journal = journal_of()

    with pytest.raises(SerdesError):
        next(program_of(journal, object()))

    assert INVOKE.id not in journal
