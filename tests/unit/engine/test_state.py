"""What is read from an execution: its state, its delta, its pages, its description."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durably.engine.children import child_end, child_start
from durably.engine.commands import CompleteCallback, FailInvocation, Pause, Stop, TimersDue
from durably.engine.execution import Execution, changed_since, readable_operations
from durably.engine.facts import ChainedInvokeStarted
from durably.engine.paging import page_of
from durably.engine.policy import ServicePolicy
from durably.engine.timers import TimerKind, Timers
from durably.engine.views import Standing, describe, why
from durably.wire.execution import CLOSED_STATUSES, ExecutionStatus
from durably.wire.operation import ErrorObject, OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.support import (
    ARN,
    BEGIN,
    ERROR,
    Case,
    callback,
    context,
    invoke,
    retry,
    start,
    step,
    succeeded,
    wait,
)

SUCCEED = OperationAction.SUCCEED


def ids(operations: object) -> list[str]:
    return [operation.id for operation in operations]  # type: ignore[attr-defined]  # a sequence


# State and delta


def test_the_state_leaves_out_the_inside_of_contexts_that_are_over() -> None:
    case = Case.running(
        context("open"),
        step("in-open", parent_id="open"),
        context("over"),
        context("nested", parent_id="over"),
        step("in-nested", parent_id="nested"),
        context("replayed"),
        step("in-replayed", parent_id="replayed"),
    )
    case.send(
        context("nested", SUCCEED),
        context("over", SUCCEED),
        context("replayed", SUCCEED, replay_children=True),
    )

    shown = ids(readable_operations(case.execution))

    assert shown == ["inv", "open", "in-open", "over", "replayed", "in-replayed"]


def test_the_delta_is_what_changed_in_creation_order_each_once() -> None:
    case = Case.running(step("a"), step("b"))
    mark = len(case.execution.changes)

    case.send(step("b", SUCCEED), step("c"), step("c", SUCCEED), step("a", SUCCEED))

    assert ids(changed_since(case.execution, mark)) == ["a", "b", "c"]
    assert ids(changed_since(case.execution, len(case.execution.changes) - 1)) == ["a"]
    assert changed_since(case.execution, len(case.execution.changes)) == ()


def test_an_execution_that_was_not_started_has_no_start() -> None:
    with pytest.raises(AssertionError):
        _ = Execution().start


# Pages


def test_a_page_ends_at_its_count_or_its_bytes() -> None:
    small = Case.running(*[step(f"s{n}") for n in range(20)]).execution.operations
    large = Case.running(payload="x" * 1_000_000)
    for n in range(6):
        large.send(context(f"c{n}", SUCCEED, payload="x" * 1_000_000))

    assert page_of(small) == 21
    assert page_of(small, 5) == 5
    assert page_of([]) == 0
    assert page_of(large.execution.operations) == 4


def test_errors_count_towards_a_page() -> None:
    error = ErrorObject(error_message="x" * 1_000_000, stack_trace=("y",))
    case = Case.running()
    for n in range(6):
        case.send(step(f"s{n}", OperationAction.FAIL, error=error), wait(f"w{n}"))

    assert page_of(case.execution.operations) < len(case.execution.operations)


# Timers


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arm", "call off"]),
            st.integers(0, 5),
            st.sampled_from(list(TimerKind)),
            st.integers(0, 50),
        ),
        max_size=300,
    ),
    st.integers(0, 60),
)
def test_timers_agree_with_a_dictionary(
    done: list[tuple[str, int, TimerKind, int]], now: int
) -> None:
    timers = Timers()
    model: dict[tuple[int, TimerKind], int] = {}

    for verb, operation, kind, due in done:
        if verb == "arm":
            timers.arm(operation, kind, due)
            model[operation, kind] = due
        else:
            timers.call_off(operation, kind)
            model.pop((operation, kind), None)
        assert timers.earliest() == min(model.values(), default=None)
        assert timers.due_of(operation, kind) == model.get((operation, kind))

    expected = sorted((due, *key) for key, due in model.items() if due <= now)
    assert timers.due_by(now) == expected
    assert len(timers) == len(model)


def test_timers_called_off_do_not_pile_up() -> None:
    timers = Timers()
    timers.arm(0, TimerKind.WAIT_OVER, 1)

    for n in range(1000):
        timers.arm(1, TimerKind.HEARTBEAT_TIMEOUT, 10 + n)

    assert len(timers._heap) < 200
    assert timers.due_by(2000) == [
        (1, 0, TimerKind.WAIT_OVER),
        (1009, 1, TimerKind.HEARTBEAT_TIMEOUT),
    ]


# Descriptions


def test_a_description_tells_of_the_whole_execution() -> None:
    case = Case.suspended(wait(), tenant_id="t", timeout_seconds=60)

    found = describe(case.execution)

    assert (found.arn, found.execution_name, found.function_name) == (ARN, "order-7", "f")
    assert found.function_arn.endswith(":function:f:$LATEST")
    assert (found.status, found.is_closed) == (ExecutionStatus.RUNNING, False)
    assert found.times_out_at == BEGIN + timedelta(seconds=60)
    assert (found.operation_count, found.tenant_id) == (1, "t")


def test_a_description_tells_of_a_pause_from_its_request_on() -> None:
    case = Case.running()
    case.ask(Pause("lunch"))

    asked = describe(case.execution).pause
    case.send(after=5)
    begun = describe(case.execution).pause

    assert asked == begun
    assert begun is not None
    assert begun.requested_at == BEGIN


def test_a_closed_execution_is_described_with_its_end() -> None:
    case = Case.running()
    case.end(succeeded("1"), after=2)

    found = describe(case.execution)

    assert found.is_closed
    assert (found.ended_at, found.times_out_at, found.result) == (case.now, None, "1")
    assert found.status in CLOSED_STATUSES


def _parked() -> Case:
    case = Case.running()
    for _ in range(10):
        case.ask(FailInvocation(case.epoch, ERROR))
        case.begin(after=1000)
    return case


def _retrying() -> Case:
    case = Case.running()
    case.ask(FailInvocation(case.epoch, ERROR))
    return case


def _paused() -> Case:
    case = Case.suspended(wait())
    case.ask(Pause())
    return case


def _closed() -> Case:
    case = Case.suspended(wait())
    case.ask(Stop())
    return case


@pytest.mark.parametrize(
    ("case", "standing"),
    [
        (Case(), Standing.QUEUED),
        (Case.running(), Standing.RUNNING),
        (Case.suspended(wait()), Standing.WAITING),
        (_retrying(), Standing.RETRYING),
        (_parked(), Standing.PARKED),
        (_paused(), Standing.PAUSED),
        (_closed(), Standing.CLOSED),
    ],
)
def test_why_says_where_an_execution_stands(case: Case, standing: Standing) -> None:
    assert why(case.execution).standing is standing


def test_why_names_what_would_wake_it() -> None:
    case = Case.suspended(
        wait(seconds=10), callback(timeout=20), invoke(), step(), retry(delay=5, error=ERROR)
    )

    told = why(case.execution)

    assert [(one.operation.id, one.due_at) for one in told.waits_for] == [
        ("w", BEGIN + timedelta(seconds=10)),
        ("cb", BEGIN + timedelta(seconds=20)),
        ("i", None),
        ("s", BEGIN + timedelta(seconds=5)),
    ]
    assert told.waits_for[2].child_arn == case.execution.children["i"]
    assert told.wakes_at == BEGIN + timedelta(seconds=5)
    assert why(_closed().execution).waits_for == ()


# Children


def test_a_child_inherits_the_trace_and_knows_who_led_to_it() -> None:
    parent = Case.running(invoke(), trace_id="root", ancestors=("top",))
    fact = next(fact for fact in parent.facts if isinstance(fact, ChainedInvokeStarted))

    command = child_start(parent.execution.start, fact, ServicePolicy())
    child = Case()
    child.execution = Execution()
    child.ask(command)

    assert child.execution.arn == parent.execution.children["i"]
    assert (command.trace_id, command.ancestors) == ("root", ("top", "f"))
    child.begin()
    child.end(succeeded("1"))
    assert child_end(child.execution, parent.execution).status is OperationStatus.SUCCEEDED


def test_an_outside_change_counts_from_the_moment_it_is_made() -> None:
    case = Case.running(callback("a"), wait("b", 1))
    mark = len(case.execution.changes)

    case.ask(CompleteCallback("cb1", "1"))
    case.ask(TimersDue(), after=1)

    assert ids(changed_since(case.execution, mark)) == ["a", "b"]


def test_start_is_a_value() -> None:
    assert start() == start()
