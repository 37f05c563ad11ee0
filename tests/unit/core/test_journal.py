from typing import Any

import pytest
from msgspec.structs import replace

from durably.core.journal import attempts_of, due_at, error_of, is_outstanding, result_of
from durably.core.op import Op
from durably.errors import NonDeterministicExecutionError
from durably.wire.operation import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    ErrorObject,
    Operation,
    OperationStatus,
    OperationSubType,
    OperationType,
    StepDetails,
    WaitDetails,
)
from durably.wire.update import OperationAction, OperationUpdate
from tests.unit.core.support import CONTEXT, LATER, NOW, STEP, an_op, journal_of, record

WAIT = an_op(OperationType.WAIT, OperationSubType.WAIT)
CALLBACK = an_op(OperationType.CALLBACK, OperationSubType.CALLBACK)
INVOKE = an_op(OperationType.CHAINED_INVOKE, OperationSubType.CHAINED_INVOKE)
ERROR = ErrorObject(error_type="ValueError", error_message="no")


def test_an_operation_without_a_record_is_checked_to_nothing() -> None:
    assert journal_of().check(STEP) is None


def test_the_record_of_the_same_call_is_handed_out() -> None:
    known = record(STEP, OperationStatus.STARTED)

    assert journal_of(known).check(STEP) == known


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        (an_op(OperationType.WAIT), "type was recorded as WAIT, and the code now asks for STEP"),
        (an_op(sub_type="Other"), "subtype was recorded as Other"),
        (an_op(name="charge"), "name was recorded as charge, and the code now asks for work"),
        (an_op(name=None), "name was recorded as None"),
        (an_op(parent_id="ab"), "parent was recorded as ab"),
    ],
)
def test_the_record_of_another_call_is_never_handed_out(recorded: Op, said: str) -> None:
    journal = journal_of(record(recorded, OperationStatus.SUCCEEDED))

    with pytest.raises(NonDeterministicExecutionError, match=said) as refusal:
        journal.check(STEP)

    assert refusal.value.operation_id == STEP.id


def test_what_began_here_is_known_and_started() -> None:
    journal = journal_of()

    journal.begin(STEP)

    assert journal.began_here(STEP)
    assert journal.find(STEP.id) == record(STEP, OperationStatus.STARTED)
    assert STEP.id in journal


def test_beginning_a_new_attempt_keeps_what_is_known_of_the_last() -> None:
    details = StepDetails(attempt=2, result="7")
    journal = journal_of(record(STEP, OperationStatus.READY, step_details=details))

    journal.begin(STEP)

    assert journal.find(STEP.id) == record(STEP, OperationStatus.STARTED, step_details=details)


def test_only_what_really_changed_is_told() -> None:
    same, before = (
        record(WAIT, OperationStatus.STARTED),
        record(an_op(step_id="2"), OperationStatus.STARTED),
    )
    after = record(an_op(step_id="2"), OperationStatus.SUCCEEDED)
    journal = journal_of(same, before)

    assert journal.merge([same, after]) == [after]
    assert journal.changes == 1


def test_nothing_that_arrives_late_opens_a_terminal_record() -> None:
    journal = journal_of(record(STEP, OperationStatus.SUCCEEDED))

    assert journal.merge([record(STEP, OperationStatus.READY)]) == []


def test_what_is_told_of_an_operation_must_be_of_its_type() -> None:
    journal = journal_of(record(STEP, OperationStatus.STARTED))
    other = replace(record(STEP, OperationStatus.SUCCEEDED), type=OperationType.WAIT)

    with pytest.raises(NonDeterministicExecutionError) as refusal:
        journal.merge([other])

    assert refusal.value.operation_id == STEP.id
    assert journal.find(STEP.id) == record(STEP, OperationStatus.STARTED)


def sent(op: Op, action: OperationAction, **members: Any) -> OperationUpdate:
    return op.update(action, **members)


