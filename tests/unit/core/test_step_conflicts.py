"""A step whose transaction was in conflict with others: nothing of it was stored."""

from typing import Any

import pytest

from durably.config import StepConfig, StepSemantics
from durably.core.effects import Attempt, Call, Effect, Err, Ok, Outcome, Persist
from durably.core.journal import Journal
from durably.core.operations.step import MAX_TRANSACTIONS, step
from durably.retries import RetryPresets, RetryStrategyConfig, create_retry_strategy
from durably.serdes import JsonSerdes
from durably.wire.operation import OperationStatus, StepDetails
from durably.wire.update import OperationAction, OperationUpdate
from tests.unit.core.support import STEP, ByHand, journal_of, record

NO_RETRY: StepConfig[Any] = StepConfig(retry_strategy=RetryPresets.none())
AT_MOST_ONCE: StepConfig[Any] = StepConfig(
    semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=RetryPresets.none()
)
CONFLICT = Err(ValueError("a deadlock"), is_conflict=True)


def body() -> int:
    return 7


def in_vain(config: StepConfig[Any], outcome: Outcome[Any]) -> tuple[int, OperationUpdate]:
    """Answer every run with *outcome*, store no success; give how many ran, and the failure."""
    journal: Journal = journal_of()
    program = step(journal, STEP, body, config, JsonSerdes())
    effect: Effect = program.send(None)
    runs = 0
    while True:
        if isinstance(effect, Persist):
            if effect.update.action is OperationAction.FAIL:
                return runs, effect.update
            if effect.update.action is OperationAction.START:
                journal.take_reply([record(STEP, OperationStatus.STARTED)], [])
            effect = program.send(None)
        else:
            assert effect == Call(body, Attempt(STEP, 1))
            runs += 1
            effect = program.send(outcome)


@pytest.mark.parametrize(
    ("config", "runs"), [(NO_RETRY, MAX_TRANSACTIONS), (AT_MOST_ONCE, 1)], ids=["default", "once"]
)
def test_an_outcome_that_is_never_stored_is_a_conflict_in_the_end(
    config: StepConfig[Any], runs: int
) -> None:
    ran, failure = in_vain(config, Ok(7))

    assert ran == runs
    assert failure.error is not None
    assert failure.error.error_type == "TransactionConflictError"
    assert failure.error.error_message == (
        f"others were in the way of the transaction of {STEP} (runs: {runs})"
    )


@pytest.mark.parametrize(
    ("config", "runs"), [(NO_RETRY, MAX_TRANSACTIONS), (AT_MOST_ONCE, 1)], ids=["default", "once"]
)
def test_a_conflict_that_the_body_meets_again_and_again_is_its_failure(
    config: StepConfig[Any], runs: int
) -> None:
    ran, failure = in_vain(config, CONFLICT)

    assert ran == runs
    assert failure.error is not None
    assert failure.error.error_message == "a deadlock"


@pytest.mark.parametrize("semantics", StepSemantics)
def test_a_next_attempt_that_is_due_at_once_has_its_runs_to_itself(
    semantics: StepSemantics,
) -> None:
    again = RetryStrategyConfig(max_attempts=MAX_TRANSACTIONS + 2)
    config: StepConfig[Any] = StepConfig(
        semantics=semantics, retry_strategy=create_retry_strategy(again)
    )
    journal: Journal = journal_of()
    program = step(journal, STEP, body, config, JsonSerdes())
    by_hand = ByHand(journal, program)
    failed = Err(ValueError("no"))
    asked = by_hand.until_asked()

    for attempts in range(1, MAX_TRANSACTIONS + 2):
        assert asked == Call(body, Attempt(STEP, attempts))
        details = StepDetails(attempt=attempts)
        ready = record(STEP, OperationStatus.READY, step_details=details)
        by_hand.replies[STEP.id] = (ready,)
        asked = by_hand.until_asked(failed)

    assert asked == Call(body, Attempt(STEP, MAX_TRANSACTIONS + 2))


def test_a_transaction_that_is_refused_is_a_failed_attempt() -> None:
    journal: Journal = journal_of(record(STEP, OperationStatus.STARTED))
    program = step(journal, STEP, body, NO_RETRY, JsonSerdes())
    assert isinstance(program.send(None), Call)
    sent = program.send(Ok(7))
    assert isinstance(sent, Persist)
    assert sent.update.action is OperationAction.SUCCEED

    failure = program.send(Err(ValueError("no such account")))

    assert isinstance(failure, Persist)
    assert failure.update.action is OperationAction.FAIL
    assert failure.update.error is not None
    assert failure.update.error.error_message == "no such account"


def test_a_refused_transaction_is_tried_again_if_the_retry_strategy_wants_it() -> None:
    journal: Journal = journal_of(record(STEP, OperationStatus.STARTED))
    program = step(journal, STEP, body, StepConfig(), JsonSerdes())
    program.send(None)
    program.send(Ok(7))

    failure = program.send(Err(ValueError("no such account")))

    assert isinstance(failure, Persist)
    assert failure.update.action is OperationAction.RETRY
