"""How invocations begin and end, are lost, fail, and are owed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from durably.engine.commands import (
    BeginInvocation,
    CompleteCallback,
    FailInvocation,
    Pause,
    Resume,
    Stop,
    TimersDue,
)
from durably.engine.execution import wake_at
from durably.engine.policy import FailurePolicy
from durably.wire.execution import ExecutionStatus
from durably.wire.invocation import InvocationOutput, InvocationStatus
from durably.wire.operation import ErrorObject, OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.support import (
    BEGIN,
    ERROR,
    Case,
    callback,
    failed,
    names,
    retry,
    step,
    succeeded,
    wait,
)


def fail(case: Case, *, is_counted: bool = True, after: float = 0) -> list[str]:
    command = FailInvocation(case.epoch, ERROR, is_counted)
    return names(case.ask(command, after=after))


# Answers


def test_success_ends_the_execution_after_its_invocation() -> None:
    case = Case.running()

    case.end(succeeded("7"))

    assert case.story == ["ExecutionStarted", "InvocationCompleted", "ExecutionSucceeded"]
    assert case.execution.result == "7"
    assert case.execution.operations[0].status is OperationStatus.SUCCEEDED


def test_failure_ends_the_execution_and_is_no_failed_invocation() -> None:
    case = Case.running()

    case.end(failed())

    assert case.story[-1] == "ExecutionFailed"
    assert case.execution.error == ERROR
    assert case.events[1].invocation_completed_details is not None
    assert case.events[1].invocation_completed_details.error is None


@pytest.mark.parametrize(
    "output",
    [
        InvocationOutput(status=InvocationStatus.SUCCEEDED, result="1", error=ERROR),
        InvocationOutput(status=InvocationStatus.FAILED, result="1", error=ERROR),
    ],
)
def test_a_contradictory_answer_counts_as_a_failed_invocation(output: InvocationOutput) -> None:
    case = Case.running()

    case.end(output)

    assert not case.execution.is_closed
    assert case.execution.failures == 1


@pytest.mark.parametrize(
    "output",
    [
        succeeded("x" * 1_048_577),
        failed(ErrorObject(error_message="x" * 1_048_577)),
        succeeded("\ud800"),
    ],
)
def test_an_outcome_beyond_a_limit_fails_the_execution_for_good(output: InvocationOutput) -> None:
    case = Case.running()

    case.end(output)

    assert case.execution.status is ExecutionStatus.FAILED
    assert case.execution.error is not None
    assert case.execution.error.error_type == "Runtime.ResponseSizeTooLarge"


def test_an_invocation_that_has_begun_begins_only_once_under_its_claim() -> None:
    case = Case.running()
    case.epoch -= 1

    assert case.begin() == []


def test_pending_with_nothing_outstanding_counts_as_a_failed_invocation() -> None:
    case = Case.running(step(), step(action=step().action.SUCCEED))

    case.end()

    assert case.execution.failures == 1
    assert case.execution.last_error is not None
    assert case.execution.last_error.error_type == "Runtime.InvalidResponse"


def test_pending_with_nothing_outstanding_counts_as_failed_under_a_pause_too() -> None:
    case = Case.running(step(), step(action=step().action.SUCCEED))
    case.ask(Pause())

    ended = case.end()

    assert names(ended) == ["InvocationCompleted", "InvocationRetryScheduled", "ExecutionPaused"]
    assert case.execution.failures == 1
    case.ask(Resume(), after=60)
    assert case.begin() != []


def test_pending_of_one_that_may_not_have_heard_the_last_reply_owes_another_invocation() -> None:
    case = Case.running()
    case.send(wait(seconds=5), sequence=0)
    case.ask(TimersDue(), after=6)
    case.send(sequence=1)  # its reply tells that the wait is over

    ended = case.end()

    assert names(ended) == ["InvocationCompleted", "InvocationOwed"]
    assert case.execution.failures == 0
    case.begin()
    case.end()
    assert case.execution.failures == 1  # it began with that


def test_pending_with_something_outstanding_suspends() -> None:
    case = Case.suspended(step(), retry(delay=5, error=ERROR))

    assert case.execution.failures == 0
    assert wake_at(case.execution) == BEGIN + timedelta(seconds=5)


def test_an_answer_without_an_invocation_is_ignored() -> None:
    case = Case()

    assert case.end(succeeded("1")) == []
    assert fail(case) == []
    case.begin()
    case.epoch -= 1
    assert case.end(succeeded("1")) == []


# Wake-ups are not merged away


def test_each_completion_that_finds_no_invocation_causes_one_of_its_own() -> None:
    case = Case.suspended(callback("a"), callback("b"), callback("c"))
    case.ask(CompleteCallback("cb1", "1"))
    case.ask(CompleteCallback("cb2", "1"))

    case.begin()
    case.end()
    assert wake_at(case.execution) == case.now
    assert names(case.begin()) == ["InvocationBegun"]
    case.end()

    assert case.begin() == []
    assert case.story.count("InvocationCompleted") == 3


def test_a_completion_that_the_invocation_was_told_of_causes_no_other() -> None:
    case = Case.running(callback("a"), callback("b"))
    case.ask(CompleteCallback("cb1", "1"))

    case.end(seen=len(case.execution.changes))

    assert case.begin() == []


def test_a_completion_that_came_too_late_for_the_invocation_causes_one() -> None:
    case = Case.running(callback("a"))
    seen = len(case.execution.changes)
    case.ask(CompleteCallback("cb1", "1"))

    facts = case.end(seen=seen)

    assert names(facts) == ["InvocationCompleted", "InvocationOwed"]
    assert names(case.begin()) == ["InvocationBegun"]


def test_a_remote_invocation_has_seen_what_its_last_reply_told() -> None:
    case = Case.running(callback("a"), callback("b"))
    case.ask(CompleteCallback("cb1", "1"))
    case.send(sequence=0)

    case.end()
    assert case.begin() == []

    unseen = Case.running(callback("a"), callback("b"))
    unseen.ask(CompleteCallback("cb1", "1"))
    assert names(unseen.end()) == ["InvocationCompleted", "InvocationOwed"]


def test_timers_that_come_due_with_a_claim_cause_one_invocation_each_look() -> None:
    case = Case.suspended(wait("a", 1), callback("b"))
    case.ask(CompleteCallback("cb1", "1"))

    facts = case.begin(after=1)

    assert names(facts) == ["WaitSucceeded", "InvocationOwed", "InvocationBegun"]
    assert case.execution.owed == 1


# Failed invocations


def test_a_failed_invocation_is_made_again_later_each_time() -> None:
    case = Case.running()
    delays = []

    for _ in range(3):
        fail(case)
        due = wake_at(case.execution)
        assert due is not None
        delays.append((due - case.now).total_seconds())
        assert case.begin() == []
        case.epoch += 1
        case.now = due
        case.begin()

    assert delays == [1, 2, 4]


def test_the_delay_between_failed_invocations_has_a_bound() -> None:
    policy = FailurePolicy()

    assert policy.delay_seconds(1000) == 300


def test_an_invocation_that_ends_well_forgets_the_failures() -> None:
    case = Case.running(callback())
    fail(case)
    case.begin(after=1)

    case.end()

    assert case.execution.failures == 0
    assert case.execution.last_error is None


def test_too_many_failures_in_a_row_park_the_execution_with_a_reason() -> None:
    case = Case.running(policy=FailurePolicy(park_after=2))
    fail(case)
    case.begin(after=1)

    fail(case)

    assert case.execution.status is ExecutionStatus.RUNNING
    assert wake_at(case.execution) is None
    assert case.execution.parked_reason == (
        "2 invocations failed in a row; the last with ValueError: no"
    )
    assert case.begin(after=3600) == []


def test_an_invocation_that_recorded_something_before_it_failed_begins_a_new_row() -> None:
    case = Case.running(policy=FailurePolicy(park_after=2))
    for number in range(5):
        case.send(step(f"s{number}"), step(f"s{number}", OperationAction.SUCCEED))
        fail(case)
        assert case.execution.failures == 1
        case.begin(after=1)

    fail(case)

    assert case.execution.parked_reason is not None


def test_a_lost_invocation_that_recorded_something_is_followed_at_once() -> None:
    case = Case.running()
    fail(case)
    case.begin(after=1)
    case.send(step())

    facts = case.begin(is_takeover=True)

    assert names(facts) == ["InvocationCompleted", "InvocationBegun"]
    assert case.execution.failures == 1


def test_resume_ends_the_wait_after_a_failed_invocation() -> None:
    case = Case.running()
    fail(case)
    assert case.begin() == []

    case.ask(Resume())

    assert names(case.begin()) == ["InvocationBegun"]
    assert case.execution.failures == 0


def test_resume_lets_a_parked_execution_go_on() -> None:
    case = Case.running(policy=FailurePolicy(park_after=1))
    fail(case)

    case.ask(Resume())

    assert wake_at(case.execution) is not None
    assert names(case.begin()) == ["InvocationBegun"]


def test_a_parked_and_paused_execution_is_resumed_from_both() -> None:
    case = Case.running(policy=FailurePolicy(park_after=1))
    fail(case)
    case.ask(Pause())

    case.ask(Resume())

    assert names(case.begin()) == ["InvocationBegun"]


def test_a_pause_wanted_under_an_invocation_that_fails_begins_then() -> None:
    case = Case.running()
    case.ask(Pause())

    assert fail(case) == ["InvocationCompleted", "InvocationRetryScheduled", "ExecutionPaused"]


def test_an_invocation_that_was_cut_off_is_not_counted_and_goes_on_at_once() -> None:
    case = Case.running()

    fail(case, is_counted=False)

    assert case.execution.failures == 0
    assert wake_at(case.execution) == case.now
    assert names(case.begin()) == ["InvocationBegun"]


def test_a_failure_that_is_too_large_to_store_is_recorded_as_such() -> None:
    case = Case.running()

    case.ask(FailInvocation(case.epoch, ErrorObject(error_message="x" * 2_000_000)))

    assert case.execution.last_error is not None
    assert case.execution.last_error.error_type == "Error"


def test_a_failure_of_an_invocation_without_authority_counts_for_nothing() -> None:
    case = Case.running()
    case.ask(Pause())
    case.send()

    fail(case)

    assert case.execution.failures == 0
    assert case.execution.invocation is None


def test_a_completion_during_the_backoff_does_not_shorten_it() -> None:
    case = Case.running(callback())
    fail(case)

    case.ask(CompleteCallback("cb1", "1"))

    assert wake_at(case.execution) == case.now + timedelta(seconds=1)


# Lost invocations


def test_a_lost_invocation_is_recorded_and_made_again_at_once() -> None:
    case = Case.running(step())

    facts = case.begin(is_takeover=True)

    assert names(facts) == ["InvocationCompleted", "InvocationBegun"]
    details = case.events[-1].invocation_completed_details
    assert details is not None
    assert details.request_id == "r1"
    assert details.error is not None
    assert details.error.payload is not None
    assert details.error.payload.error_type == "Runtime.ExitError"


def test_a_lost_invocation_of_which_nothing_was_recorded_is_recorded_too() -> None:
    case = Case()

    facts = case.begin(is_takeover=True)

    assert names(facts) == ["InvocationCompleted", "InvocationBegun"]
    details = case.events[-1].invocation_completed_details
    assert details is not None
    assert details.request_id == "lost"


def test_invocations_lost_in_a_row_back_off_and_park() -> None:
    case = Case.running(policy=FailurePolicy(park_after=3))
    case.begin(is_takeover=True)

    assert names(case.begin(is_takeover=True)) == [
        "InvocationCompleted",
        "InvocationRetryScheduled",
    ]
    case.begin(after=2)
    assert names(case.begin(is_takeover=True)) == ["InvocationCompleted", "Parked"]


def test_a_claim_taken_over_with_nothing_owed_has_lost_nothing() -> None:
    case = Case.suspended(callback())

    assert case.begin(is_takeover=True) == []


def test_an_invocation_lost_under_a_pause_is_not_counted() -> None:
    case = Case.running()
    case.ask(Pause())
    case.send()

    facts = case.begin(is_takeover=True)

    assert names(facts) == ["InvocationCompleted"]
    assert case.execution.failures == 0
    case.ask(Resume())
    assert names(case.begin()) == ["InvocationBegun"]


def test_a_pause_wanted_under_a_lost_invocation_begins_when_it_is_taken_over() -> None:
    case = Case.running()
    case.ask(Pause())

    facts = case.begin(is_takeover=True)

    assert names(facts)[-1] == "ExecutionPaused"
    assert case.execution.invocation is None


def test_timers_due_while_an_invocation_was_lost_are_recorded_first() -> None:
    case = Case.running(wait(seconds=1))

    facts = case.begin(is_takeover=True, after=1)

    assert names(facts) == ["WaitSucceeded", "InvocationCompleted", "InvocationBegun"]


def test_a_closed_execution_begins_nothing() -> None:
    case = Case()
    case.ask(Stop())

    assert case.ask(BeginInvocation(1, "r")) == []
    assert case.ask(TimersDue()) == []


def test_one_that_is_lost_without_a_trace_under_a_pause_parks_nothing() -> None:
    case = Case(policy=FailurePolicy(park_after=2))
    case.ask(FailInvocation.lost(1, "r1", "lost"))
    case.ask(FailInvocation.lost(2, "r2", "lost"))
    case.ask(Pause(None, True, None))  # noqa: FBT003 - as the command takes it

    assert names(case.ask(FailInvocation.lost(3, "r3", "lost"))) == ["InvocationCompleted"]
    assert case.execution.parked_reason is None


def test_one_that_is_lost_without_a_trace_after_the_end_changes_nothing() -> None:
    case = Case()
    case.ask(Stop())

    assert case.ask(FailInvocation.lost(1, "r1", "lost")) == []
