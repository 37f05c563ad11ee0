from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from durably.batch_result import BatchItem, BatchItemStatus, BatchResult
from durably.config import (
    ChildConfig,
    CompletionConfig,
    ConcurrencyConfig,
    MapConfig,
    NamedParallelBranch,
    NestingType,
    StepConfig,
    WaitForConditionConfig,
    WithRetryConfig,
)
from durably.core.calls import Calls
from durably.core.effects import Call, Ok, Park, Persist, Program, Spawn
from durably.core.op import Op
from durably.core.operations.combinators import All, Race
from durably.core.rounds import backoff, backoff_name
from durably.core.scope import Scope
from durably.errors import ContextUsageError, ValidationError
from durably.retries import RetryDecision, RetryPresets, WaitForConditionDecision
from durably.wire.operation import CallbackDetails, OperationStatus, OperationSubType, OperationType
from tests.unit.core.support import CONTEXT, an_op, must_not_run, record, scope_of


class Hand:
    """A driver that notes what it is to launch, and runs nothing."""

    def __init__(self) -> None:
        self.launched: list[tuple[Op, Program[Any]]] = []

    def begin(self, scope: Scope, name: str | None, type_: OperationType, sub_type: str) -> Op:
        return scope.allot(name, type_, sub_type)

    def launch(self, scope: Scope, op: Op, program: Program[Any]) -> Any:
        self.launched.append((op, program))
        return BatchResult((BatchItem(0, BatchItemStatus.SUCCEEDED, "won"),))

    def ends_of(self, scope: Scope, futures: Any) -> Any:
        pytest.fail("nothing is waited for")


def calls(scope: Scope | None = None) -> tuple[Calls, Hand]:
    driver = Hand()
    return Calls(scope or scope_of(), driver), driver


def launched(make: Callable[[Calls], Any]) -> tuple[Op, Program[Any]]:
    on, driver = calls()
    make(on)
    return driver.launched[0]


def first_but_start(program: Program[Any]) -> Any:
    effect = next(program)
    return program.send(None) if isinstance(effect, Persist) else effect


@pytest.mark.parametrize(
    ("make", "type_", "sub_type"),
    [
        (lambda on: on.step("n", len, (), None), "STEP", "Step"),
        (lambda on: on.step("n", len, (), StepConfig(sub_type="Mine")), "STEP", "Mine"),
        (lambda on: on.wait("n", 5), "WAIT", "Wait"),
        (lambda on: on.invoke("n", "f", None, None), "CHAINED_INVOKE", "ChainedInvoke"),
        (lambda on: on.create_callback("n", None, lambda *a: a), "CALLBACK", "Callback"),
        (lambda on: on.wait_for_callback("n", len, (), None), "CONTEXT", "WaitForCallback"),
        (
            lambda on: on.wait_for_condition(
                "n", len, WaitForConditionConfig(wait_strategy=must_not_run, initial_state=0)
            ),
            "STEP",
            "WaitForCondition",
        ),
        (lambda on: on.run_in_child_context("n", len, (), None), "CONTEXT", "RunInChildContext"),
        (
            lambda on: on.run_in_child_context("n", len, (), ChildConfig(sub_type="Mine")),
            "CONTEXT",
            "Mine",
        ),
        (lambda on: on.map("n", [1], lambda c, i: 1, None), "CONTEXT", "Map"),
        (lambda on: on.parallel("n", [len], None), "CONTEXT", "Parallel"),
        (lambda on: on.execute_concurrently("n", [1], must_not_run, None), "CONTEXT", "Map"),
        (
            lambda on: on.execute_concurrently(
                "n", [1], must_not_run, ConcurrencyConfig(top_level_sub_type="Mine")
            ),
            "CONTEXT",
            "Mine",
        ),
        (lambda on: on.combine("n", All(), []), "CONTEXT", "RunInChildContext"),
        (lambda on: on.combine_branches("n", All(), [len]), "CONTEXT", "RunInChildContext"),
    ],
)
def test_every_operation_has_its_type_and_sub_type(
    make: Callable[[Calls], Any], type_: str, sub_type: str
) -> None:
    op, _ = launched(make)

    assert (op.step_id, op.name, op.type, op.sub_type) == ("1", "n", type_, sub_type)


