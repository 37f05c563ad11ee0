from datetime import timedelta
from typing import Any

import pytest

from durably.config import StepConfig, StepSemantics
from durably.core.effects import Attempt, Call, Err, Ok, Park
from durably.core.journal import Journal
from durably.core.operations.step import step
from durably.errors import (
    RecordedError,
    RetryableSerdesError,
    SerdesError,
    StepError,
    StepInterruptedError,
    UnrecoverableInvocationError,
)
from durably.retries import RetryDecision, RetryPresets
from durably.serdes import JsonSerdes
from durably.wire.operation import ErrorObject, OperationStatus, StepDetails
from durably.wire.update import OperationAction
from tests.unit.core.support import LATER, STEP, ByHand, journal_of, must_not_run, record, result_of

NO_RETRY: StepConfig[Any] = StepConfig(retry_strategy=RetryPresets.none())
AT_MOST_ONCE: StepConfig[Any] = StepConfig(
    semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=RetryPresets.none()
)


def body() -> int:
    return 7


def begun(journal: Journal, config: StepConfig[Any] = NO_RETRY, serdes: Any = None) -> ByHand:
    return ByHand(journal, step(journal, STEP, body, config, serdes or JsonSerdes()))


def test_a_recorded_result_is_returned_without_running_the_body() -> None:
    details = StepDetails(attempt=1, result="[1,2]")
    journal = journal_of(record(STEP, OperationStatus.SUCCEEDED, step_details=details))

    program = step(journal, STEP, must_not_run, NO_RETRY, JsonSerdes())

    assert result_of(program) == [1, 2]


def test_a_new_step_runs_while_its_start_is_on_its_way() -> None:
    program = begun(journal_of())

    effect = program.until_asked()

    assert effect == Call(body, Attempt(STEP, 1))
    assert [
        (update.action, wait) for update, wait in zip(program.sent, program.waited, strict=True)
    ] == [(OperationAction.START, False)]


def test_an_at_most_once_attempt_runs_only_after_its_start_is_durable() -> None:
    program = begun(journal_of(), AT_MOST_ONCE)

    assert program.until_asked() == Call(body, Attempt(STEP, 1))
    assert program.waited == [True]


def test_the_first_run_gives_what_a_replay_would() -> None:
    program = begun(journal_of())
    program.until_asked()

    assert program.to_end(Ok((1, 2))) == [1, 2]
    assert program.last.payload == "[1,2]"
    assert result_of(step(program.journal, STEP, must_not_run, NO_RETRY, JsonSerdes())) == [1, 2]


def test_the_timeout_of_an_attempt_is_passed_on() -> None:
    program = begun(journal_of(), StepConfig(timeout=timedelta(seconds=1.5)))

    assert program.until_asked() == Call(body, Attempt(STEP, 1, 1.5))


def test_a_result_that_somebody_else_recorded_is_the_one_that_counts() -> None:
    program = begun(journal_of())
    program.until_asked()
    effect = program.program.send(Ok(1))

    program.journal.merge(
        [record(STEP, OperationStatus.SUCCEEDED, step_details=StepDetails(result="2"))]
    )

    assert program.to_end() == 2
    assert effect is not None


def test_an_attempt_of_the_default_kind_that_was_cut_off_runs_again_without_a_new_start() -> None:
    program = begun(journal_of(record(STEP, OperationStatus.STARTED)))

    assert program.until_asked() == Call(body, Attempt(STEP, 1))
    assert program.sent == []


def test_an_at_most_once_attempt_that_was_cut_off_never_runs_again() -> None:
    details = StepDetails(attempt=1)
    program = begun(
        journal_of(record(STEP, OperationStatus.STARTED, step_details=details)), AT_MOST_ONCE
    )

    with pytest.raises(StepError, match="attempt of work was cut off") as error:
        program.until_asked()

    assert program.last.action is OperationAction.FAIL
    assert isinstance(error.value.__cause__, StepInterruptedError)


