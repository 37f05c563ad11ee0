from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from durably.batch_result import BatchItemStatus
from durably.config import (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
    ConcurrencyConfig,
    InvokeConfig,
    MapConfig,
    NamedParallelBranch,
    NestingType,
    ParallelConfig,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
    WaitForConditionConfig,
    WithRetryConfig,
    complete_batch,
    continue_batch,
)
from durably.errors import ValidationError
from durably.retries import RetryPresets, WaitForConditionDecision, create_wait_strategy
from durably.serdes import JsonSerdes, json_serdes


def stop_at_once(state: int, attempts_made: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


def mistaken(value: object) -> Any:
    """Give what the type checker would refuse."""
    return value


def waiting(**settings: Any) -> WaitForConditionConfig[int]:
    usual: dict[str, Any] = {"wait_strategy": stop_at_once, "initial_state": 0}
    return WaitForConditionConfig(**(usual | settings))


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: StepConfig(timeout=0), "timeout"),
        (lambda: StepConfig(timeout=-1), "timeout"),
        (lambda: StepConfig(timeout=float("nan")), "timeout"),
        (lambda: StepConfig(timeout=1e10), "timeout"),
        (lambda: StepConfig(timeout=timedelta.max), "timeout"),
        (lambda: StepConfig(sub_type="not a type"), "sub_type"),
        (lambda: InvokeConfig(tenant_id=""), "tenant_id"),
        (lambda: InvokeConfig(tenant_id="x" * 257), "tenant_id"),
        (lambda: InvokeConfig(tenant_id="a\nb"), "tenant_id"),
        (lambda: InvokeConfig(tenant_id="a*b"), "tenant_id"),
        (lambda: InvokeConfig(tenant_id="é"), "tenant_id"),
        (lambda: InvokeConfig(tenant_id=" a"), "tenant_id"),
        (lambda: CallbackConfig(timeout=-1), "timeout"),
        (lambda: CallbackConfig(timeout=100_000_000), "timeout"),
        (lambda: CallbackConfig(heartbeat_timeout=timedelta(days=-1)), "heartbeat_timeout"),
        (lambda: CallbackConfig(sub_type=""), "sub_type"),
        (lambda: WaitForCallbackConfig(timeout=-1), "timeout"),
        (lambda: WaitForCallbackConfig(heartbeat_timeout=1e12), "heartbeat_timeout"),
        (lambda: ChildConfig(sub_type="x" * 33), "sub_type"),
        (lambda: MapConfig(max_concurrency=0), "max_concurrency"),
        (lambda: ParallelConfig(max_concurrency=-1), "max_concurrency"),
        (lambda: ConcurrencyConfig(max_concurrency=0), "max_concurrency"),
        (lambda: ConcurrencyConfig(top_level_sub_type="a b"), "top_level_sub_type"),
        (lambda: ConcurrencyConfig(iteration_sub_type=""), "iteration_sub_type"),
        (lambda: CompletionConfig(min_successful=0), "min_successful"),
        (lambda: CompletionConfig(tolerated_failure_count=-1), "tolerated_failure_count"),
        (
            lambda: CompletionConfig(tolerated_failure_percentage=101),
            "tolerated_failure_percentage",
        ),
        (
            lambda: CompletionConfig(min_successful=1, should_complete=lambda _: continue_batch()),
            "should_complete",
        ),
        (lambda: NamedParallelBranch("", print), "name"),
        (lambda: NamedParallelBranch("a", mistaken("b")), "func"),
        (lambda: StepConfig(retry_strategy=mistaken(RetryPresets.none)), "retry_strategy"),
        (lambda: StepConfig(retry_strategy=mistaken(RetryPresets.fixed)), "retry_strategy"),
        (lambda: StepConfig(retry_strategy=mistaken("none")), "retry_strategy"),
        (lambda: StepConfig(retry_strategy=mistaken(3)), "retry_strategy"),
        (lambda: StepConfig(semantics=mistaken("at_most_once")), "semantics"),
        (lambda: StepConfig(serdes=mistaken(str)), "serdes"),
        (lambda: StepConfig(serdes=mistaken(json_serdes)), "serdes"),
        (lambda: StepConfig(serdes=mistaken(JsonSerdes)), "serdes"),
        (lambda: InvokeConfig(payload_serdes=mistaken(5)), "payload_serdes"),
        (lambda: InvokeConfig(result_serdes=mistaken(5)), "result_serdes"),
        (lambda: CallbackConfig(serdes=mistaken(str)), "serdes"),
        (lambda: WaitForCallbackConfig(retry_strategy=mistaken(3)), "retry_strategy"),
        (lambda: WaitForCallbackConfig(serdes=mistaken(str)), "serdes"),
        (lambda: waiting(wait_strategy=mistaken(create_wait_strategy)), "wait_strategy"),
        (lambda: waiting(serdes=mistaken(str)), "serdes"),
        (lambda: ChildConfig(serdes=mistaken(str)), "serdes"),
        (lambda: ChildConfig(summary_generator=mistaken("x")), "summary_generator"),
        (lambda: ChildConfig(error_mapper=mistaken("x")), "error_mapper"),
        (lambda: ChildConfig(is_virtual=mistaken("no")), "is_virtual"),
        (lambda: MapConfig(completion_config=mistaken("all")), "completion_config"),
        (
            lambda: MapConfig(completion_config=mistaken(CompletionConfig.all_completed)),
            "completion_config",
        ),
        (lambda: MapConfig(item_namer=mistaken("x")), "item_namer"),
        (lambda: MapConfig(serdes=mistaken(str)), "serdes"),
        (lambda: ParallelConfig(item_serdes=mistaken(str)), "item_serdes"),
        (lambda: ParallelConfig(summary_generator=mistaken("x")), "summary_generator"),
        (lambda: ConcurrencyConfig(nesting_type=mistaken("flat")), "nesting_type"),
        (lambda: CompletionConfig(should_complete=mistaken("x")), "should_complete"),
        (lambda: WithRetryConfig(retry_strategy=mistaken(RetryPresets.none)), "retry_strategy"),
        (
            lambda: WithRetryConfig(wrap_with_run_in_child_context=mistaken(1)),
            "wrap_with_run_in_child_context",
        ),
        (
            lambda: WithRetryConfig(child_context_config=mistaken(StepConfig())),
            "child_context_config",
        ),
        (lambda: json_serdes(3), "annotation"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_where_it_is_written(
    make: Callable[[], object], field: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        make()

    assert caught.value.field == field


def test_what_only_wants_calling_is_told_so() -> None:
    with pytest.raises(ValidationError, match=r"RetryPresets\.none: are its parentheses missing"):
        StepConfig(retry_strategy=mistaken(RetryPresets.none))


def test_a_choice_may_be_given_by_its_text() -> None:
    semantics = StepConfig(semantics=mistaken("AT_MOST_ONCE_PER_RETRY")).semantics
    nesting_type = MapConfig(nesting_type=mistaken("FLAT")).nesting_type

    assert (semantics, nesting_type) == (StepSemantics.AT_MOST_ONCE_PER_RETRY, NestingType.FLAT)


@pytest.mark.parametrize("strategy", [max, partial(stop_at_once), lambda *_: None])
def test_whatever_takes_two_values_can_be_a_strategy(strategy: Any) -> None:
    assert StepConfig(retry_strategy=strategy).retry_strategy is strategy


def test_a_configuration_cannot_be_changed() -> None:
    config: StepConfig[Any] = StepConfig()

    with pytest.raises(FrozenInstanceError):
        config.timeout = 5  # type: ignore[misc]


def test_the_type_of_a_configuration_may_be_written_out() -> None:
    assert StepConfig[int](timeout=5).timeout == 5
    assert CallbackConfig[int](timeout=5).timeout == 5
    assert WaitForCallbackConfig[int](timeout=5).timeout == 5
    assert InvokeConfig[int](tenant_id="t: 1@a").tenant_id == "t: 1@a"
    assert ChildConfig[int](sub_type="Saga").sub_type == "Saga"


def test_a_step_repeats_a_cut_attempt_unless_it_is_told_not_to() -> None:
    assert StepConfig().semantics is StepSemantics.AT_LEAST_ONCE_PER_RETRY


def test_a_step_without_a_strategy_makes_six_attempts() -> None:
    strategy = StepConfig().retry_strategy

    decisions = [strategy(ValueError(), n).should_retry for n in range(1, 7)]

    assert decisions == [True, True, True, True, True, False]


def test_with_retry_makes_three_rounds_in_a_child_context() -> None:
    config = WithRetryConfig()

    decisions = [config.retry_strategy(ValueError(), n).should_retry for n in range(1, 4)]

    assert decisions == [True, True, False]
    assert config.wrap_with_run_in_child_context


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(None, None), (0.25, 0.25), (timedelta(minutes=1), 60.0)]
)
def test_a_step_may_time_out_within_a_second(
    timeout: timedelta | float | None, seconds: float | None
) -> None:
    assert StepConfig(timeout=timeout).timeout_seconds == seconds