@pytest.mark.parametrize(
    "make",
    [
        lambda on: on.step("ä", len, (), None),
        lambda on: on.wait("n", 0.5),
        lambda on: on.invoke("n", "", None, None),
        lambda on: on.map("n", [1], len, MapConfig(item_namer=lambda item, index: "ä")),
        lambda on: on.map(
            "n", [1], len, MapConfig(completion_config=CompletionConfig(min_successful=2))
        ),
        lambda on: on.combine("n", Race(), []),
        lambda on: on.combine_branches("n", Race(), []),
        lambda on: on.combine("n", All(), ["no future"]),
    ],
)
def test_an_illegal_argument_is_refused_before_an_id_is_allotted(
    make: Callable[[Calls], Any],
) -> None:
    on, driver = calls()

    with pytest.raises(ValidationError):
        make(on)

    assert driver.launched == []
    on.wait("n", 1)
    assert driver.launched[0][0].step_id == "1"


def test_a_step_gets_its_arguments() -> None:
    _, program = launched(lambda on: on.step(None, pow, (2, 5), None))

    assert first_but_start(program).body() == 32


def test_a_step_without_arguments_is_called_as_it_is() -> None:
    _, program = launched(lambda on: on.step(None, must_not_run, (), None))

    assert first_but_start(program).body is must_not_run


def test_a_child_gets_its_context_first() -> None:
    body = lambda *args: args  # noqa: E731 - a name for what is passed on
    _, program = launched(lambda on: on.run_in_child_context(None, body, (1, 2), None))

    assert first_but_start(program).body("ctx") == ("ctx", 1, 2)


def test_a_child_without_arguments_is_called_as_it_is() -> None:
    _, program = launched(lambda on: on.run_in_child_context(None, must_not_run, (), None))

    assert first_but_start(program).body is must_not_run


def test_a_submitter_gets_the_callback_id_first() -> None:
    scope = scope_of(
        record(an_op(CONTEXT.type, "WaitForCallback", name=None), OperationStatus.STARTED),
        record(
            an_op(
                OperationType.CALLBACK, "Callback", step_id="1-1", name=None, parent_id=CONTEXT.id
            ),
            OperationStatus.STARTED,
            callback_details=CallbackDetails(callback_id="cb"),
        ),
    )
    on, driver = calls(scope)
    on.wait_for_callback(None, lambda *args: args, ("more",), None)

    assert first_but_start(driver.launched[0][1]).body() == ("cb", "more")


def test_a_callback_is_made_of_its_id_and_the_way_to_its_result() -> None:
    op = an_op(OperationType.CALLBACK, OperationSubType.CALLBACK, name=None)
    details = CallbackDetails(callback_id="cb")
    scope = scope_of(record(op, OperationStatus.STARTED, callback_details=details))
    on, driver = calls(scope)
    on.create_callback(None, None, lambda *made: made)

    with pytest.raises(StopIteration) as end:
        next(driver.launched[0][1])
    callback_id, result = end.value.value
    result()

    assert callback_id == "cb"
    assert driver.launched[1][0] == op
    assert next(driver.launched[1][1]) == Park(op)


def branches_of(make: Callable[[Calls], Any]) -> list[tuple[str | None, str, Any]]:
    """Give name, sub type and result of each branch that a batch spawns."""
    _, program = launched(make)
    found = []
    effect: Any = program.send(None)
    while isinstance(effect, Persist | Spawn):
        if isinstance(effect, Spawn):
            call = first_but_start(effect.make())
            assert isinstance(call, Call)
            found.append((effect.op.name, effect.op.sub_type, call.body("ctx")))
        effect = program.send(None)
    return found


