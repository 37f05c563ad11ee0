from typing import Any

import pytest

from durably.config import CallbackConfig, WaitForCallbackConfig
from durably.core.effects import Attempt, Call, Err, Ok, Park, Program
from durably.core.ids import hash_id
from durably.core.journal import Journal
from durably.core.op import Op
from durably.core.operations.callback import callback_result, create_callback, wait_for_callback
from durably.core.scope import Scope
from durably.errors import (
    CallbackError,
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    DurableError,
)
from durably.retries import RetryPresets
from durably.serdes import JsonSerdes
from durably.wire.operation import (
    CallbackDetails,
    ContextDetails,
    ErrorObject,
    Operation,
    OperationStatus,
    OperationSubType,
    OperationType,
    StepDetails,
)
from durably.wire.update import CallbackOptions, OperationAction
from tests.unit.core.support import (
    LATER,
    NOW,
    ByHand,
    an_op,
    journal_of,
    must_not_run,
    record,
    result_of,
)

CALLBACK = an_op(OperationType.CALLBACK, OperationSubType.CALLBACK)
CONFIG: CallbackConfig[Any] = CallbackConfig(timeout=60, heartbeat_timeout=5)
NO = ErrorObject(error_type="Refused", error_message="not approved")


def callback(op: Op, status: OperationStatus, **details: Any) -> Operation:
    return record(op, status, callback_details=CallbackDetails(callback_id="cb-1", **details))


def test_a_new_callback_is_durable_before_its_id_is_given() -> None:
    journal = journal_of()
    program = ByHand(journal, create_callback(journal, CALLBACK, CONFIG))
    program.replies[CALLBACK.id] = (callback(CALLBACK, OperationStatus.STARTED),)

    assert program.to_end() == "cb-1"
    assert program.sent == [
        CALLBACK.start(
            callback_options=CallbackOptions(timeout_seconds=60, heartbeat_timeout_seconds=5)
        )
    ]
    assert program.waited == [True]


@pytest.mark.parametrize("status", list(OperationStatus))
def test_a_recorded_callback_gives_its_id_however_it_ended(status: OperationStatus) -> None:
    journal = journal_of(callback(CALLBACK, status))

    assert result_of(create_callback(journal, CALLBACK, CONFIG)) == "cb-1"


def test_a_backend_that_gives_no_id_fails_the_callback() -> None:
    journal = journal_of()
    program = ByHand(journal, create_callback(journal, CALLBACK, CONFIG))

    with pytest.raises(CallbackError, match="gave no callback id for work"):
        program.to_end()

    assert len(program.sent) == 1


def test_an_open_callback_is_waited_for() -> None:
    journal = journal_of(
        callback(CALLBACK, OperationStatus.STARTED, scheduled_timeout_timestamp=LATER)
    )

    assert next(callback_result(journal, CALLBACK, JsonSerdes())) == Park(CALLBACK, LATER)


@pytest.mark.parametrize(("text", "value"), [("[1]", [1]), (None, None)])
def test_the_answer_is_read_by_its_serdes(text: str | None, value: object) -> None:
    journal = journal_of(callback(CALLBACK, OperationStatus.SUCCEEDED, result=text))

    assert result_of(callback_result(journal, CALLBACK, JsonSerdes())) == value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (OperationStatus.FAILED, CallbackExternalError),
        (OperationStatus.CANCELLED, CallbackExternalError),
        (OperationStatus.STOPPED, CallbackExternalError),
        (OperationStatus.TIMED_OUT, CallbackTimeoutError),
    ],
)
def test_how_a_callback_failed_is_raised_only_where_its_result_is_waited_for(
    status: OperationStatus, kind: type[CallbackError]
) -> None:
    journal = journal_of(callback(CALLBACK, status, error=NO))

    with pytest.raises(kind) as error:
        next(callback_result(journal, CALLBACK, JsonSerdes()))

    assert (error.value.error_type, error.value.message) == ("Refused", "not approved")


# wait_for_callback: 1 the context, 1-1 the callback, 1-2 the submitter


OUTER = an_op(OperationType.CONTEXT, OperationSubType.WAIT_FOR_CALLBACK, name="ask")
INNER = an_op(
    OperationType.CALLBACK,
    OperationSubType.CALLBACK,
    step_id="1-1",
    parent_id=OUTER.id,
    name="ask create callback id",
)
SUBMITTER = an_op(step_id="1-2", parent_id=OUTER.id, name="ask submitter")
ASK: WaitForCallbackConfig[Any] = WaitForCallbackConfig(
    retry_strategy=RetryPresets.none(), timeout=60
)