def test_a_callback_waits_for_ever_unless_it_is_told_otherwise() -> None:
    assert CallbackConfig().timeout_seconds == 0
    assert CallbackConfig(timeout=0).timeout_seconds == 0
    assert CallbackConfig(timeout=1.5).timeout_seconds == 2
    assert CallbackConfig(heartbeat_timeout=timedelta(hours=1)).heartbeat_timeout_seconds == 3600


def test_wait_for_callback_passes_its_deadlines_on_to_the_callback_inside() -> None:
    config = WaitForCallbackConfig(timeout=5, heartbeat_timeout=2)

    assert config.callback == CallbackConfig(timeout=5, heartbeat_timeout=2)


def test_a_condition_keeps_its_initial_state() -> None:
    config = WaitForConditionConfig(wait_strategy=stop_at_once, initial_state=0)

    assert config.initial_state == 0
    assert not config.wait_strategy(0, 1).should_continue


class TestCompletion:
    def test_a_map_stops_at_the_first_failure_unless_it_is_told_otherwise(self) -> None:
        config = MapConfig()

        assert config.completion_config == CompletionConfig()
        assert not config.completion_config.has_thresholds
        assert config.nesting_type is NestingType.NESTED

    def test_a_parallel_wants_all_of_its_branches_to_succeed(self) -> None:
        assert ParallelConfig().completion_config == CompletionConfig.all_successful()

    def test_the_presets_say_what_their_names_say(self) -> None:
        assert CompletionConfig.all_successful() == CompletionConfig(
            tolerated_failure_count=0, tolerated_failure_percentage=0
        )
        assert CompletionConfig.all_completed() == CompletionConfig(
            tolerated_failure_percentage=100
        )
        assert CompletionConfig.first_successful() == CompletionConfig(min_successful=1)
        assert CompletionConfig.first_successful().has_thresholds

    def test_a_batch_that_cannot_have_enough_successes_is_refused(self) -> None:
        config = CompletionConfig(min_successful=3)

        config.check_total(3)
        config.check_total(0)
        with pytest.raises(ValidationError, match="min_successful: is 3, and there are only 2"):
            config.check_total(2)
        CompletionConfig().check_total(0)

    def test_a_predicate_goes_on_or_ends_the_batch_well_or_badly(self) -> None:
        assert not continue_batch().is_complete
        assert complete_batch().has_succeeded
        failed = complete_batch(CompletionOutcome.FAILED)
        assert (failed.is_complete, failed.has_succeeded) == (True, False)

    def test_a_predicate_is_asked_about_the_counts_and_the_items(self) -> None:
        items = (CompletionItemStatus(0, "a", BatchItemStatus.SUCCEEDED), CompletionItemStatus(1))
        status = CompletionStatus(
            success_count=1, failure_count=0, completed_count=1, total_count=2, items=items
        )
        config = CompletionConfig(
            should_complete=lambda s: complete_batch() if s.items[0].status else continue_batch()
        )

        assert config.should_complete is not None
        assert config.should_complete(status).is_complete
        assert items[1].status is None