@pytest.mark.parametrize(
    ("make", "branches"),
    [
        (
            lambda on: on.map(None, iter("ab"), lambda c, item, index: (c, item, index), None),
            [
                ("map-item-0", "MapIteration", ("ctx", "a", 0)),
                ("map-item-1", "MapIteration", ("ctx", "b", 1)),
            ],
        ),
        (
            lambda on: on.map(
                None,
                "a",
                lambda c, item: item,
                MapConfig(item_namer=lambda item, index: f"{index}{item}"),
            ),
            [("0a", "MapIteration", "a")],
        ),
        (
            lambda on: on.parallel(
                None, [lambda c: 1, NamedParallelBranch("tax", lambda c: 2)], None
            ),
            [("parallel-branch-0", "ParallelBranch", 1), ("tax", "ParallelBranch", 2)],
        ),
        (
            lambda on: on.execute_concurrently(
                None,
                "a",
                lambda c, item: (c, item),
                ConcurrencyConfig(iteration_sub_type="Mine", item_namer=lambda item, index: item),
            ),
            [("a", "Mine", ("ctx", "a"))],
        ),
        (
            lambda on: on.execute_concurrently(None, "a", lambda c, item: item, None),
            [("item-0", "MapIteration", "a")],
        ),
    ],
)
def test_every_branch_of_a_batch_has_its_name_and_its_arguments(
    make: Callable[[Calls], Any], branches: object
) -> None:
    assert branches_of(make) == branches


def test_flat_items_leave_no_records() -> None:
    config = MapConfig(nesting_type=NestingType.FLAT)
    _, program = launched(lambda on: on.map(None, "a", lambda c, i: i, config))
    spawn = first_but_start(program)

    assert isinstance(next(spawn.make()), Call)


def test_the_result_of_a_parallel_is_read_by_the_annotations_of_its_branches() -> None:
    def one(c: object) -> tuple[int, ...]: ...  # type: ignore[empty-body]

    _, program = launched(lambda on: on.parallel(None, [one, one], None))
    for _ in range(3):
        next(program)
    program.send(None)
    program.send((0, Ok((1,))))
    program.send((1, Ok((2,))))  # to drop what is open
    update = program.send(None).update  # type: ignore[union-attr]  # it is to persist

    assert update.payload is not None
    assert '"result":[1]' in update.payload


def test_a_combinator_over_branches_gives_what_its_rule_makes_of_the_batch() -> None:
    on, _ = calls()

    assert on.combine_branches(None, All(), [len]) == ["won"]


def test_what_was_open_when_its_context_closed_is_never_launched() -> None:
    on, driver = calls(scope_of().child(CONTEXT, is_settled=True))

    on.step("late", must_not_run, (), None)

    op, program = driver.launched[0]
    assert next(program) == Park(op)


def test_a_combinator_takes_what_tells_how_it_ended() -> None:
    class Ended:
        def outcome(self) -> Ok[int]:
            return Ok(1)

    op, _ = launched(lambda on: on.combine("both", All(), [Ended()]))

    assert op.name == "both"


# Chance


def test_chance_is_the_same_in_every_replay_and_another_in_every_context() -> None:
    def drawn(scope: Scope) -> tuple[float, UUID, float]:
        on, _ = calls(scope)
        return on.random(), on.uuid4(), on.random()

    root = scope_of()

    assert drawn(root) == drawn(scope_of())
    assert drawn(root) != drawn(root.child(CONTEXT))
    assert drawn(root)[1].version == 4


# with_retry


def test_the_waits_between_rounds_are_named_after_the_helper() -> None:
    assert backoff_name("pay", 2) == "pay-backoff-2"
    assert backoff_name(None, 2) is None


def config(decision: RetryDecision) -> WithRetryConfig:
    return WithRetryConfig(retry_strategy=lambda error, attempt: decision)


@pytest.mark.parametrize(("delay", "waited"), [(0, 1), (7, 7)])
def test_rounds_are_at_least_a_second_apart(delay: int, waited: int) -> None:
    how = config(RetryDecision(should_retry=True, delay=timedelta(seconds=delay)))

    assert backoff(how, ValueError("no"), 1) == timedelta(seconds=waited)


def test_the_last_round_raises_what_it_raised() -> None:
    with pytest.raises(ValueError, match="no"):
        backoff(WithRetryConfig(retry_strategy=RetryPresets.none()), ValueError("no"), 1)


def test_the_strategy_is_not_asked_about_misuse() -> None:
    with pytest.raises(ContextUsageError):
        backoff(WithRetryConfig(retry_strategy=must_not_run), ContextUsageError("here"), 1)


def test_a_wait_for_condition_gives_its_strategy_the_new_state() -> None:
    how: WaitForConditionConfig[int] = WaitForConditionConfig(
        wait_strategy=lambda state, attempt: WaitForConditionDecision(state < 1), initial_state=0
    )
    _, program = launched(lambda on: on.wait_for_condition(None, lambda state: state + 1, how))

    assert first_but_start(program).body() == 1
