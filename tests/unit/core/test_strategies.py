"""What a strategy decides is checked, and one that decides nothing is named."""

from functools import partial
from typing import Any

import pytest

from durably.core.strategies import ask_retry, ask_wait
from durably.errors import (
    TerminationReason,
    UnrecoverableInvocationError,
    ValidationError,
    WaitForConditionError,
)
from durably.retries import RetryDecision, WaitForConditionDecision


def decide(decision: Any, _asked: Any, _number: int) -> Any:
    return decision


def test_a_decision_is_handed_on() -> None:
    stop = WaitForConditionDecision.stop_polling()
    again = RetryDecision.retry(2)

    assert ask_retry(partial(decide, again), ValueError("no"), 1) is again
    assert ask_wait(partial(decide, stop), "state", 1) is stop


@pytest.mark.parametrize("answer", [None, "soon", 5, False])
def test_whatever_is_no_decision_is_refused(answer: Any) -> None:
    strategy = partial(decide, answer)

    with pytest.raises(ValidationError, match="retry_strategy: partial must return"):
        ask_retry(strategy, ValueError("no"), 1)
    with pytest.raises(ValidationError, match=r"wait_strategy: .*\.continue_waiting\(delay\) or"):
        ask_wait(strategy, "state", 1)


def test_a_decision_that_cannot_be_made_is_put_down_to_the_strategy() -> None:
    def backwards(_state: str, _number: int) -> WaitForConditionDecision:
        return WaitForConditionDecision.continue_waiting(-1)

    with pytest.raises(ValidationError, match=r"backwards must return .*: delay: must not be neg"):
        ask_wait(backwards, "state", 1)


def test_a_retry_strategy_that_raises_is_named_and_the_error_of_the_attempt_is_its_cause() -> None:
    def broken(_error: Exception, _attempt: int) -> RetryDecision:
        raise KeyError("mine")

    error = ValueError("no")
    with pytest.raises(
        ValidationError, match=r"broken must return .*, and raised KeyError"
    ) as said:
        ask_retry(broken, error, 1)
    assert said.value.__cause__ is error


def test_what_ends_the_invocation_is_not_put_down_to_the_strategy() -> None:
    def interrupted(_error: Exception, _attempt: int) -> RetryDecision:
        raise UnrecoverableInvocationError(TerminationReason.CUSTOM, "over")

    with pytest.raises(UnrecoverableInvocationError):
        ask_retry(interrupted, ValueError("no"), 1)


def test_what_a_wait_strategy_raises_is_its_own() -> None:
    def give_up(_state: str, _number: int) -> WaitForConditionDecision:
        raise WaitForConditionError("enough", operation="c")

    with pytest.raises(WaitForConditionError, match="enough"):
        ask_wait(give_up, "state", 1)
