from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from durably.core.active import (
    ActiveOperation,
    Attempting,
    StepContext,
    active,
    current_step,
    get_active_operation,
    has_ended,
    misuse,
    not_owner,
)
from durably.core.effects import Attempt
from durably.core.scope import DurableExecutionMode, Scope
from durably.errors import ContextUsageError
from tests.unit.core.support import ARN, CONTEXT, STEP, an_op, scope_of

STEP_CONTEXT = StepContext("work", STEP.id, 2, ARN, None)


@contextmanager
def running(place: Scope | Attempting) -> Iterator[None]:
    token = active.set(place)
    yield
    active.reset(token)


def attempting(scope: Scope) -> Attempting:
    return Attempting(scope, Attempt(STEP, 2), STEP_CONTEXT)


def test_the_body_of_a_step_finds_its_context() -> None:
    with running(attempting(scope_of())):
        assert current_step() is STEP_CONTEXT


def test_there_is_no_step_outside_of_one() -> None:
    with pytest.raises(ContextUsageError, match="only inside the body of a step"):
        current_step()
    with running(scope_of()), pytest.raises(ContextUsageError, match="only inside the body"):
        current_step()


def test_the_idempotency_key_is_of_the_operation_and_not_of_the_attempt() -> None:
    first = StepContext("work", STEP.id, 1, ARN, None)
    other = StepContext("work", CONTEXT.id[::-1], 1, ARN, None)

    assert first.idempotency_key == STEP_CONTEXT.idempotency_key
    assert first.idempotency_key != other.idempotency_key
    assert len(first.idempotency_key) == 32


def test_what_is_active_is_told_in_the_terms_of_the_other_sdks() -> None:
    root = scope_of()
    child = root.child(an_op(step_id="3", parent_id=None))
    execution = DurableExecutionMode.EXECUTION

    assert get_active_operation() is None
    with running(root):
        assert get_active_operation() == ActiveOperation("", None, None, execution)
    with running(child):
        assert get_active_operation() == ActiveOperation("3", None, None, execution)
    with running(attempting(child)):
        assert get_active_operation() == ActiveOperation("1", None, 2, execution)


def test_an_operation_may_be_called_on_the_context_whose_body_runs() -> None:
    scope = scope_of()

    with running(scope):
        assert misuse(scope, "work") is None


def test_an_operation_may_not_be_called_from_a_step() -> None:
    scope = scope_of()

    with running(attempting(scope)):
        assert "operation 'inner' was called inside step work" in str(misuse(scope, "inner"))
        assert "an operation was called inside step work" in str(misuse(scope, None))


def test_an_operation_may_not_be_called_on_the_context_around_the_innermost() -> None:
    scope = scope_of()

    with running(scope.child(CONTEXT)):
        assert "on another context" in str(misuse(scope, None))


def test_an_operation_may_not_be_called_outside_of_durable_code() -> None:
    assert "outside the code that its context was made for" in str(misuse(scope_of(), None))


def test_every_refusal_says_that_nothing_was_recorded_and_what_to_do() -> None:
    for refusal in (not_owner("a"), not_owner(None), has_ended("a"), has_ended(None)):
        assert "Nothing was recorded" in str(refusal).replace("\n", " ")
