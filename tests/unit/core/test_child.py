from typing import Any

import pytest

from durably.config import ChildConfig
from durably.core.effects import Call, Err, Ok, Program
from durably.core.operations.child import MAX_CONTEXT_RESULT_BYTES, child
from durably.core.scope import Scope
from durably.errors import (
    ChildContextError,
    NonDeterministicExecutionError,
    RetryableSerdesError,
    UnrecoverableInvocationError,
)
from durably.serdes import JsonSerdes
from durably.wire.operation import ContextDetails, ErrorObject, OperationStatus
from durably.wire.update import OperationAction
from tests.unit.core.support import CONTEXT, ByHand, must_not_run, record, result_of, scope_of

LARGE = "ä" * (MAX_CONTEXT_RESULT_BYTES // 2)
"""Its JSON has two quotes more than the limit, but only half as many characters."""


def body(_: object) -> None:
    """Nothing."""


def program_of(
    scope: Scope, config: ChildConfig[Any] | None = None, run: Any = body, serdes: Any = None
) -> Program[Any]:
    return child(scope, CONTEXT, run, config or ChildConfig(), serdes or JsonSerdes())


def begun(config: ChildConfig[Any] | None = None, serdes: Any = None) -> tuple[ByHand, Scope]:
    scope = scope_of()
    program = ByHand(scope.journal, program_of(scope, config, serdes=serdes))
    return program, inner_of(program)


def inner_of(program: ByHand) -> Scope:
    effect = program.until_asked()
    assert isinstance(effect, Call)
    assert isinstance(effect.place, Scope)
    return effect.place


def recorded(status: OperationStatus, **details: Any) -> Scope:
    return scope_of(record(CONTEXT, status, context_details=ContextDetails(**details)))


def test_a_new_context_runs_while_its_start_is_on_its_way() -> None:
    program, inner = begun()

    assert program.waited == [False]
    assert (inner.op, inner.is_settled, inner.is_replaying) == (CONTEXT, False, False)


def test_an_open_context_runs_again_without_a_new_start() -> None:
    scope = scope_of(record(CONTEXT, OperationStatus.STARTED))
    program = ByHand(scope.journal, program_of(scope))

    assert not inner_of(program).is_settled
    assert program.sent == []


def test_a_recorded_result_is_returned_without_entering_the_body() -> None:
    scope = recorded(OperationStatus.SUCCEEDED, result="[1]")

    assert result_of(program_of(scope, run=must_not_run)) == [1]


def test_the_first_run_gives_what_a_replay_would() -> None:
    program, _ = begun()

    assert program.to_end(Ok((1, 2))) == [1, 2]
    assert (program.last.action, program.waited[-1]) == (OperationAction.SUCCEED, True)


def test_the_context_is_closed_before_its_result_is_sent() -> None:
    program, inner = begun()

    program.program.send(Ok(1))

    assert inner.is_closed


def test_a_failure_is_recorded_as_it_was_raised_and_raised_as_it_is_recorded() -> None:
    program, inner = begun()

    with pytest.raises(ChildContextError) as first:
        program.to_end(Err(ValueError("no")))
    with pytest.raises(ChildContextError) as again:
        next(program_of(Scope(program.journal, inner.now)))

    assert program.last.error == ErrorObject(error_type="ValueError", error_message="no")
    assert first.value == again.value


def test_an_error_mapper_makes_the_error_of_every_run() -> None:
    config: ChildConfig[Any] = ChildConfig(error_mapper=lambda error: KeyError(error.message))
    scope = recorded(OperationStatus.FAILED, error=ErrorObject(error_message="no"))

    with pytest.raises(KeyError, match="no"):
        next(program_of(scope, config))


def test_a_result_over_256_kib_is_not_recorded_but_its_summary() -> None:
    program, _ = begun(ChildConfig(summary_generator=lambda value: f"{len(value)} letters"))

    assert program.to_end(Ok(LARGE)) == LARGE
    assert program.last == CONTEXT.succeed_with_children(f"{len(LARGE)} letters")


def test_the_size_is_measured_in_bytes() -> None:
    program, _ = begun()
    program.to_end(Ok(LARGE))
    just_fits, _ = begun()
    just_fits.to_end(Ok(LARGE[1:]))

    assert program.last == CONTEXT.succeed_with_children("")
    assert just_fits.last.payload == f'"{LARGE[1:]}"'


def test_a_large_result_is_rebuilt_by_the_body_and_nothing_is_recorded() -> None:
    scope = recorded(OperationStatus.SUCCEEDED, replay_children=True, result="")
    program = ByHand(scope.journal, program_of(scope))

    assert inner_of(program).is_settled
    assert program.to_end(Ok((1, LARGE))) == [1, LARGE]
    assert program.sent == []


def test_a_rebuild_that_fails_raises_what_the_body_raised() -> None:
    scope = recorded(OperationStatus.SUCCEEDED, replay_children=True)
    program = ByHand(scope.journal, program_of(scope))
    inner_of(program)

    with pytest.raises(ValueError, match="no"):
        program.to_end(Err(ValueError("no")))


def test_a_result_that_cannot_be_written_fails_the_context() -> None:
    program, _ = begun()

    with pytest.raises(ChildContextError) as error:
        program.to_end(Ok(object()))

    assert error.value.error_type == "SerdesError"


def test_a_summary_that_cannot_be_made_fails_the_context() -> None:
    def summary(value: object) -> str:
        raise KeyError("summary")

    program, _ = begun(ChildConfig(summary_generator=summary))

    with pytest.raises(ChildContextError) as error:
        program.to_end(Ok(LARGE))

    assert error.value.error_type == "KeyError"


def test_a_serdes_that_cannot_work_now_has_the_invocation_tried_again() -> None:
    class Busy(JsonSerdes):
        def serialize(self, value: object, context: object, /) -> str:
            raise RetryableSerdesError

    program, _ = begun(serdes=Busy())

    with pytest.raises(UnrecoverableInvocationError):
        program.to_end(Ok(1))


# Virtual contexts


VIRTUAL: ChildConfig[Any] = ChildConfig(is_virtual=True)


def test_a_virtual_context_leaves_no_record_and_gives_its_value_as_it_is() -> None:
    value = object()
    program, inner = begun(VIRTUAL)

    assert program.to_end(Ok(value)) is value
    assert program.sent == []
    assert inner.is_closed


def test_a_virtual_context_fails_like_a_real_one() -> None:
    program, _ = begun(VIRTUAL)

    with pytest.raises(ChildContextError) as error:
        program.to_end(Err(ValueError("no")))

    assert (error.value.error_type, error.value.message) == ("ValueError", "no")


def test_a_virtual_context_has_its_errors_mapped_too() -> None:
    program, _ = begun(ChildConfig(is_virtual=True, error_mapper=lambda error: KeyError("mine")))

    with pytest.raises(KeyError, match="mine"):
        program.to_end(Err(ValueError("no")))


def test_a_virtual_context_in_the_place_of_a_real_one_is_refused() -> None:
    scope = recorded(OperationStatus.STARTED)

    with pytest.raises(NonDeterministicExecutionError, match="without: is_virtual"):
        next(program_of(scope, VIRTUAL))
