from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from durably import errors
from durably.errors import (
    ApiError,
    BatchCompletionError,
    CallbackError,
    CallbackExternalError,
    CallbackTimeoutError,
    ChildContextError,
    DurableError,
    DurableOperationError,
    ExecutionFailedError,
    ExecutionParkedError,
    FunctionNotFoundError,
    InvalidParameterValueException,
    NonDeterministicExecutionError,
    RecordedError,
    SerdesError,
    StepError,
    StepInterruptedError,
    StoreError,
    StoreFullError,
    TerminationReason,
    UnrecoverableExecutionError,
    ValidationError,
    error_object,
    exception_of,
)
from durably.operation_errors import MAX_DATA_BYTES, MAX_FRAMES, MAX_MESSAGE_BYTES
from durably.wire.operation import ErrorObject

RECORD = ErrorObject(
    error_type="ValueError",
    error_message="not approved",
    error_data='{"by":"ann"}',
    stack_trace=('File "a.py", line 1, in f',),
)
ErrorT = TypeVar("ErrorT", bound=Exception)


def kinds_of(root: type[ErrorT]) -> list[type[ErrorT]]:
    """Give all public classes of errors under *root*."""
    named = [getattr(errors, name) for name in errors.__all__]
    return [kind for kind in named if isinstance(kind, type) and issubclass(kind, root)]


OPERATION_ERRORS = kinds_of(DurableOperationError)


class TransientError(Exception):
    pass


class Mute(Exception):  # noqa: N818 - named for what it does
    def __str__(self) -> str:
        raise RuntimeError("no")


def raised(error: Exception, depth: int = 0) -> Exception:
    """Give *error* after it was raised, *depth* calls further down."""

    def dive(left: int) -> None:
        if left:
            dive(left - 1)
        raise error

    with pytest.raises(type(error)) as caught:
        dive(depth)
    return caught.value


def test_every_error_is_drawn_in_the_tree() -> None:
    drawing = errors.__doc__ or ""

    missing = [
        name
        for name in errors.__all__
        if isinstance(kind := getattr(errors, name), type)
        and issubclass(kind, BaseException)
        and name not in drawing
    ]

    assert missing == []


def test_every_error_of_the_tree_is_a_durable_error_and_no_signal_is_an_exception() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            assert issubclass(kind, DurableError) is issubclass(kind, Exception)


class TestRecording:
    def test_a_plain_exception_is_recorded_by_its_class_name_alone_and_its_text(self) -> None:
        record = error_object(TransientError("busy"))

        assert record == ErrorObject(error_type="TransientError", error_message="busy")

    def test_it_is_recorded_where_the_exception_was_raised(self) -> None:
        trace = error_object(raised(TransientError("busy"))).stack_trace

        assert trace is not None
        assert trace[-1].startswith('File "')
        assert trace[-1].endswith(", in raised.<locals>.dive")

    def test_only_the_innermost_frames_are_recorded(self) -> None:
        trace = error_object(raised(TransientError("busy"), depth=100)).stack_trace

        assert trace is not None
        assert len(trace) == MAX_FRAMES

    def test_text_that_cannot_be_stored_is_made_storable(self) -> None:
        record = error_object(TransientError("half \ud83d of a pair"))

        assert record.error_message == r"half \ud83d of a pair"

    def test_a_long_message_is_cut_at_a_whole_character(self) -> None:
        message = error_object(TransientError("é" * MAX_MESSAGE_BYTES)).error_message

        assert message is not None
        assert len(message.encode()) <= MAX_MESSAGE_BYTES
        assert message.endswith("é...")

    def test_an_exception_whose_text_raises_is_recorded_all_the_same(self) -> None:
        record = error_object(Mute())

        assert record.error_message == "<its text cannot be given: RuntimeError>"

    def test_data_is_kept_whole_or_left_out(self) -> None:
        assert error_object(TransientError(), data="{}").error_data == "{}"
        assert error_object(TransientError(), data="x" * (MAX_DATA_BYTES + 1)).error_data is None

    def test_an_operation_error_that_escapes_is_recorded_under_its_own_class(self) -> None:
        escaped = error_object(CallbackExternalError.from_wire("approval", RECORD))

        assert escaped.error_type == "CallbackExternalError"
        assert escaped.error_message == "not approved"
        assert escaped.error_data == RECORD.error_data
        assert escaped.stack_trace == RECORD.stack_trace

    def test_an_operation_error_gives_back_what_was_recorded_for_the_operation(self) -> None:
        assert StepError.from_wire("charge", RECORD).recorded == RECORD

    def test_data_given_with_an_operation_error_replaces_its_own(self) -> None:
        escaped = error_object(StepError.from_wire("charge", RECORD), data="new")

        assert escaped == ErrorObject(
            error_type="StepError", error_message="not approved", error_data="new"
        )

    def test_a_stand_in_that_is_raised_again_keeps_the_class_it_stands_for(self) -> None:
        assert error_object(exception_of(RECORD)) == RECORD