@pytest.mark.parametrize(
    ("update", "after"),
    [
        (
            sent(STEP, OperationAction.SUCCEED, payload="7"),
            record(
                STEP, OperationStatus.SUCCEEDED, step_details=StepDetails(attempt=1, result="7")
            ),
        ),
        (
            STEP.retry(3, ERROR),
            record(STEP, OperationStatus.PENDING, step_details=StepDetails(attempt=1, error=ERROR)),
        ),
        (
            CONTEXT.fail(ERROR),
            record(CONTEXT, OperationStatus.FAILED, context_details=ContextDetails(error=ERROR)),
        ),
        (
            CONTEXT.succeed_with_children("sum"),
            record(
                CONTEXT,
                OperationStatus.SUCCEEDED,
                context_details=ContextDetails(replay_children=True, result="sum"),
            ),
        ),
        (WAIT.start(), record(WAIT, OperationStatus.STARTED)),
    ],
)
def test_an_accepted_update_that_the_reply_does_not_mention_is_applied(
    update: OperationUpdate, after: Operation
) -> None:
    journal = journal_of()

    assert journal.take_reply((), (update,)) == [after]
    assert journal.find(update.id) == after


def test_what_the_reply_says_goes_before_what_was_sent() -> None:
    said = record(STEP, OperationStatus.SUCCEEDED, step_details=StepDetails(result="8"))
    journal = journal_of()

    assert journal.take_reply([said], (STEP.succeed("7"),)) == [said]


@pytest.mark.parametrize("status", [OperationStatus.STARTED, OperationStatus.STOPPED])
def test_a_start_changes_neither_what_is_started_nor_what_is_over(status: OperationStatus) -> None:
    known = record(STEP, status)
    journal = journal_of(known)

    assert journal.take_reply((), (STEP.start(),)) == []
    assert journal.find(STEP.id) == known


def test_a_reply_to_nothing_changes_nothing_by_itself() -> None:
    assert journal_of().take_reply((), ()) == []


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (record(STEP, OperationStatus.STARTED), None),
        (
            record(
                STEP,
                OperationStatus.PENDING,
                step_details=StepDetails(next_attempt_timestamp=LATER),
            ),
            LATER,
        ),
        (
            record(
                WAIT,
                OperationStatus.STARTED,
                wait_details=WaitDetails(scheduled_end_timestamp=NOW),
            ),
            NOW,
        ),
        (
            record(
                CALLBACK,
                OperationStatus.STARTED,
                callback_details=CallbackDetails(scheduled_timeout_timestamp=LATER),
            ),
            LATER,
        ),
    ],
)
def test_a_record_says_when_the_backend_will_change_it(known: Operation, expected: object) -> None:
    assert due_at(known) == expected


@pytest.mark.parametrize(
    ("op", "status", "answer"),
    [
        (STEP, OperationStatus.PENDING, True),
        (STEP, OperationStatus.STARTED, False),
        (STEP, OperationStatus.READY, False),
        (WAIT, OperationStatus.STARTED, True),
        (WAIT, OperationStatus.SUCCEEDED, False),
        (CALLBACK, OperationStatus.STARTED, True),
        (INVOKE, OperationStatus.STARTED, True),
        (CONTEXT, OperationStatus.STARTED, False),
    ],
)
def test_outstanding_is_what_something_outside_will_change(
    op: Op, status: OperationStatus, *, answer: bool
) -> None:
    known = record(op, status)

    assert is_outstanding(known) is answer
    assert journal_of(known).has_outstanding() is answer


@pytest.mark.parametrize(
    "details",
    [
        {"step_details": StepDetails(result="r", error=ERROR)},
        {"context_details": ContextDetails(result="r", error=ERROR)},
        {"callback_details": CallbackDetails(result="r", error=ERROR)},
        {"chained_invoke_details": ChainedInvokeDetails(result="r", error=ERROR)},
    ],
)
def test_result_and_error_are_found_in_every_type_of_record(details: dict[str, Any]) -> None:
    known = record(STEP, OperationStatus.FAILED, **details)

    assert (result_of(known), error_of(known)) == ("r", ERROR)


def test_a_record_without_details_has_neither_result_nor_error_nor_attempts() -> None:
    known = record(STEP, OperationStatus.STARTED)

    assert (result_of(known), error_of(known), attempts_of(known)) == (None, None, 0)
    assert attempts_of(None) == 0


def test_records_keep_the_order_in_which_they_became_known() -> None:
    journal = journal_of(record(CONTEXT, OperationStatus.STARTED))
    other = an_op(step_id="2")

    journal.begin(other)

    assert list(journal.records) == [CONTEXT.id, other.id]
