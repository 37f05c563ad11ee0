"""What the updates of a checkpoint make of an execution, and how they are refused."""

from __future__ import annotations

import pytest

from durably.engine import rules
from durably.engine.commands import Checkpoint
from durably.errors import InvalidParameterValueException
from durably.wire.operation import ErrorObject, OperationStatus, OperationType
from durably.wire.update import OperationAction, OperationUpdate, StepOptions
from tests.unit.engine.support import (
    ERROR,
    Case,
    callback,
    closing,
    context,
    invoke,
    names,
    retry,
    step,
    update,
    wait,
)

START, SUCCEED, FAIL = OperationAction.START, OperationAction.SUCCEED, OperationAction.FAIL
THREE_YEARS = "must be 0 to 99999999 seconds (1157 days 9 hours 46 minutes 39 seconds)."
SENT, OTHER, ILLEGAL = "t", "other", "a b"
RETRY, CANCEL = OperationAction.RETRY, OperationAction.CANCEL


def refusal(case: Case, *updates: OperationUpdate) -> str:
    before = case.execution.version
    with pytest.raises(InvalidParameterValueException) as refused:
        case.send(*updates)
    assert case.execution.version == before
    return refused.value.message


# Steps


def test_a_step_that_starts_and_succeeds_has_one_finished_attempt() -> None:
    case = Case.running(step(name="charge", sub_type="Step"))

    case.send(step(action=SUCCEED, payload="7"))

    charged = case.operation("s")
    assert charged.status is OperationStatus.SUCCEEDED
    assert charged.name == "charge"
    assert charged.step_details is not None
    assert (charged.step_details.attempt, charged.step_details.result) == (1, "7")


def test_a_step_may_start_and_end_in_one_batch_and_the_history_gets_both_events() -> None:
    case = Case.running(step(), step(action=FAIL, error=ERROR))

    assert case.operation("s").status is OperationStatus.FAILED
    assert case.story[1:] == ["StepStarted", "StepFailed"]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (step(action=SUCCEED), OperationStatus.SUCCEEDED),
        (step(action=FAIL, error=ERROR), OperationStatus.FAILED),
        (retry(error=ERROR), OperationStatus.PENDING),
        (context("s", SUCCEED, payload="1"), OperationStatus.SUCCEEDED),
        (context("s", FAIL, error=ERROR), OperationStatus.FAILED),
    ],
)
def test_what_was_never_started_may_end_and_counts_as_started(
    end: OperationUpdate, status: OperationStatus
) -> None:
    case = Case.running(end)

    assert case.operation("s").status is status
    assert case.story[1] in ("StepStarted", "ContextStarted")


def test_a_retry_makes_a_step_pending_until_its_delay_is_over() -> None:
    case = Case.running(step(), retry(delay=5, error=ERROR))

    case.send(after=4.9)
    assert case.operation("s").status is OperationStatus.PENDING
    case.send(after=0.1)
    assert case.operation("s").status is OperationStatus.READY


def test_a_ready_step_starts_again_and_keeps_the_state_of_its_last_attempt() -> None:
    case = Case.running(step(), retry(delay=5, payload="state"))

    case.send(step(), after=5)

    details = case.operation("s").step_details
    assert case.operation("s").status is OperationStatus.STARTED
    assert details is not None
    assert (details.attempt, details.result) == (1, "state")
    assert details.next_attempt_timestamp is None


def test_a_step_due_in_this_very_checkpoint_may_start_in_it() -> None:
    case = Case.running(step(), retry(delay=5, error=ERROR))

    facts = case.send(step(), step(action=SUCCEED), after=6)

    assert names(facts) == ["StepReady", "StepStarted", "StepSucceeded"]


@pytest.mark.parametrize(
    ("before", "sent", "text"),
    [
        ([step()], step(), "Invalid current STEP state to start."),
        (
            [step(), step(action=SUCCEED)],
            step(action=FAIL),
            "Invalid current STEP state to close.",
        ),
        ([step(), retry()], retry(), "Invalid current STEP state to re-attempt."),
        ([context()], context(), "Cannot start a CONTEXT that already exist."),
        (
            [context(), context(action=SUCCEED)],
            context(action=FAIL),
            "Invalid current CONTEXT state to close.",
        ),
        ([wait()], wait(), "Cannot start a WAIT that already exist."),
        (
            [],
            update("w", OperationType.WAIT, CANCEL),
            "Cannot cancel a WAIT that does not exist or has already completed.",
        ),
        ([callback()], callback(), "Cannot start a CALLBACK that already exist."),
        ([invoke()], invoke(), "Cannot start a CHAINED_INVOKE that already exist."),
        (
            [],
            update("i", OperationType.CHAINED_INVOKE, CANCEL),
            "Cannot cancel a CHAINED_INVOKE that does not exist or has already completed.",
        ),
        ([], update("w", OperationType.WAIT, SUCCEED), rules.INVALID_ACTION),
        ([], update("c", OperationType.CALLBACK, CANCEL), rules.INVALID_ACTION),
        ([], closing(START), rules.INVALID_ACTION),
        ([], step(action=CANCEL), rules.INVALID_ACTION),
    ],
)
def test_an_action_that_the_state_does_not_allow_is_refused_in_the_services_words(
    before: list[OperationUpdate], sent: OperationUpdate, text: str
) -> None:
    case = Case.running(*before)

    assert refusal(case, sent) == text


