from typing import Any

import msgspec
import pytest

from durably.batch_result import BatchCompletionReason, BatchItem, BatchItemStatus, BatchResult
from durably.config import CompletionConfig, CompletionDecision
from durably.core.effects import Drop, Effect, Err, Next, Ok, Program, Spawn
from durably.core.ids import hash_id
from durably.core.operations.batch import Branch, Plan, batch
from durably.core.scope import Scope
from durably.errors import (
    ChildContextError,
    ContextUsageError,
    RetryableSerdesError,
    UnrecoverableExecutionError,
    UnrecoverableInvocationError,
)
from durably.serdes import BatchResultSerdes, JsonSerdes
from durably.wire.operation import (
    ContextDetails,
    OperationStatus,
    OperationSubType,
    OperationType,
)
from durably.wire.update import OperationAction
from tests.unit.core.support import (
    NOW,
    ByHand,
    an_op,
    must_not_run,
    record,
    result_of,
    scope_of,
)

MAP = an_op(OperationType.CONTEXT, OperationSubType.MAP, name="ship")
LARGE = "x" * 100_000
FAILED = ChildContextError("no", operation="b", error_type="ValueError")


def plan(names: str = "abc", **changes: Any) -> Plan:
    known: dict[str, Any] = {
        "branches": [Branch(name, must_not_run, JsonSerdes()) for name in names],
        "branch_sub_type": OperationSubType.MAP_ITERATION,
        "completion": CompletionConfig(),
        "max_concurrency": None,
        "is_flat": False,
        "serdes": BatchResultSerdes(),
    }
    return Plan(**(known | changes))


def program_of(scope: Scope, what: Plan) -> Program[BatchResult[Any]]:
    return batch(scope, MAP, what)


class Batch(ByHand):
    """A batch driven by hand: its branches are spawned, and end when the test says so."""

    def __init__(self, scope: Scope, what: Plan) -> None:
        super().__init__(scope.journal, program_of(scope, what))
        self.spawned: list[Spawn] = []
        self.dropped = 0

    def until_asked(self, answer: Any = None) -> Effect:
        while True:
            effect = super().until_asked(answer)
            answer = None
            if isinstance(effect, Spawn):
                self.spawned.append(effect)
            elif isinstance(effect, Drop):
                self.dropped += 1
            else:
                return effect

    def end(self, index: int, outcome: Any) -> Any:
        """End a branch; give what is asked next, or the result."""
        try:
            return self.until_asked((index, outcome))
        except StopIteration as end:
            return end.value


def begun(**changes: Any) -> Batch:
    program = Batch(scope_of(), plan(**changes))
    assert isinstance(program.until_asked(), Next)
    return program


def test_starts_are_recorded_in_order_under_the_batch() -> None:
    program = begun()

    assert [(spawn.index, spawn.op.name, spawn.op.step_id) for spawn in program.spawned] == [
        (0, "a", "1-1"),
        (1, "b", "1-2"),
        (2, "c", "1-3"),
    ]
    assert {spawn.op.parent_id for spawn in program.spawned} == {hash_id("1")}
    assert program.sent == [MAP.start()]


def test_no_more_start_than_may_be_active() -> None:
    program = begun(max_concurrency=1)

    assert len(program.spawned) == 1
    program.end(0, Ok(1))
    assert len(program.spawned) == 2


def test_the_result_is_in_the_order_of_the_items() -> None:
    program = begun()
    program.end(2, Ok("c"))
    program.end(0, Ok("a"))

    result = program.end(1, Ok("b"))

    assert result.results() == ["a", "b", "c"]
    assert result.completion_reason is BatchCompletionReason.ALL_COMPLETED
    assert program.last.action is OperationAction.SUCCEED


def test_the_first_run_gives_what_a_replay_would() -> None:
    program = begun(names="a")
    first = program.end(0, Ok((1, 2)))

    again = result_of(program_of(Scope(program.journal, NOW), plan("a")))

    assert first == again


def test_a_batch_with_failures_has_succeeded_and_tells_them() -> None:
    program = begun(completion=CompletionConfig.all_completed())
    program.end(1, Err(FAILED))
    program.end(0, Ok(1))

    result = program.end(2, Ok(3))

    assert program.last.action is OperationAction.SUCCEED
    assert ([item.index for item in result.failed()], result.errors()) == ([1], [FAILED])


def test_the_branches_left_are_closed_before_the_batch_is_recorded() -> None:
    program = begun(completion=CompletionConfig(min_successful=1))

    result = program.end(1, Ok("b"))

    assert program.dropped == 1
    assert program.spawned[0].scope.is_closed
    assert [item.status for item in result.all] == [
        BatchItemStatus.STARTED,
        BatchItemStatus.SUCCEEDED,
        BatchItemStatus.STARTED,
    ]
    assert result.completion_reason is BatchCompletionReason.MIN_SUCCESSFUL_REACHED


def test_items_that_were_never_started_are_not_in_the_result() -> None:
    program = begun(completion=CompletionConfig(min_successful=1), max_concurrency=1)

    assert program.end(0, Ok(1)).total_count == 1


def test_no_items_resolve_at_once_and_are_recorded() -> None:
    program = Batch(scope_of(), plan(""))

    with pytest.raises(StopIteration) as end:
        program.until_asked()

    assert end.value.value == BatchResult()
    assert [update.action for update in program.sent] == [
        OperationAction.START,
        OperationAction.SUCCEED,
    ]