class TestRebuilding:
    @pytest.mark.parametrize("kind", OPERATION_ERRORS)
    def test_every_operation_error_is_rebuilt_from_its_record(
        self, kind: type[DurableOperationError]
    ) -> None:
        error = kind.from_wire("charge", RECORD)

        assert type(error) is kind
        assert (error.operation, error.error_type, error.data) == (
            "charge",
            "ValueError",
            RECORD.error_data,
        )
        assert str(error) == error.message == "not approved"
        assert error.stack_trace == RECORD.stack_trace

    @pytest.mark.parametrize("kind", OPERATION_ERRORS)
    def test_without_a_message_there_is_a_default_one(
        self, kind: type[DurableOperationError]
    ) -> None:
        assert str(kind.from_wire(None, None)) == kind.default_message
        assert str(kind.from_wire(None, ErrorObject())) == kind.default_message

    def test_a_traceback_names_the_operation(self) -> None:
        assert StepError.from_wire("charge", RECORD).__notes__ == [
            "operation 'charge' failed with ValueError"
        ]
        assert StepError.from_wire("charge", None).__notes__ == [
            "operation 'charge' failed with no error type"
        ]

    def test_first_run_and_replay_raise_equal_errors(self) -> None:
        first = StepError.from_wire("charge", error_object(raised(TransientError("busy"))))
        replay = StepError.from_wire(
            "charge", ErrorObject(error_type="TransientError", error_message="busy")
        )

        assert first == replay
        assert hash(first) == hash(replay)
        assert first.__cause__ == replay.__cause__

    @pytest.mark.parametrize(
        "other",
        [
            StepError.from_wire("other", RECORD),
            ChildContextError.from_wire("charge", RECORD),
            StepError.from_wire("charge", ErrorObject(error_type="ValueError")),
            StepError.from_wire(
                "charge", ErrorObject(error_type="KeyError", error_message="not approved")
            ),
            ValueError("not approved"),
        ],
    )
    def test_errors_that_differ_in_anything_that_counts_are_not_equal(
        self, other: Exception
    ) -> None:
        assert StepError.from_wire("charge", RECORD) != other

    def test_the_cause_of_an_unknown_class_is_a_stand_in(self) -> None:
        cause = StepError.from_wire("charge", RECORD).__cause__

        assert isinstance(cause, RecordedError)
        assert str(cause) == "ValueError: not approved"
        assert (cause.error_type, cause.message, cause.data) == (
            "ValueError",
            "not approved",
            RECORD.error_data,
        )

    def test_an_error_of_ours_inside_a_context_is_its_cause(self) -> None:
        step = StepError.from_wire("charge", RECORD)
        child = ChildContextError.from_wire("order", error_object(step))

        assert isinstance(child.__cause__, StepError)
        assert child.__cause__.message == "not approved"
        assert child.error_type == "StepError"

    def test_the_qualified_names_of_other_sdks_are_read_too(self) -> None:
        record = ErrorObject(error_type="some.module.CallbackTimeoutError", error_message="late")

        error = exception_of(record, operation="approval")

        assert type(error) is CallbackTimeoutError
        assert error.operation == "approval"
        assert error.error_type == "some.module.CallbackTimeoutError"

    @pytest.mark.parametrize("kind", [SerdesError, StepInterruptedError])
    def test_plain_errors_of_ours_are_rebuilt_by_name(self, kind: type[DurableError]) -> None:
        record = error_object(kind("what happened"))

        assert exception_of(record) == kind("what happened")

    @pytest.mark.parametrize("name", ["ValueError", "SystemExit", "os.system", "", None])
    def test_no_class_is_looked_up_by_a_recorded_name(self, name: str | None) -> None:
        error = exception_of(ErrorObject(error_type=name, error_message="m"))

        assert type(error) is RecordedError
        assert error.error_type == name

    def test_an_operation_error_given_a_cause_keeps_it(self) -> None:
        cause = ValueError("x")

        assert CallbackError("failed", cause=cause).__cause__ is cause