# Consistency


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (context("s", SUCCEED), rules.INCONSISTENT_TYPE),
        (step(action=SUCCEED, sub_type="Other"), rules.INCONSISTENT_SUB_TYPE),
        (step(action=SUCCEED, name="other"), rules.INCONSISTENT_NAME),
        (step(action=SUCCEED, parent_id="c"), rules.INCONSISTENT_PARENT),
    ],
)
def test_an_update_that_contradicts_the_record_is_refused(sent: OperationUpdate, text: str) -> None:
    case = Case.running(context(), step(name="charge", sub_type="Step"))

    assert refusal(case, sent) == text


def test_an_update_need_not_repeat_what_is_recorded() -> None:
    case = Case.running(context(), step(name="charge", sub_type="Step", parent_id="c"))

    case.send(step(action=SUCCEED))

    assert case.operation("s").parent_id == "c"


def test_a_parent_must_be_a_context_known_or_started_earlier_in_the_batch() -> None:
    case = Case.running(step("other"))

    assert refusal(case, step(parent_id="other")) == rules.INVALID_PARENT
    assert refusal(case, step(parent_id="c"), context()) == rules.INVALID_PARENT
    case.send(context(), step(parent_id="c"))


# Batches


def test_an_id_may_come_twice_only_as_start_and_end_of_a_step_or_context() -> None:
    case = Case.running()

    assert refusal(case, step(), step()) == rules.REPEATED_ID
    assert refusal(case, step(), step(action=SUCCEED), step(action=SUCCEED)) == rules.REPEATED_ID
    assert refusal(case, step(action=SUCCEED), step(action=FAIL)) == rules.REPEATED_ID
    cancelled = update("w", OperationType.WAIT, CANCEL)
    assert refusal(case, wait(), cancelled) == rules.REPEATED_ID
    case.send(context(), context(action=SUCCEED, payload="1"))


def test_only_one_update_of_the_execution_may_come_and_only_last() -> None:
    case = Case.running()

    both = (closing(SUCCEED), closing(FAIL))
    assert refusal(case, *both) == rules.MULTIPLE_EXECUTION_UPDATES
    assert refusal(case, closing(SUCCEED), step()) == rules.EXECUTION_UPDATE_NOT_LAST


def test_a_refused_batch_leaves_no_trace() -> None:
    case = Case.running()

    assert refusal(case, step("a"), wait("b"), step("c", RETRY)) == rules.INVALID_STEP_OPTIONS

    assert case.execution.find_operation("a") is None
    assert case.execution.timers.earliest() is None


# What an update carries


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (step(action=FAIL, payload="1"), rules.PAYLOAD_ON_FAIL),
        (step(action=SUCCEED, error=ERROR), rules.ERROR_ON_SUCCEED),
        (retry(error=ERROR, payload="1"), rules.ERROR_AND_PAYLOAD_ON_RETRY),
        (step(action=RETRY), rules.INVALID_STEP_OPTIONS),
        (
            step(step_options=StepOptions(next_attempt_delay_seconds=1)),
            rules.INVALID_STEP_OPTIONS,
        ),
        (closing(FAIL, payload="1"), rules.PAYLOAD_ON_FAIL),
        (update("w", OperationType.WAIT, START), "WaitOptions is required to START a WAIT."),
        (
            update("i", OperationType.CHAINED_INVOKE, START),
            "ChainedInvokeOptions is required to START a CHAINED_INVOKE.",
        ),
        (wait(seconds=0), "WaitSeconds must be 1 to 31622400 seconds (366 days)."),
        (
            retry(delay=31_622_401),
            "NextAttemptDelaySeconds must be 1 to 31622400 seconds (366 days).",
        ),
        (callback(timeout=-1), f"TimeoutSeconds {THREE_YEARS}"),
        (
            callback(heartbeat=100_000_000),
            f"HeartbeatTimeoutSeconds {THREE_YEARS}",
        ),
        (invoke(target=""), "FunctionName must be 1 to 256 characters."),
        (step("no spaces"), "Id must be 1 to 64 letters, digits, hyphens or underscores."),
        (step(name="naïve"), "Name must be 1 to 256 printable ASCII characters."),
        (step(sub_type="x" * 33), "SubType must be 1 to 32 characters."),
        (
            step(action=SUCCEED, payload="x" * 1_048_577),
            "Payload takes 1048577 bytes; at most 1048576 are allowed.",
        ),
        (
            step(action=SUCCEED, payload="é" * 524_289),
            "Payload takes 1048578 bytes; at most 1048576 are allowed.",
        ),
        (
            step(action=SUCCEED, payload="\ud800"),
            "Payload holds a lone surrogate, which has no UTF-8 form.",
        ),
        (
            step(action=FAIL, error=ErrorObject(error_message="x" * 1_048_577)),
            "Error takes 1048577 bytes; at most 1048576 are allowed.",
        ),
        (
            step(action=FAIL, error=ErrorObject(stack_trace=("\udfff",))),
            "Error holds a lone surrogate, which has no UTF-8 form.",
        ),
    ],
)
def test_a_limit_is_refused_with_the_name_of_the_field(sent: OperationUpdate, text: str) -> None:
    assert refusal(Case.running(), sent) == text


