"""The history is the visible facts, numbered, in pages."""

from __future__ import annotations

import pytest

from durably.engine.commands import CompleteInvoke, FailInvocation, Pause, Resume, TimersDue
from durably.engine.facts import ExecutionFailed, ExecutionSucceeded, Fact
from durably.engine.history import history_page, page_size
from durably.errors import InvalidParameterValueException
from durably.wire.base import encode_api
from durably.wire.history import Event, HistoryPage
from durably.wire.operation import ErrorObject, OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.support import (
    ERROR,
    Case,
    callback,
    context,
    invoke,
    retry,
    step,
    succeeded,
    update,
    wait,
)

SUCCEED, FAIL = OperationAction.SUCCEED, OperationAction.FAIL


def told() -> Case:
    """Give an execution with an event of most types."""
    case = Case.running(
        context(name="part", sub_type="Map"),
        step(parent_id="c", name="charge", sub_type="Step"),
        retry(delay=2, error=ERROR),
    )
    case.end()
    case.begin(after=2)
    case.send(step(), retry(delay=1, payload='"state"'))
    case.send(step(), step(action=SUCCEED, payload="7"), after=1)
    case.send(wait(seconds=3), callback(timeout=4, heartbeat=5), invoke(payload="1"))
    case.send(context(action=SUCCEED, payload="8"))
    case.end()
    case.ask(TimersDue(), after=3)
    case.ask(TimersDue(), after=1)
    case.ask(CompleteInvoke("i", OperationStatus.SUCCEEDED, "9"))
    case.ask(Pause("lunch"))
    case.ask(Resume("back"))
    case.begin()
    case.send(step("t"), step("t", FAIL, error=ERROR), context("d"), context("d", FAIL))
    case.send(wait("v"))
    case.send(update("v", wait("v").type, OperationAction.CANCEL))
    case.ask(FailInvocation(case.epoch, ERROR))
    case.begin(after=1)
    case.end(succeeded("10"))
    return case


def written(event: Event) -> str:
    return encode_api(event).decode()


def test_every_event_has_its_own_details_and_no_others() -> None:
    for event in told().events:
        members = [name for name in Event.__struct_fields__ if name.endswith("_details")]
        present = [name for name in members if getattr(event, name) is not None]
        assert present == [f"{event.event_type.name.lower()}_details"]


def test_event_ids_count_from_one_without_gaps() -> None:
    events = told().events

    assert [event.event_id for event in events] == list(range(1, len(events) + 1))


def test_an_event_says_which_operation_it_is_of_even_when_its_fact_does_not() -> None:
    ended = next(event for event in told().events if event.step_succeeded_details)

    assert (ended.id, ended.name, ended.parent_id, ended.sub_type) == ("s", "charge", "c", "Step")


def test_events_of_the_execution_bear_its_name() -> None:
    events = told().events

    assert (events[0].id, events[0].name) == ("inv", "order-7")
    assert events[-1].name == "order-7"


def test_attempts_count_from_one_over_the_life_of_a_step() -> None:
    details = [
        event.step_failed_details or event.step_succeeded_details
        for event in told().events
        if event.id == "s" and event.event_type.value != "StepStarted"
    ]

    counted = [
        (one.retry_details.current_attempt, one.retry_details.next_attempt_delay_seconds)
        for one in details
        if one is not None
    ]
    assert counted == [(1, 2), (2, 1), (3, None)]


def test_a_retry_with_a_state_appears_as_a_success_with_a_delay() -> None:
    polls = [event for event in told().events if event.step_succeeded_details]

    assert '"NextAttemptDelaySeconds":1' in written(polls[0])
    assert '"Payload":"\\"state\\""' in written(polls[0])


def test_both_ends_of_a_wait_say_how_long_it_is() -> None:
    texts = [written(event) for event in told().events if event.id == "w"]

    assert all('"Duration":3' in text for text in texts)
    assert '"ScheduledEndTimestamp":' in texts[0]


def test_empty_details_and_truncated_are_written() -> None:
    events = told().events

    assert '"StepStartedDetails":{}' in written(events[2])
    assert '"Result":{"Truncated":false,"Payload":"10"}' in written(events[-1])


def test_deadlines_of_a_callback_stand_in_its_start_when_there_are_any() -> None:
    with_deadlines = [event for event in told().events if event.callback_started_details]
    without = Case.running(callback()).events[-1]

    assert '"Timeout":4,"HeartbeatTimeout":5' in written(with_deadlines[0])
    assert '"Timeout"' not in written(without)


def test_an_invoke_says_what_it_became() -> None:
    case = told()
    started = next(event for event in case.events if event.chained_invoke_started_details)

    text = written(started)
    assert '"FunctionName":"g"' in text
    assert '"ExecutedVersion":"3"' in text
    assert f'"DurableExecutionArn":"{case.execution.children["i"]}"' in text


def test_without_data_payloads_are_left_out_and_said_to_be() -> None:
    page = history_page(told().facts, include_data=False, max_items=1000)

    text = encode_api(page).decode()
    assert '"Payload"' not in text
    assert '"Truncated":false' not in text


# Pages


def pages(facts: list[Fact], size: int, *, oldest_first: bool) -> list[HistoryPage]:
    found: list[HistoryPage] = []
    marker: str | None = None
    while not found or marker is not None:
        page = history_page(facts, max_items=size, marker=marker, oldest_first=oldest_first)
        found.append(page)
        marker = page.next_marker
    return found


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_pages_together_are_the_history(size: int) -> None:
    case = told()

    forward = pages(case.facts, size, oldest_first=True)
    backward = pages(case.facts, size, oldest_first=False)

    assert tuple(event for page in forward for event in page.events) == case.events
    assert tuple(event for page in backward for event in page.events) == case.events[::-1]


@pytest.mark.parametrize("oldest_first", [True, False])
def test_a_page_ends_before_its_payloads_take_more_than_4_mib(*, oldest_first: bool) -> None:
    text = "x" * 1_500_000
    error = ErrorObject(error_message=text)
    facts: list[Fact] = [ExecutionSucceeded(1, text), ExecutionFailed(2, error)] * 3
    facts.append(ExecutionSucceeded(3, "x" * 9_000_000))

    found = pages(facts, 1000, oldest_first=oldest_first)

    assert [len(page.events) for page in found] == ([2, 2, 2, 1] if oldest_first else [1, 2, 2, 2])
    assert len(history_page(facts, include_data=False).events) == 7


def test_a_page_has_100_events_unless_more_or_fewer_are_asked_for() -> None:
    assert (page_size(None), page_size(0), page_size(7)) == (100, 100, 7)
    for wrong in (-1, 1001):
        with pytest.raises(InvalidParameterValueException, match="MaxItems"):
            page_size(wrong)


@pytest.mark.parametrize("marker", ["0", "x", "999", "9" * 5000, "-1", "²"])
def test_a_marker_that_was_never_given_is_refused(marker: str) -> None:
    with pytest.raises(InvalidParameterValueException, match="Marker"):
        history_page(told().facts, marker=marker)


def test_the_history_of_nothing_is_empty() -> None:
    assert history_page([]) == HistoryPage(events=())


def test_events_before_any_start_bear_no_name() -> None:
    stray = told().facts[-1]

    assert history_page([stray]).events[0].name is None