class TestWhatErrorsSay:
    def test_a_validation_error_names_the_field_and_is_a_value_error(self) -> None:
        error = ValidationError("timeout", "must be longer than nothing")

        assert isinstance(error, ValueError)
        assert (error.field, error.message) == ("timeout", "must be longer than nothing")
        assert str(error) == "timeout: must be longer than nothing"

    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("InvalidParameterValueException", 400),
            ("CallbackTimeoutException", 400),
            ("ResourceNotFoundException", 404),
            ("DurableExecutionAlreadyStartedException", 409),
            ("ResourceConflictException", 409),
            ("TooManyRequestsException", 429),
            ("ServiceException", 500),
        ],
    )
    def test_a_refusal_has_the_name_and_status_of_the_service(self, name: str, status: int) -> None:
        make: Callable[[str], ApiError] = getattr(errors, name)

        error = make("no")

        assert (error.status_code, error.code, error.message) == (status, name, "no")
        assert str(error) == f"{name} ({status}): no"

    def test_an_execution_without_a_result_says_how_it_ended(self) -> None:
        arn = "arn:aws:lambda:local:000000000000:function:f:$LATEST/durable-execution/run/1"
        failed = ExecutionFailedError(arn, RECORD)

        assert str(failed) == "f/run failed: ValueError: not approved"
        assert (failed.arn, failed.error) == (arn, RECORD)
        assert str(ExecutionParkedError("arn:x")) == "arn:x is parked until it is resumed"

    @pytest.mark.parametrize("kind", kinds_of(StoreError))
    def test_a_store_error_says_what_to_do_next(self, kind: type[StoreError]) -> None:
        assert str(kind("it broke.")) == f"it broke. {kind.remedy}"
        assert kind is StoreError or kind.remedy != StoreError.remedy

    def test_a_full_store_is_told_apart_from_a_locked_one(self) -> None:
        assert not isinstance(StoreFullError("x"), errors.StoreLockedError)

    def test_a_function_that_is_not_found_is_named_beside_those_that_are(self) -> None:
        error = FunctionNotFoundError("fulfill", ("pay", "fulfil"))

        assert error.name == "fulfill"
        assert (
            str(error)
            == "no function 'fulfill'; registered are: fulfil, pay. Did you mean 'fulfil'?"
        )
        assert "none" in str(FunctionNotFoundError("x"))

    def test_non_determinism_names_the_operation(self) -> None:
        error = NonDeterministicExecutionError("another step", operation_id="c4ca")

        assert isinstance(error, UnrecoverableExecutionError)
        assert error.reason is TerminationReason.NON_DETERMINISM
        assert error.operation_id == "c4ca"

    def test_a_batch_that_was_declared_failed_says_so(self) -> None:
        assert str(BatchCompletionError()) == "batch was completed as failed"

    @pytest.mark.parametrize("name", ["InvocationSuspended", "BranchSuspended", "OrphanedBranch"])
    def test_a_signal_tells_whoever_caught_it_what_to_write_instead(self, name: str) -> None:
        make: Callable[..., BaseException] = getattr(errors, name)

        for signal in (make(), make("step 'charge' is asleep.")):
            assert not isinstance(signal, Exception)
            assert "`except Exception`" in str(signal)

    def test_errors_compare_with_other_things_without_raising(self) -> None:
        anything: Any = object()

        assert SerdesError("x") != anything
        assert SerdesError("x") != ValueError("x")
        assert InvalidParameterValueException("x") == InvalidParameterValueException("x")

    @pytest.mark.parametrize(
        "error",
        [
            ValidationError("timeout", "too long"),
            StepError.from_wire("charge", RECORD),
            exception_of(RECORD),
            ApiError(400, "Code", "no"),
            InvalidParameterValueException("no"),
            ExecutionFailedError("arn:x", RECORD),
            StoreFullError("no room"),
            FunctionNotFoundError("f"),
            NonDeterministicExecutionError("other", operation_id="c4ca"),
        ],
    )
    def test_an_error_can_be_copied_and_so_leave_a_process(self, error: DurableError) -> None:
        twin = copy.copy(error)

        assert twin is not error
        assert twin == error
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
