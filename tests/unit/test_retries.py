from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from durably.errors import ValidationError, WaitForConditionError
from durably.retries import (
    JitterStrategy,
    LinearRetryStrategyConfig,
    RetryDecision,
    RetryPresets,
    RetryStrategy,
    RetryStrategyConfig,
    WaitForConditionDecision,
    WaitStrategyConfig,
    create_linear_retry_strategy,
    create_retry_strategy,
    create_wait_strategy,
    exponential_backoff,
)

NONE = JitterStrategy.NONE
ERROR = ValueError("the network is down (code 503)")


class Highest(Random):
    """Always the longest delay that jitter allows."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Lowest(Random):
    """Always the shortest."""

    def uniform(self, a: float, b: float) -> float:
        return a


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - jitter is no secret


def delays(strategy: RetryStrategy, error: Exception = ERROR) -> list[int]:
    """Give the delays between attempts until *strategy* gives up."""
    given: list[int] = []
    while (decision := strategy(error, len(given) + 1)).should_retry:
        given.append(decision.delay_seconds)
    return given


def exponential(random: Random, **settings: Any) -> list[int]:
    return delays(create_retry_strategy(RetryStrategyConfig(**settings), random=random))


def mistaken(value: object) -> Any:
    """Give what the type checker would refuse."""
    return value


class TestDecisions:
    def test_a_delay_is_a_duration_or_seconds(self) -> None:
        assert RetryDecision.retry(5) == RetryDecision.retry(timedelta(seconds=5))
        assert RetryDecision(True, 5).delay == timedelta(seconds=5)  # noqa: FBT003 - as users write

    @pytest.mark.parametrize(("delay", "seconds"), [(0, 1), (0.2, 1), (1, 1), (1.2, 2), (2, 2)])
    def test_a_delay_is_rounded_up_and_at_least_one_second(
        self, delay: float, seconds: int
    ) -> None:
        assert RetryDecision.retry(delay).delay_seconds == seconds
        assert WaitForConditionDecision.continue_waiting(delay).delay_seconds == seconds

    def test_without_a_delay_it_is_one_second(self) -> None:
        assert RetryDecision.retry().delay_seconds == 1
        assert WaitForConditionDecision.continue_waiting().delay_seconds == 1

    def test_the_end_is_a_decision_too(self) -> None:
        assert not RetryDecision.no_retry().should_retry
        assert not WaitForConditionDecision.stop_polling().should_continue

    @pytest.mark.parametrize("delay", [-1, float("nan"), 31_622_401])
    def test_a_delay_that_the_protocol_cannot_carry_is_refused(self, delay: float) -> None:
        with pytest.raises(ValidationError, match="delay"):
            RetryDecision.retry(delay)
        with pytest.raises(ValidationError, match="delay"):
            WaitForConditionDecision.continue_waiting(delay)


class TestExponential:
    def test_delays_grow_by_a_factor_up_to_the_longest(self) -> None:
        settings = {"max_attempts": 6, "initial_delay": 2, "backoff_rate": 3, "max_delay": 50}

        assert exponential(seeded(0), jitter_strategy=NONE, **settings) == [2, 6, 18, 50, 50]

    def test_full_jitter_lies_between_nothing_and_the_delay(self) -> None:
        assert exponential(Highest()) == [5, 10]
        assert exponential(Lowest()) == [1, 1]

    def test_half_jitter_lies_between_half_the_delay_and_the_delay(self) -> None:
        settings = {"jitter_strategy": JitterStrategy.HALF}

        assert exponential(Highest(), **settings) == [5, 10]
        assert exponential(Lowest(), **settings) == [3, 5]

    def test_the_same_source_of_chance_gives_the_same_delays(self) -> None:
        settings = {"max_attempts": 9}

        assert exponential(seeded(7), **settings) == exponential(seeded(7), **settings)
        assert exponential(seeded(7), **settings) != exponential(seeded(8), **settings)

    def test_a_late_attempt_of_a_fast_growing_strategy_waits_the_longest_delay(self) -> None:
        strategy = exponential_backoff(
            max_attempts=10_000, backoff_rate=1e200, jitter_strategy=NONE
        )

        assert strategy(ERROR, 9_999).delay_seconds == 300

    def test_a_delay_never_passes_what_the_protocol_can_carry(self) -> None:
        year = 31_622_400

        assert exponential(Highest(), initial_delay=year, max_delay=year) == [year, year]

    def test_exponential_backoff_is_the_same_without_a_configuration_object(self) -> None:
        strategy = exponential_backoff(
            max_attempts=4, initial_delay=1, max_delay=3, backoff_rate=2, jitter_strategy=NONE
        )

        assert delays(strategy) == [1, 2, 3]


class TestLinear:
    def test_delays_grow_by_the_same_amount_up_to_the_longest(self) -> None:
        config = LinearRetryStrategyConfig(
            initial_delay=2, increment=4, max_delay=9, jitter_strategy=NONE
        )

        assert delays(create_linear_retry_strategy(config)) == [2, 6, 9, 9, 9]

    def test_by_default_it_makes_six_attempts_with_full_jitter(self) -> None:
        assert delays(create_linear_retry_strategy(random=Highest())) == [1, 2, 3, 4, 5]
        assert delays(create_linear_retry_strategy(random=Lowest())) == [1, 1, 1, 1, 1]

    def test_it_can_be_limited_to_some_errors_too(self) -> None:
        config = LinearRetryStrategyConfig(retryable_error_types=(KeyError,))

        assert delays(create_linear_retry_strategy(config)) == []


class TestWhichErrors:
    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({}, True),
            ({"retryable_errors": ("network",)}, True),
            ({"retryable_errors": ("disk",)}, False),
            ({"retryable_errors": (re.compile(r"code 5\d\d"),)}, True),
            ({"retryable_errors": (re.compile(r"code 4\d\d"),)}, False),
            ({"retryable_errors": ("disk", re.compile("down"))}, True),
            ({"retryable_error_types": (ValueError,)}, True),
            ({"retryable_error_types": (Exception,)}, True),
            ({"retryable_error_types": (KeyError,)}, False),
            ({"retryable_error_types": (KeyError,), "retryable_errors": ("network",)}, True),
            ({"retryable_error_types": (ValueError,), "retryable_errors": ("disk",)}, True),
            ({"retryable_error_types": (KeyError,), "retryable_errors": ("disk",)}, False),
        ],
    )
    def test_an_error_is_retried_when_its_text_or_its_class_is_listed(
        self, settings: dict[str, Any], expected: object
    ) -> None:
        assert exponential_backoff(**settings)(ERROR, 1).should_retry is expected


@pytest.mark.parametrize(
    ("make", "longest", "shortest"),
    [
        (RetryPresets.default, [5, 10, 20, 40, 60], [1] * 5),
        (RetryPresets.none, [], []),
        (RetryPresets.linear, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
        (RetryPresets.transient, [5, 10], [3, 5]),
        (RetryPresets.resource_availability, [5, 10, 20, 40], [1] * 4),
        (RetryPresets.critical, [1, 2, 3, 4, 6, 8, 12, 18, 26], [1, 2, 3, 4, 6, 8, 12, 18, 26]),
        (RetryPresets.fixed, [5, 5, 5, 5], [5, 5, 5, 5]),
        (lambda: RetryPresets.fixed(timedelta(minutes=2)), [120] * 4, [120] * 4),
    ],
)
def test_each_preset_has_the_delays_of_the_protocol(
    make: Callable[[], RetryStrategy], longest: list[int], shortest: list[int]
) -> None:
    given = [delays(make()) for _ in range(50)]

    for row in given:
        assert len(row) == len(longest)
        assert all(
            low <= delay <= high for low, delay, high in zip(shortest, row, longest, strict=True)
        )


class TestWaiting:
    def test_it_checks_again_with_growing_delays_until_the_condition_is_met(self) -> None:
        config = WaitStrategyConfig[int](
            should_continue_polling=lambda state: state < 4, jitter_strategy=NONE
        )
        strategy = create_wait_strategy(config)

        decisions = [strategy(state, state) for state in range(1, 5)]

        assert [d.should_continue for d in decisions] == [True, True, True, False]
        assert [d.delay_seconds for d in decisions[:3]] == [5, 8, 12]

    def test_the_delay_never_passes_the_longest(self) -> None:
        config = WaitStrategyConfig[int](should_continue_polling=lambda _: True)

        assert create_wait_strategy(config, random=Highest())(0, 59).delay_seconds == 300
        assert create_wait_strategy(config, random=Lowest())(0, 59).delay_seconds == 1

    def test_the_condition_is_tested_before_the_attempt_limit(self) -> None:
        config = WaitStrategyConfig[str](
            should_continue_polling=lambda state: state == "open", max_attempts=3
        )
        strategy = create_wait_strategy(config)

        assert not strategy("closed", 3).should_continue
        with pytest.raises(WaitForConditionError, match="exhausted 3 attempts before"):
            strategy("open", 3)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: RetryStrategyConfig(max_attempts=0), "max_attempts"),
        (lambda: RetryStrategyConfig(initial_delay=-1), "initial_delay"),
        (lambda: RetryStrategyConfig(max_delay=float("nan")), "max_delay"),
        (lambda: RetryStrategyConfig(backoff_rate=0), "backoff_rate"),
        (lambda: RetryStrategyConfig(backoff_rate=float("inf")), "backoff_rate"),
        (lambda: RetryStrategyConfig(backoff_rate=True), "backoff_rate"),
        (lambda: RetryStrategyConfig(backoff_rate=0.5), "backoff_rate"),
        (lambda: RetryStrategyConfig(initial_delay=10, max_delay=5), "initial_delay"),
        (lambda: LinearRetryStrategyConfig(initial_delay=10, max_delay=5), "initial_delay"),
        (lambda: RetryStrategyConfig(jitter_strategy=mistaken("full")), "JitterStrategy.FULL"),
        (lambda: RetryStrategyConfig(retryable_errors="503"), "retryable_errors"),
        (lambda: RetryStrategyConfig(retryable_errors=mistaken([503])), "retryable_errors"),
        (lambda: RetryStrategyConfig(retryable_error_types=mistaken(KeyError)), "KeyError"),
        (lambda: RetryStrategyConfig(retryable_error_types=mistaken(["KeyError"])), "KeyError"),
        (lambda: LinearRetryStrategyConfig(retryable_error_types=mistaken([int])), "class int"),
        (lambda: WaitStrategyConfig[int](should_continue_polling=mistaken(5)), "should_continue"),
        (lambda: LinearRetryStrategyConfig(max_attempts=-1), "max_attempts"),
        (lambda: LinearRetryStrategyConfig(increment=-1), "increment"),
        (lambda: WaitStrategyConfig[int](should_continue_polling=bool, max_attempts=0), "max_att"),
        (lambda: WaitStrategyConfig[int](should_continue_polling=bool, backoff_rate=-1), "backoff"),
    ],
)
def test_a_strategy_that_cannot_work_is_refused_where_it_is_written(
    make: Callable[[], object], field: str
) -> None:
    with pytest.raises(ValidationError, match=field):
        make()


def test_jitter_may_be_given_by_its_text() -> None:
    config = RetryStrategyConfig(jitter_strategy=mistaken("HALF"))

    assert config.jitter_strategy is JitterStrategy.HALF