def test_the_retry_strategy_is_told_of_the_attempt_that_was_cut_off() -> None:
    told: list[tuple[str, int]] = []

    def strategy(error: Exception, attempt: int) -> RetryDecision:
        told.append((type(error).__name__, attempt))
        return RetryDecision(should_retry=True, delay=timedelta(seconds=4))

    config: StepConfig[Any] = StepConfig(
        semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=strategy
    )
    details = StepDetails(attempt=1)
    program = begun(journal_of(record(STEP, OperationStatus.STARTED, step_details=details)), config)

    assert isinstance(program.until_asked(), Park)
    assert told == [("StepInterruptedError", 2)]
    assert program.last.step_options is not None
    assert program.last.step_options.next_attempt_delay_seconds == 4


def test_at_most_once_holds_for_each_attempt_so_a_due_one_runs() -> None:
    details = StepDetails(attempt=1)
    program = begun(
        journal_of(record(STEP, OperationStatus.READY, step_details=details)), AT_MOST_ONCE
    )

    assert program.until_asked() == Call(body, Attempt(STEP, 2))
    assert program.last.action is OperationAction.START


def test_a_step_between_attempts_waits_for_its_record() -> None:
    details = StepDetails(attempt=1, next_attempt_timestamp=LATER)
    program = begun(journal_of(record(STEP, OperationStatus.PENDING, step_details=details)))

    assert program.until_asked() == Park(STEP, LATER)


def test_a_failure_is_recorded_as_it_was_raised_and_raised_as_it_is_recorded() -> None:
    program = begun(journal_of())
    program.until_asked()

    with pytest.raises(StepError) as first:
        program.to_end(Err(ValueError("no")))
    with pytest.raises(StepError) as again:
        next(step(program.journal, STEP, must_not_run, NO_RETRY, JsonSerdes()))

    assert program.last.error == ErrorObject(error_type="ValueError", error_message="no")
    assert first.value == again.value
    assert isinstance(first.value.__cause__, RecordedError)


def retrying(delay: Any) -> StepConfig[Any]:
    return StepConfig(retry_strategy=lambda error, attempt: RetryDecision(True, delay))  # noqa: FBT003 - the decision is its first field


def test_a_retry_is_delayed_by_at_least_a_second() -> None:
    program = begun(journal_of(), retrying(timedelta(0)))
    program.until_asked()

    assert program.until_asked(Err(ValueError("no"))) == Park(STEP)
    assert program.last.step_options is not None
    assert program.last.step_options.next_attempt_delay_seconds == 1


def test_a_delay_that_is_none_fails_the_step() -> None:
    program = begun(journal_of(), retrying(timedelta(days=1000)))
    program.until_asked()

    with pytest.raises(StepError) as error:
        program.to_end(Err(ValueError("no")))

    assert error.value.error_type == "ValueError"
    assert "delay: must be at most" in error.value.message


def test_a_strategy_that_raises_fails_the_step_with_its_own_error_and_says_so() -> None:
    def strategy(error: Exception, attempt: int) -> RetryDecision:
        raise KeyError("strategy")

    program = begun(journal_of(), StepConfig(retry_strategy=strategy))
    program.until_asked()

    with pytest.raises(StepError) as error:
        program.to_end(Err(ValueError("no")))

    assert error.value.error_type == "ValueError"
    assert error.value.message.startswith("no. Besides, retry_strategy: ")
    assert error.value.message.endswith("and raised KeyError: 'strategy'")


def test_a_result_that_cannot_be_written_fails_the_step_at_once() -> None:
    program = begun(journal_of(), StepConfig(retry_strategy=must_not_run))
    program.until_asked()

    with pytest.raises(StepError) as error:
        program.to_end(Ok(object()))

    assert error.value.error_type == SerdesError.__name__
    assert program.last.action is OperationAction.FAIL


def test_a_serdes_that_cannot_work_now_has_the_invocation_tried_again() -> None:
    class Busy(JsonSerdes):
        def serialize(self, value: object, context: object, /) -> str:
            raise RetryableSerdesError

    program = begun(journal_of(), serdes=Busy())
    program.until_asked()

    with pytest.raises(UnrecoverableInvocationError):
        program.to_end(Ok(7))

    assert [update.action for update in program.sent] == [OperationAction.START]
