"""What comes from outside the function: timers, callbacks, children, operators."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from durably.engine.commands import (
    CompleteCallback,
    CompleteInvoke,
    FailCallback,
    HeartbeatCallback,
    Pause,
    Resume,
    Stop,
    TimersDue,
)
from durably.engine.execution import updated_operation_ids, wake_at
from durably.engine.facts import ChainedInvokeStarted, timestamp_of
from durably.errors import (
    CallbackTimeoutException,
    DurableExecutionAlreadyStartedException,
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject, OperationStatus
from tests.unit.engine.support import (
    ARN,
    BEGIN,
    ERROR,
    PENDING,
    Case,
    callback,
    invoke,
    names,
    start,
    step,
    succeeded,
    wait,
)

DAY = 24 * 60 * 60
SENT, OTHER = "t", "other"

# Start


def test_a_start_given_again_with_the_same_payload_changes_nothing() -> None:
    case = Case(payload="1")

    assert case.ask(start("1", arn=ARN + "2")) == []


def test_a_start_with_another_payload_is_refused() -> None:
    case = Case(payload="1")

    with pytest.raises(DurableExecutionAlreadyStartedException):
        case.ask(start("2"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"execution_name": "no spaces"}, "DurableExecutionName"),
        ({"payload": "x" * 1_048_577}, "Payload takes"),
        ({"timeout_seconds": 0}, "ExecutionTimeout"),
        ({"retention_days": 91}, "RetentionPeriodInDays"),
        ({"tenant_id": ""}, "TenantId"),
        ({"tenant_id": "a\tb"}, "TenantId"),
        ({"tenant_id": " a"}, "TenantId"),
        ({"tenant_id": "a "}, "TenantId"),
        ({"trace_id": ""}, "XAmznTraceId"),
        ({"trace_id": "\ud800"}, "XAmznTraceId"),
        ({"trace_id": "Root=1\n"}, "XAmznTraceId"),
        ({"trace_id": " Root=1"}, "XAmznTraceId"),
        ({"trace_id": "Root=1 "}, "XAmznTraceId"),
        ({"trace_id": "x" * 8193}, "XAmznTraceId"),
    ],
)
def test_a_start_beyond_a_limit_is_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidParameterValueException, match=text):
        Case(**changes)  # type: ignore[arg-type]  # what is refused


def test_a_start_without_payload_is_legal() -> None:
    case = Case(payload=None)

    details = case.execution.operations[0].execution_details
    assert details is not None
    assert details.input_payload is None


# Timers


def test_a_wait_is_over_when_it_is_due_and_not_before() -> None:
    case = Case.suspended(wait(seconds=10))

    assert case.ask(TimersDue(), after=9.9) == []
    assert names(case.ask(TimersDue(), after=0.1)) == ["WaitSucceeded", "InvocationOwed"]


def test_timers_due_at_one_look_owe_one_invocation() -> None:
    case = Case.suspended(wait("a", 1), wait("b", 2), wait("c", 3))

    facts = case.ask(TimersDue(), after=2)

    assert names(facts) == ["WaitSucceeded", "WaitSucceeded", "InvocationOwed"]


@pytest.mark.parametrize(
    ("timeout", "heartbeat", "error_type"),
    [(5, 0, "Callback.Timeout"), (0, 5, "Callback.Heartbeat"), (5, 5, "Callback.Timeout")],
)
def test_a_callback_times_out_once_on_the_deadline_that_comes_first(
    timeout: int, heartbeat: int, error_type: str
) -> None:
    case = Case.suspended(callback(timeout=timeout, heartbeat=heartbeat))

    facts = case.ask(TimersDue(), after=6)

    details = case.operation("cb").callback_details
    assert names(facts) == ["CallbackTimedOut", "InvocationOwed"]
    assert details is not None
    assert details.error is not None
    assert details.error.error_type == error_type
    assert case.ask(TimersDue(), after=6) == []


def test_an_execution_times_out_and_takes_its_invocation_with_it() -> None:
    case = Case.running(wait(seconds=5), timeout_seconds=60)

    case.ask(TimersDue(), after=60)

    assert case.story[-2:] == ["InvocationCompleted", "ExecutionTimedOut"]
    assert case.execution.error == ErrorObject(
        error_message="Execution timed out after 60 seconds."
    )
    assert case.ask(TimersDue(), after=60) == []


def test_an_execution_times_out_while_nothing_runs() -> None:
    case = Case(timeout_seconds=60)

    case.begin(after=61)

    assert case.story == ["ExecutionStarted", "ExecutionTimedOut"]
    assert case.begin() == []


def test_a_clock_that_runs_backwards_does_not_turn_the_history_round() -> None:
    case = Case.running(step())

    case.send(wait(), after=-3600)

    instants = [fact.at for fact in case.facts]
    assert instants == sorted(instants)


# Waking


def test_an_execution_wakes_at_once_when_it_is_started() -> None:
    assert wake_at(Case().execution) == BEGIN


def test_a_suspended_execution_wakes_at_its_earliest_timer() -> None:
    case = Case.suspended(wait("a", 30), callback(timeout=20, heartbeat=40))

    assert wake_at(case.execution) == BEGIN + timedelta(seconds=20)


def test_without_timers_it_wakes_at_its_time_out() -> None:
    case = Case.suspended(callback())

    assert wake_at(case.execution) == BEGIN + timedelta(days=366)


def test_a_closed_execution_never_wakes() -> None:
    case = Case.running()

    case.end(succeeded())

    assert wake_at(case.execution) is None


# Callbacks


def test_the_first_answer_to_a_callback_wins() -> None:
    case = Case.suspended(callback())

    facts = case.ask(CompleteCallback("cb1", "1"))

    assert names(facts) == ["CallbackSucceeded", "InvocationOwed"]
    with pytest.raises(CallbackTimeoutException):
        case.ask(FailCallback("cb1", ERROR))


def test_an_answer_while_an_invocation_runs_owes_none() -> None:
    case = Case.running(callback())

    assert names(case.ask(FailCallback("cb1", ERROR))) == ["CallbackFailed"]


def test_an_answer_without_payload_is_legal() -> None:
    case = Case.suspended(callback())

    case.ask(CompleteCallback("cb1", None))

    assert case.operation("cb").status is OperationStatus.SUCCEEDED


def test_an_unknown_callback_is_not_found_and_one_of_a_closed_execution_is_over() -> None:
    case = Case.suspended(callback())

    with pytest.raises(ResourceNotFoundException):
        case.ask(CompleteCallback("cb2", None))
    case.ask(Stop())
    with pytest.raises(CallbackTimeoutException):
        case.ask(HeartbeatCallback("cb1"))


def test_a_heartbeat_moves_its_own_deadline_only_and_leaves_no_event() -> None:
    case = Case.suspended(callback(timeout=30, heartbeat=10))
    story = case.story

    assert names(case.ask(HeartbeatCallback("cb1"), after=8)) == ["CallbackHeartbeat"]
    assert case.ask(TimersDue(), after=9) == []

    assert wake_at(case.execution) == BEGIN + timedelta(seconds=18)
    assert case.story == story


def test_a_heartbeat_after_its_deadline_comes_too_late() -> None:
    case = Case.suspended(callback(heartbeat=10))

    with pytest.raises(CallbackTimeoutException):
        case.ask(HeartbeatCallback("cb1"), after=10)


@pytest.mark.parametrize("deadline", [{"timeout": 10}, {"heartbeat": 10}])
@pytest.mark.parametrize(
    "command",
    [
        CompleteCallback("cb1", "late"),
        FailCallback("cb1", ErrorObject(error_type="E")),
        HeartbeatCallback("cb1"),
    ],
)
def test_whatever_comes_after_a_deadline_comes_too_late(deadline: Any, command: Any) -> None:
    with pytest.raises(CallbackTimeoutException):
        Case.suspended(callback(**deadline)).ask(command, after=10)
    Case.suspended(callback(**deadline)).ask(command, after=9)


def test_a_heartbeat_without_a_deadline_is_welcome_and_changes_nothing() -> None:
    case = Case.suspended(callback())

    assert case.ask(HeartbeatCallback("cb1")) == []


# Children


def test_the_name_of_a_child_cannot_be_told_from_its_parent() -> None:
    """Whoever may start executions could take it, and the parent would get no further."""
    updates = [invoke("i"), callback()]
    orders = (updates, updates[::-1])
    begun = [fact for order in orders for fact in Case.suspended(*order).facts]

    names = {fact.child_arn for fact in begun if isinstance(fact, ChainedInvokeStarted)}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (OperationStatus.SUCCEEDED, "ChainedInvokeSucceeded"),
        (OperationStatus.FAILED, "ChainedInvokeFailed"),
        (OperationStatus.TIMED_OUT, "ChainedInvokeTimedOut"),
        (OperationStatus.STOPPED, "ChainedInvokeStopped"),
    ],
)
def test_an_invoke_ends_as_its_child_does(status: OperationStatus, event: str) -> None:
    case = Case.suspended(invoke())

    case.ask(CompleteInvoke("i", status, "1", ERROR))

    assert case.operation("i").status is status
    assert case.story[-1] == event
    assert case.ask(CompleteInvoke("i", status)) == []


@pytest.mark.parametrize("error", [None, ErrorObject(error_message="Execution timed out")])
def test_a_child_that_timed_out_has_an_error_type_of_its_own(error: ErrorObject | None) -> None:
    case = Case.suspended(invoke())

    case.ask(CompleteInvoke("i", OperationStatus.TIMED_OUT, None, error))

    details = case.operation("i").chained_invoke_details
    assert details is not None
    assert details.error is not None
    assert details.error.error_type == "ChainedInvoke.Timeout"


def test_the_end_of_an_unknown_child_or_for_a_closed_parent_changes_nothing() -> None:
    case = Case.suspended(invoke())

    assert case.ask(CompleteInvoke("j", OperationStatus.SUCCEEDED)) == []
    case.ask(Stop())
    assert case.ask(CompleteInvoke("i", OperationStatus.SUCCEEDED)) == []


# Stop


def test_stop_ends_the_execution_at_once_and_only_once() -> None:
    case = Case.running(step())

    case.ask(Stop())

    assert case.story[-2:] == ["InvocationCompleted", "ExecutionStopped"]
    assert case.execution.error == ErrorObject(error_message="Execution stopped by user request")
    assert case.operation("s").status is OperationStatus.STARTED
    assert case.ask(Stop(ERROR)) == []


def test_after_stop_no_checkpoint_is_accepted_and_no_answer_counts() -> None:
    case = Case.running()
    case.ask(Stop(ERROR))

    with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
        case.send(step())
    assert case.end(succeeded("1")) == []
    assert case.execution.error == ERROR


# Pause and resume


def test_a_pause_with_nothing_in_flight_begins_at_once() -> None:
    case = Case.suspended(wait())

    case.ask(Pause("lunch"))

    assert case.execution.status is ExecutionStatus.PAUSED
    assert case.story[-1] == "ExecutionPaused"


def test_a_pause_under_an_invocation_begins_at_its_next_checkpoint_which_is_accepted() -> None:
    case = Case.running()

    case.ask(Pause())
    assert str(case.execution.status) == "PAUSING"
    case.send(step())

    assert str(case.execution.status) == "PAUSED"
    assert case.operation("s").status is OperationStatus.STARTED
    with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
        case.send(wait())


def test_the_invocation_cut_off_by_a_pause_is_made_again_after_it() -> None:
    case = Case.running()
    case.ask(Pause())
    case.send(step())

    case.end(succeeded("ignored"))
    assert case.begin() == []
    case.ask(Resume())

    assert not case.execution.is_closed
    assert names(case.begin()) == ["InvocationBegun"]


def test_a_pause_under_an_invocation_begins_at_its_end_at_the_latest() -> None:
    case = Case.running(callback())
    case.ask(Pause())

    case.end()

    assert case.story[-2:] == ["InvocationCompleted", "ExecutionPaused"]


def test_while_paused_timers_and_callbacks_complete_and_nothing_is_invoked() -> None:
    case = Case.suspended(wait(seconds=10), callback())
    case.ask(Pause())

    assert wake_at(case.execution) == BEGIN + timedelta(seconds=10)
    assert names(case.begin(after=10)) == ["WaitSucceeded", "InvocationOwed"]
    case.ask(CompleteCallback("cb1", "1"))
    assert case.execution.invocation is None

    case.ask(Resume())
    case.begin()
    case.end(succeeded())
    assert case.story.count("InvocationCompleted") == 2


def test_resume_owes_nothing_when_nothing_happened_meanwhile() -> None:
    case = Case.suspended(callback())
    case.ask(Pause())

    case.ask(Resume("back"))

    assert case.begin() == []
    assert case.story[-2:] == ["ExecutionPaused", "ExecutionResumed"]


def test_a_pause_is_called_off_before_it_begins() -> None:
    case = Case.running()
    case.ask(Pause())

    case.ask(Resume())
    case.send(step())

    assert case.execution.status is ExecutionStatus.RUNNING
    assert case.execution.is_listening


def test_a_paused_time_out_is_made_up_for() -> None:
    case = Case.suspended(callback(), timeout_seconds=60)
    case.ask(Pause(is_timeout_paused=True))

    assert case.ask(TimersDue(), after=100) == []
    case.ask(Resume())

    assert wake_at(case.execution) == BEGIN + timedelta(seconds=160)


def test_a_time_out_that_was_not_paused_runs_on() -> None:
    case = Case.suspended(callback(), timeout_seconds=60)
    case.ask(Pause(is_timeout_paused=False))

    case.ask(Resume(), after=30)
    assert names(case.ask(TimersDue(), after=30)) == ["ExecutionTimedOut"]


def test_a_paused_time_out_cannot_pass_366_days() -> None:
    case = Case.suspended(callback(), timeout_seconds=300 * DAY)
    case.ask(Pause())

    case.ask(Resume(), after=100 * DAY)

    assert wake_at(case.execution) == BEGIN + timedelta(days=366)


def test_pause_and_resume_are_refused_where_they_make_no_sense() -> None:
    case = Case.suspended(callback())

    with pytest.raises(ResourceConflictException):
        case.ask(Resume())
    case.ask(Pause(client_token=SENT))
    with pytest.raises(ResourceConflictException):
        case.ask(Pause(client_token=OTHER))
    assert case.ask(Pause(client_token=SENT)) == []
    case.ask(Resume(client_token=OTHER))
    assert case.ask(Resume(client_token=OTHER)) == []
    case.ask(Stop())
    with pytest.raises(ResourceConflictException):
        case.ask(Pause())
    with pytest.raises(ResourceConflictException):
        case.ask(Resume())


def test_a_reason_has_a_limit() -> None:
    with pytest.raises(InvalidParameterValueException, match="Reason"):
        Case().ask(Pause("x" * 1025))


# What the next invocation is told


def test_what_changed_from_outside_is_announced_until_an_invocation_ended_well() -> None:
    case = Case.suspended(wait(seconds=1), callback())
    case.ask(TimersDue(), after=1)
    case.ask(CompleteCallback("cb1", "1"))

    case.begin()
    assert updated_operation_ids(case.execution) == ("w", "cb")
    case.end(PENDING)

    assert updated_operation_ids(case.execution) == ()


def test_instants_keep_their_microseconds() -> None:
    assert timestamp_of(1_767_225_600_123_457).microsecond == 123_457
