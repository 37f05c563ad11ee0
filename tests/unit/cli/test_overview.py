"""What an execution is doing, from its records."""

import pytest

from durably.app.operations import kind_of, label_of, path_of
from durably.cli.overview import Doing, by_urgency, overview_of
from durably.wire.operation import Operation, OperationType
from tests.unit.cli.records import (
    CALLBACK,
    CONTEXT,
    DONE,
    FAILED,
    INVOKE,
    RETRY,
    ROOT,
    STEP,
    WAIT,
    at,
    operation,
)


def test_what_is_done_is_counted_and_the_execution_itself_is_not() -> None:
    overview = overview_of([ROOT, DONE, FAILED, STEP])

    assert (overview.done, overview.failed) == (2, 1)
    assert [one.path for one in overview.current] == ["charge"]


def test_only_the_innermost_of_what_is_under_way_is_named() -> None:
    overview = overview_of([ROOT, CONTEXT, CALLBACK])

    [current] = overview.current

    assert current.path == "approval"
    assert (current.kind, current.callback_id) == ("callback", "cb-1")


@pytest.mark.parametrize(
    ("record", "doing", "due_at"),
    [
        (STEP, Doing.RUNS, None),
        (RETRY, Doing.WAITS_FOR_TIME, at(3)),
        (WAIT, Doing.WAITS_FOR_TIME, at(5)),
        (CALLBACK, Doing.WAITS_FOR_OTHERS, None),
        (INVOKE, Doing.WAITS_FOR_OTHERS, None),
        (CONTEXT, Doing.RUNS, None),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_runs_is_told_from_what_waits(record: Operation, doing: Doing, due_at: object) -> None:
    [current] = overview_of([ROOT, record]).current

    assert (current.doing, current.due_at) == (doing, due_at)


def test_those_that_run_and_those_that_wait_are_counted() -> None:
    overview = overview_of([ROOT, STEP, RETRY, WAIT, INVOKE])

    assert (overview.running, overview.waiting) == (1, 3)
    assert overview.has_invoked
    assert not overview_of([ROOT, STEP]).has_invoked


def test_the_number_of_the_attempt_is_that_which_runs_or_comes_next() -> None:
    assert [one.attempt for one in overview_of([STEP, RETRY, WAIT]).current] == [1, 2, 0]


def test_a_path_names_the_contexts_around() -> None:
    outer = operation("ship", OperationType.CONTEXT)
    inner = operation("item", OperationType.CONTEXT, parent_id="ship")
    leaf = operation("label", parent_id="item")
    by_id = {one.id: one for one in (outer, inner, leaf)}

    assert path_of(leaf, by_id) == "ship > item > label"
    assert path_of(leaf, {}) == "label"


def test_an_operation_without_a_name_is_called_what_it_is() -> None:
    nameless = operation("c4ca4238a0b92382", name=None, sub_type="WaitForCondition")

    assert label_of(nameless) == "condition c4ca42"


def test_a_kind_of_the_user_s_own_keeps_its_name() -> None:
    assert kind_of(operation("x", sub_type="Payment")) == "Payment"
    assert kind_of(operation("x", OperationType.CHAINED_INVOKE)) == "chained invoke"


def test_what_runs_comes_first_and_then_what_goes_on_soonest() -> None:
    current = overview_of([CALLBACK, WAIT, RETRY, STEP]).current

    ordered = [one.path for one in sorted(current, key=by_urgency)]

    assert ordered == ["charge", "label", "cooling", "approval"]
