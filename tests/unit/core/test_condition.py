from datetime import timedelta
from typing import Any

import pytest

from durably.config import WaitForConditionConfig
from durably.core.effects import Attempt, Call, Err, Ok, Park, Program
from durably.core.journal import Journal
from durably.core.operations.condition import wait_for_condition
from durably.errors import RetryableSerdesError, UnrecoverableInvocationError, WaitForConditionError
from durably.retries import WaitForConditionDecision
from durably.serdes import JsonSerdes
from durably.wire.operation import OperationStatus, OperationSubType, OperationType, StepDetails
from durably.wire.update import OperationAction
from tests.unit.core.support import LATER, ByHand, an_op, journal_of, record, result_of

OP = an_op(OperationType.STEP, OperationSubType.WAIT_FOR_CONDITION)


def until_three(state: Any, attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision(state < 3, timedelta(seconds=attempt * 10))


def program_of(journal: Journal, strategy: Any = until_three, serdes: Any = None) -> Program[Any]:
    config: WaitForConditionConfig[Any] = WaitForConditionConfig(
        wait_strategy=strategy, initial_state=0
    )
    return wait_for_condition(journal, OP, lambda state: state + 1, config, serdes or JsonSerdes())


def asked_body(program: ByHand, answer: Any = None) -> Any:
    effect = program.until_asked(answer)
    assert isinstance(effect, Call)
    return effect.body()


def test_the_first_check_gets_the_initial_state_while_the_start_is_on_its_way() -> None:
    journal = journal_of()
    program = ByHand(journal, program_of(journal))

    effect = program.until_asked()

    assert isinstance(effect, Call)
    assert (effect.body(), effect.place) == (1, Attempt(OP, 1, may_be_cut_off=False))
    assert program.waited == [False]


def test_a_state_that_does_not_content_is_kept_without_an_error_and_checked_later() -> None:
    journal = journal_of()
    program = ByHand(journal, program_of(journal))
    program.until_asked()

    assert program.until_asked(Ok(1)) == Park(OP)
    assert program.last == OP.poll_again(10, "1")
    assert program.last.error is None


def test_a_due_check_gets_the_state_that_was_kept() -> None:
    details = StepDetails(attempt=2, result="2")
    journal = journal_of(record(OP, OperationStatus.READY, step_details=details))
    program = ByHand(journal, program_of(journal))

    assert asked_body(program) == 3
    assert program.to_end(Ok(3)) == 3
    assert program.last.action is OperationAction.SUCCEED


def test_a_check_that_was_cut_off_runs_again_with_its_state() -> None:
    details = StepDetails(attempt=2, result="2")
    journal = journal_of(record(OP, OperationStatus.STARTED, step_details=details))
    program = ByHand(journal, program_of(journal))

    assert asked_body(program) == 3
    assert program.sent == []


def test_between_checks_it_waits_for_its_record() -> None:
    details = StepDetails(attempt=1, result="1", next_attempt_timestamp=LATER)
    journal = journal_of(record(OP, OperationStatus.PENDING, step_details=details))

    assert next(program_of(journal)) == Park(OP, LATER)


def test_a_recorded_state_is_returned() -> None:
    details = StepDetails(result="3")
    journal = journal_of(record(OP, OperationStatus.SUCCEEDED, step_details=details))

    assert result_of(program_of(journal)) == 3


def test_a_pause_lasts_at_least_a_second() -> None:
    journal = journal_of()
    strategy = lambda state, attempt: WaitForConditionDecision(True, timedelta(0))  # noqa: E731, FBT003
    program = ByHand(journal, program_of(journal, strategy))
    program.until_asked()

    program.until_asked(Ok(1))

    assert program.last == OP.poll_again(1, "1")


def raising(state: Any, attempt: int) -> WaitForConditionDecision:
    raise KeyError("strategy")


def endless(state: Any, attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision(True, timedelta(days=1000))  # noqa: FBT003 - the decision is its first field


@pytest.mark.parametrize(
    ("strategy", "outcome", "error_type"),
    [
        (until_three, Err(ValueError("no")), "ValueError"),
        (raising, Ok(1), "KeyError"),
        (endless, Ok(1), "ValidationError"),
        (until_three, Ok(object()), "SerdesError"),
    ],
)
def test_whatever_goes_wrong_fails_the_condition_without_a_retry(
    strategy: Any, outcome: Any, error_type: str
) -> None:
    journal = journal_of()
    program = ByHand(journal, program_of(journal, strategy))
    program.until_asked()

    with pytest.raises(WaitForConditionError) as error:
        program.to_end(outcome)

    assert error.value.error_type == error_type
    assert program.last.action is OperationAction.FAIL


def test_a_serdes_that_cannot_work_now_has_the_invocation_tried_again() -> None:
    class Busy(JsonSerdes):
        def serialize(self, value: object, context: object, /) -> str:
            raise RetryableSerdesError

    journal = journal_of()
    program = ByHand(journal, program_of(journal, serdes=Busy()))
    program.until_asked()

    with pytest.raises(UnrecoverableInvocationError):
        program.to_end(Ok(1))