# Authority


def test_only_the_invocation_in_flight_may_checkpoint() -> None:
    case = Case()

    assert refusal(case, step()) == "Invalid checkpoint token"
    case.begin()
    stale = Checkpoint(case.epoch - 1, (), case.surroundings())
    with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
        case.ask(stale)


def test_a_token_is_good_for_one_checkpoint() -> None:
    case = Case.running()

    case.send(sequence=0)

    with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
        case.send(sequence=0)
    assert case.send(sequence=1) != []


def test_the_last_checkpoint_sent_again_changes_nothing() -> None:
    case = Case.running()
    case.send(step(), sequence=0, client_token=SENT)

    assert case.send(step(), sequence=0, client_token=SENT) == []
    with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
        case.send(step(), sequence=0, client_token=OTHER)


def test_the_closing_checkpoint_may_be_sent_again_too() -> None:
    case = Case.running()
    case.send(closing(SUCCEED, payload="1"), sequence=0, client_token=SENT)

    assert case.send(closing(SUCCEED, payload="1"), sequence=0, client_token=SENT) == []


def test_a_client_token_must_be_printable() -> None:
    case = Case.running()

    with pytest.raises(InvalidParameterValueException, match="ClientToken must be"):
        case.send(sequence=0, client_token=ILLEGAL)


# The end by checkpoint


@pytest.mark.parametrize(
    ("sent", "story"),
    [
        (closing(SUCCEED, payload="1"), ["InvocationCompleted", "ExecutionSucceeded"]),
        (closing(FAIL, error=ERROR), ["InvocationCompleted", "ExecutionFailed"]),
    ],
)
def test_an_update_of_the_execution_ends_it_and_its_invocation(
    sent: OperationUpdate, story: list[str]
) -> None:
    case = Case.running(sent)

    assert case.story[-2:] == story
    assert case.execution.is_closed


def test_the_result_of_an_execution_that_nobody_waits_for_may_take_1_mb() -> None:
    asynchronous = Case.running()
    synchronous = Case.running(is_synchronous=True)
    large = closing(SUCCEED, payload="x" * 1_048_577)

    assert "at most 1048576" in refusal(asynchronous, large)
    synchronous.send(large)
    assert synchronous.execution.is_closed


# Invokes


def test_an_invoke_names_an_execution_of_the_function() -> None:
    case = Case.running(invoke(payload="1"))

    child = case.execution.children["i"]
    assert child.startswith("arn:aws:lambda:local:000000000000:function:g:3/durable-execution/")


def test_an_unknown_function_fails_the_invoke_and_not_the_checkpoint() -> None:
    case = Case.running(invoke(target="nobody"))

    details = case.operation("i").chained_invoke_details
    assert case.operation("i").status is OperationStatus.FAILED
    assert details is not None
    assert details.error == ErrorObject(
        error_type="ChainedInvoke.FunctionNotFound",
        error_message="There is no function 'nobody' to invoke.",
    )


@pytest.mark.parametrize(
    ("ancestors", "error_type"),
    [
        (("x",) * 63, "ChainedInvoke.TooDeep"),
        (("g",) * 16, "ChainedInvoke.RecursiveLoop"),
    ],
)
def test_invokes_that_go_too_deep_or_in_circles_fail(
    ancestors: tuple[str, ...], error_type: str
) -> None:
    case = Case.running(invoke(), ancestors=ancestors)

    details = case.operation("i").chained_invoke_details
    assert details is not None
    assert details.error is not None
    assert details.error.error_type == error_type


def test_an_invoke_may_be_cancelled_without_an_event() -> None:
    case = Case.running(invoke())

    case.send(update("i", OperationType.CHAINED_INVOKE, CANCEL))

    assert case.operation("i").status is OperationStatus.CANCELLED
    assert case.story[-1] == "ChainedInvokeStarted"


def test_a_wait_may_be_cancelled() -> None:
    case = Case.running(wait())

    case.send(update("w", OperationType.WAIT, CANCEL))

    assert case.operation("w").status is OperationStatus.CANCELLED
    assert case.execution.timers.earliest() is None


def test_a_callback_without_options_has_no_deadline() -> None:
    case = Case.running(update("cb", OperationType.CALLBACK, START))

    assert len(case.execution.timers) == 0