def asking(journal: Journal, op: Op = OUTER) -> ByHand:
    submitter = lambda callback_id: lambda: f"told {callback_id}"  # noqa: E731 - a name for what is passed on
    program: Program[Any] = wait_for_callback(Scope(journal, NOW), op, submitter, ASK, JsonSerdes())
    by_hand = ByHand(journal, program)
    by_hand.replies[INNER.id] = (callback(INNER, OperationStatus.STARTED),)
    return by_hand


def test_the_outside_is_told_in_a_step_and_then_waited_for() -> None:
    program = asking(journal_of())

    effect = program.until_asked()

    assert isinstance(effect, Call)
    assert (effect.body(), effect.place) == ("told cb-1", Attempt(SUBMITTER, 1))
    assert program.until_asked(Ok("what a submitter returns is not kept")) == Park(INNER)
    assert [(update.id, update.action, update.payload) for update in program.sent] == [
        (OUTER.id, OperationAction.START, None),
        (INNER.id, OperationAction.START, None),
        (SUBMITTER.id, OperationAction.START, None),
        (SUBMITTER.id, OperationAction.SUCCEED, "null"),
    ]


def test_the_inner_operations_of_an_unnamed_one_have_no_names() -> None:
    program = asking(journal_of(), an_op(OperationType.CONTEXT, "WaitForCallback", name=None))

    program.until_asked()

    assert [update.name for update in program.sent] == [None, None, None]


TOLD = record(SUBMITTER, OperationStatus.SUCCEEDED, step_details=StepDetails(result="null"))
BEGUN = record(OUTER, OperationStatus.STARTED)


@pytest.mark.parametrize(
    ("text", "value"), [('{"status": "approved"}', {"status": "approved"}), (None, None)]
)
def test_the_answer_is_recorded_as_it_was_sent(text: str | None, value: object) -> None:
    answered = callback(INNER, OperationStatus.SUCCEEDED, result=text)
    program = asking(journal_of(BEGUN, answered, TOLD))

    assert program.to_end() == value
    assert program.last.payload == text


def test_a_recorded_answer_is_given_without_entering_the_context() -> None:
    known = record(OUTER, OperationStatus.SUCCEEDED, context_details=ContextDetails(result="[1]"))

    assert asking(journal_of(known)).to_end() == [1]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (OperationStatus.FAILED, CallbackExternalError),
        (OperationStatus.TIMED_OUT, CallbackTimeoutError),
    ],
)
def test_callback_errors_pass_unchanged(status: OperationStatus, kind: type[CallbackError]) -> None:
    program = asking(journal_of(BEGUN, callback(INNER, status, error=NO), TOLD))

    error = failure_of(program)

    assert isinstance(error, kind)
    assert error.message == "not approved"
    assert failure_of(asking(program.journal)) == error


def test_a_submitter_that_fails_for_good_is_a_submitter_error() -> None:
    program = asking(journal_of())
    program.until_asked()

    error = failure_of(program, Err(KeyError("smtp")))

    assert isinstance(error, CallbackSubmitterError)
    assert program.last.action is OperationAction.FAIL
    assert failure_of(asking(program.journal)) == error


def test_a_failure_recorded_without_an_error_is_an_error_nevertheless() -> None:
    assert isinstance(
        failure_of(asking(journal_of(record(OUTER, OperationStatus.STOPPED)))), DurableError
    )


def failure_of(program: ByHand, answer: Any = None) -> DurableError:
    with pytest.raises(DurableError) as error:
        program.to_end(answer)
    return error.value


def test_the_inner_operations_are_checked_like_all_others() -> None:
    other = callback(
        an_op(OperationType.CALLBACK, "Callback", step_id="1-1"), OperationStatus.FAILED
    )
    program = asking(journal_of(BEGUN, other))

    with pytest.raises(DurableError, match=hash_id("1-1")):
        program.to_end()


def test_nothing_is_asked_again_once_the_context_has_failed() -> None:
    known = record(OUTER, OperationStatus.FAILED, context_details=ContextDetails(error=NO))
    program = wait_for_callback(
        Scope(journal_of(known), NOW), OUTER, must_not_run, ASK, JsonSerdes()
    )

    with pytest.raises(DurableError, match="not approved"):
        next(program)