def test_a_recorded_batch_runs_nothing() -> None:
    text = BatchResultSerdes[Any]().serialize(
        BatchResult((BatchItem(0, BatchItemStatus.SUCCEEDED, 7),)),
        None,  # type: ignore[arg-type]  # it is not read
    )
    scope = scope_of(
        record(MAP, OperationStatus.SUCCEEDED, context_details=ContextDetails(result=text))
    )

    assert result_of(program_of(scope, plan())).results() == [7]


def test_a_failed_batch_raises() -> None:
    with pytest.raises(ChildContextError):
        next(program_of(scope_of(record(MAP, OperationStatus.FAILED)), plan()))


def broken(_: object) -> Any:
    raise KeyError("mine")


@pytest.mark.parametrize(
    "changes",
    [
        {"completion": CompletionConfig(should_complete=broken)},
        {
            "completion": CompletionConfig(
                should_complete=lambda s: broken(s) if s.completed_count else CompletionDecision()
            )
        },
        {"summary_generator": broken},
    ],
)
def test_what_the_users_code_around_the_items_raises_fails_the_batch(
    changes: dict[str, Any],
) -> None:
    program = Batch(scope_of(), plan("abc", **changes))

    with pytest.raises(ChildContextError) as error:
        end_all(program)

    assert error.value.error_type == "KeyError"
    assert program.last.action is OperationAction.FAIL
    assert program.dropped == 1


def end_all(program: Batch) -> None:
    program.until_asked()
    for index in range(3):
        program.end(index, Ok(LARGE))


def test_a_serdes_that_cannot_work_now_has_the_invocation_tried_again() -> None:
    class Busy(BatchResultSerdes[Any]):
        def serialize(self, value: object, context: object, /) -> str:
            raise RetryableSerdesError

    program = begun(names="a", serdes=Busy())

    with pytest.raises(UnrecoverableInvocationError):
        program.end(0, Ok(1))


def test_what_is_no_end_of_a_branch_passes_through_and_is_not_recorded() -> None:
    program = begun()

    with pytest.raises(ContextUsageError):
        program.end(1, Err(ContextUsageError("elsewhere")))

    assert program.sent == [MAP.start()]


# Large batches


def large(**changes: Any) -> tuple[Batch, BatchResult[Any]]:
    completion = CompletionConfig(min_successful=3)
    program = begun(names="abcde", completion=completion, **changes)
    program.end(3, Err(FAILED))
    for index in (4, 0):
        program.end(index, Ok(LARGE))
    return program, program.end(2, Ok(LARGE))


def test_a_batch_over_256_kib_is_recorded_by_its_summary() -> None:
    program, result = large(summary_generator=lambda result: f"{result.success_count} shipped")

    assert [item.status for item in result.all].count(BatchItemStatus.STARTED) == 1
    assert program.last.context_options is not None
    assert program.last.context_options.replay_children
    assert msgspec.json.decode(program.last.payload or "") == {
        "type": "MapResult",
        "totalCount": 5,
        "successCount": 3,
        "failureCount": 1,
        "startedCount": 1,
        "completionReason": "MIN_SUCCESSFUL_REACHED",
        "status": "FAILED",
        "itemStatuses": "S-SFS",
        "summary": "3 shipped",
    }


def test_a_large_batch_is_rebuilt_from_the_items_that_had_ended() -> None:
    program, first = large()
    again = Batch(Scope(program.journal, NOW), plan("abcde"))

    assert isinstance(again.until_asked(), Next)
    assert [spawn.index for spawn in again.spawned] == [0, 2, 3, 4]
    assert [spawn.op.step_id for spawn in again.spawned] == ["1-1", "1-3", "1-4", "1-5"]
    assert all(spawn.scope.is_settled for spawn in again.spawned)
    again.end(0, Ok(LARGE))
    again.end(2, Ok(LARGE))
    again.end(3, Err(FAILED))
    assert again.end(4, Ok(LARGE)) == first
    assert again.sent == []


def test_a_large_batch_is_rebuilt_with_no_more_branches_at_once_than_may_be_active() -> None:
    program, first = large()
    again = Batch(Scope(program.journal, NOW), plan("abcde", max_concurrency=2))

    again.until_asked()
    assert [spawn.index for spawn in again.spawned] == [0, 2]
    again.end(2, Ok(LARGE))
    assert [spawn.index for spawn in again.spawned] == [0, 2, 3]
    again.end(3, Err(FAILED))
    again.end(4, Ok(LARGE))
    assert again.end(0, Ok(LARGE)) == first
    assert again.sent == []


def test_a_summary_that_cannot_be_read_fails_the_execution() -> None:
    details = ContextDetails(replay_children=True, result="3 items")
    scope = scope_of(record(MAP, OperationStatus.SUCCEEDED, context_details=details))

    with pytest.raises(UnrecoverableExecutionError, match="the summary of ship cannot be read"):
        next(program_of(scope, plan()))


# Nesting


def test_flat_items_run_as_virtual_contexts() -> None:
    nested, flat = begun(), begun(is_flat=True)

    programs = [next(program.spawned[0].make()) for program in (nested, flat)]

    assert [type(effect).__name__ for effect in programs] == ["Persist", "Call"]
