from typing import Any

import pytest
from msgspec.structs import replace

from durably.core.ids import hash_id
from durably.core.observer import DurablePlugin, Observers, OperationInfo
from durably.core.op import Op
from durably.core.scope import DurableExecutionMode, Scope
from durably.errors import NonDeterministicExecutionError
from durably.wire.operation import Operation, OperationStatus, OperationSubType, OperationType
from tests.unit.core.support import (
    LATER,
    NOW,
    an_op,
    journal_of,
    must_not_run,
    record,
    scope_of,
)


def call(scope: Scope, name: str | None = None) -> Op:
    return scope.allot(name, OperationType.STEP, OperationSubType.STEP)


def test_ids_follow_the_order_of_calls() -> None:
    scope = scope_of()

    ops = [call(scope), call(scope, "b")]

    assert [op.step_id for op in ops] == ["1", "2"]
    assert [op.id for op in ops] == [hash_id("1"), hash_id("2")]
    assert [op.parent_id for op in ops] == [None, None]
    assert [op.name for op in ops] == [None, "b"]


def test_ids_below_a_context_begin_with_its_own() -> None:
    root = scope_of()
    call(root)
    child = root.child(call(root))

    inner = call(child)

    assert (inner.step_id, inner.parent_id) == ("2-1", hash_id("2"))
    assert (child.step_id, root.step_id) == ("2", "")


def test_a_virtual_context_lends_its_id_as_prefix_and_its_parent_as_parent() -> None:
    root = scope_of()
    real = root.child(call(root))
    virtual = real.child(call(real), is_virtual=True)

    inner = call(virtual)

    assert (inner.step_id, inner.parent_id) == ("1-1-1", hash_id("1"))


def test_another_operation_in_the_same_place_is_refused() -> None:
    scope = scope_of(record(an_op(name="other"), OperationStatus.SUCCEEDED))

    with pytest.raises(NonDeterministicExecutionError):
        call(scope, "work")


def numbered(number: int, status: OperationStatus, **members: Any) -> Operation:
    return record(an_op(step_id=str(number), name=None), status, **members)


def test_a_context_replays_as_long_as_the_next_operation_is_recorded() -> None:
    done = OperationStatus.SUCCEEDED
    scope = scope_of(numbered(1, done), numbered(2, done))

    before = scope.mode
    call(scope)
    between = scope.mode
    call(scope)

    assert (before, between, scope.mode) == (
        DurableExecutionMode.REPLAY,
        DurableExecutionMode.REPLAY,
        DurableExecutionMode.EXECUTION,
    )


def test_an_open_record_ends_the_replay() -> None:
    scope = scope_of(numbered(1, OperationStatus.STARTED), numbered(2, OperationStatus.SUCCEEDED))

    call(scope)

    assert not scope.is_replaying


def test_a_new_context_does_not_replay() -> None:
    assert scope_of().mode is DurableExecutionMode.EXECUTION


def test_a_closed_context_that_is_rebuilt_replays_to_its_end() -> None:
    scope = scope_of().child(an_op(OperationType.CONTEXT), is_settled=True)

    call(scope)

    assert scope.mode is DurableExecutionMode.REPLAY_SUCCEEDED_CONTEXT
    assert scope.is_replaying


def test_what_was_open_when_its_context_closed_stays_so() -> None:
    open_one = record(
        an_op(step_id="1-1", name=None, parent_id=hash_id("1")), OperationStatus.STARTED
    )
    done = replace(open_one, id=hash_id("1-2"), status=OperationStatus.SUCCEEDED)
    scope = Scope(journal_of(open_one, done), NOW).child(
        an_op(OperationType.CONTEXT), is_settled=True
    )

    ops = [call(scope), call(scope), call(scope)]

    assert [scope.never_resolves(op) for op in ops] == [True, False, True]


def test_what_an_open_context_calls_resolves() -> None:
    scope = scope_of()

    assert not scope.never_resolves(call(scope))


def test_a_virtual_context_in_a_closed_one_is_closed_too() -> None:
    settled = scope_of().child(an_op(OperationType.CONTEXT), is_settled=True)

    assert settled.child(an_op(), is_virtual=True).is_settled
    assert not settled.child(an_op()).is_settled


def test_a_context_has_closed_when_one_around_it_has() -> None:
    root = scope_of()
    child = root.child(an_op())
    grandchild = child.child(an_op())

    child.is_closed = True

    assert [scope.has_closed() for scope in (root, child, grandchild)] == [False, True, True]


def test_time_goes_on_to_the_end_of_what_was_awaited_and_never_back() -> None:
    scope = scope_of(
        numbered(1, OperationStatus.SUCCEEDED, end_timestamp=LATER),
        numbered(2, OperationStatus.SUCCEEDED, end_timestamp=NOW),
        numbered(3, OperationStatus.STARTED),
    )
    ops = [call(scope) for _ in range(4)]

    times = []
    for op in ops:
        scope.note_awaited(op)
        times.append(scope.now)

    assert times == [LATER] * 4
    assert scope.child(ops[0]).now == LATER


class Called(DurablePlugin):
    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []

    def on_operation_start(self, info: OperationInfo) -> None:
        self.told.append((info.id, info.is_replay))


def test_whoever_watches_is_told_of_every_call_with_its_record() -> None:
    plugin = Called()
    root = scope_of(numbered(1, OperationStatus.SUCCEEDED), numbered(2, OperationStatus.STARTED))
    root.watcher = Observers([plugin], root.journal, lambda: NOW, must_not_run)

    call(root)
    call(root.child(call(root)))

    assert plugin.told == [(hash_id("2"), True), (hash_id("2-1"), False)]


def test_nobody_is_told_of_what_a_closed_context_calls_again() -> None:
    plugin = Called()
    root = scope_of()
    root.watcher = Observers([plugin], root.journal, lambda: NOW, must_not_run)

    call(root.child(an_op(OperationType.CONTEXT), is_settled=True))

    assert plugin.told == []
