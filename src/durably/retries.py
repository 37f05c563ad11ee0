"""When to try again, and when to look again: strategies as plain functions.

A retry strategy is any function from an error and the number of attempts made to a
`RetryDecision`; a wait strategy any function from a state and that number to a
`WaitForConditionDecision`. Strategies run outside of replay, once per failure, so they may use
chance; the source of it is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from random import Random
from typing import Any, Generic, Self, TypeAlias, TypeVar, assert_never

from durably.checks import check_errors, check_flag, check_function, check_kind, member_of
from durably.errors import ValidationError, WaitForConditionError
from durably.limits import (
    MAX_DELAY_SECONDS,
    as_count,
    as_timedelta,
    check_rate,
    duration_seconds,
    whole_seconds,
)
from durably.seams import JITTER

T = TypeVar("T")

_SECOND = timedelta(seconds=1)
_FIVE_MINUTES = timedelta(minutes=5)


class JitterStrategy(StrEnum):
    """How much chance there is in a delay, so that those who failed together do not return so."""

    NONE = "NONE"
    FULL = "FULL"
    HALF = "HALF"

    def apply(self, seconds: float, random: Random) -> float:
        """Give a delay of at most *seconds*."""
        match self:
            case JitterStrategy.NONE:
                return seconds
            case JitterStrategy.FULL:
                return random.uniform(0, seconds)
            case JitterStrategy.HALF:
                return random.uniform(seconds / 2, seconds)
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True, init=False)
class RetryDecision:
    """Whether there is another attempt, and how long it is put off.

    Attributes:
        delay: given as a duration or as seconds. Fractions are rounded up when it is recorded, and
            at least one second passes.
    """

    should_retry: bool
    delay: timedelta

    def __init__(self, should_retry: bool, delay: timedelta | float = _SECOND) -> None:  # noqa: FBT001 - the order users know
        check_flag(should_retry, "should_retry")
        object.__setattr__(self, "should_retry", should_retry)
        object.__setattr__(self, "delay", _checked_delay(delay))

    @classmethod
    def retry(cls, delay: timedelta | float = _SECOND) -> Self:
        """Decide for another attempt after *delay*."""
        return cls(should_retry=True, delay=delay)

    @classmethod
    def no_retry(cls) -> Self:
        """Decide that the last attempt was the last."""
        return cls(should_retry=False)

    @property
    def delay_seconds(self) -> int:
        """The delay as it is recorded."""
        return max(1, whole_seconds(self.delay))


@dataclass(frozen=True, slots=True, init=False)
class WaitForConditionDecision:
    """Whether a condition is checked again, and after what delay.

    Attributes:
        delay: as in `RetryDecision`.
    """

    should_continue: bool
    delay: timedelta

    def __init__(self, should_continue: bool, delay: timedelta | float = _SECOND) -> None:  # noqa: FBT001 - the order users know
        check_flag(should_continue, "should_continue")
        object.__setattr__(self, "should_continue", should_continue)
        object.__setattr__(self, "delay", _checked_delay(delay))

    @classmethod
    def continue_waiting(cls, delay: timedelta | float = _SECOND) -> Self:
        """Decide to check again after *delay*."""
        return cls(should_continue=True, delay=delay)

    @classmethod
    def stop_polling(cls) -> Self:
        """Decide that the present state is the result."""
        return cls(should_continue=False)

    @property
    def delay_seconds(self) -> int:
        """The delay as it is recorded."""
        return max(1, whole_seconds(self.delay))


def _checked_delay(delay: timedelta | float) -> timedelta:
    duration_seconds(delay, "delay")
    return as_timedelta(delay, "delay")


RetryStrategy: TypeAlias = Callable[[Exception, int], RetryDecision]
"""Decides after a failed attempt, from its error and the number of attempts made, from 1 on."""

WaitStrategy: TypeAlias = Callable[[T, int], WaitForConditionDecision]
"""Decides after a check, from the new state and the number of checks made, from 1 on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStrategyConfig:
    """Delays that grow by a factor, and for which errors.

    Attributes:
        max_attempts: how many attempts there are at most, the first one included.
        initial_delay: after the first failure.
        max_delay: no delay is longer.
        backoff_rate: how much longer each delay is than the one before.
        retryable_errors: what to look for in an error's text: a part of it, or a pattern.
        retryable_error_types: classes of errors. An error is tried again when its text or its
            class is listed, and any error when nothing is listed.
    """

    max_attempts: int = 3
    initial_delay: timedelta | float = timedelta(seconds=5)
    max_delay: timedelta | float = _FIVE_MINUTES
    backoff_rate: float = 2.0
    jitter_strategy: JitterStrategy = JitterStrategy.FULL
    retryable_errors: Sequence[str | re.Pattern[str]] = ()
    retryable_error_types: Sequence[type[BaseException]] = ()

    def __post_init__(self) -> None:
        as_count(self.max_attempts, "max_attempts", minimum=1)
        _check_delays(self)
        check_rate(self.backoff_rate)
        check_errors(self.retryable_errors, self.retryable_error_types)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRetryStrategyConfig:
    """Delays that grow by the same amount; otherwise as `RetryStrategyConfig`.

    Attributes:
        increment: how much longer each delay is than the one before.
    """

    max_attempts: int = 6
    initial_delay: timedelta | float = _SECOND
    increment: timedelta | float = _SECOND
    max_delay: timedelta | float = _FIVE_MINUTES
    jitter_strategy: JitterStrategy = JitterStrategy.FULL
    retryable_errors: Sequence[str | re.Pattern[str]] = ()
    retryable_error_types: Sequence[type[BaseException]] = ()

    def __post_init__(self) -> None:
        as_count(self.max_attempts, "max_attempts", minimum=1)
        _check_delays(self)
        as_timedelta(self.increment, "increment")
        check_errors(self.retryable_errors, self.retryable_error_types)


@dataclass(frozen=True, kw_only=True)
class WaitStrategyConfig(Generic[T]):
    """How long to go on checking a condition, and how often.

    Attributes:
        should_continue_polling: whether the condition is not met yet by this state.
        max_attempts: how many checks there are at most.
    """

    should_continue_polling: Callable[[T], bool]
    max_attempts: int = 60
    initial_delay: timedelta | float = timedelta(seconds=5)
    max_delay: timedelta | float = _FIVE_MINUTES
    backoff_rate: float = 1.5
    jitter_strategy: JitterStrategy = JitterStrategy.FULL

    def __post_init__(self) -> None:
        wanted = "a function of the state that says whether to go on"
        check_function(self.should_continue_polling, "should_continue_polling", wanted)
        as_count(self.max_attempts, "max_attempts", minimum=1)
        _check_delays(self)
        check_rate(self.backoff_rate)


def create_retry_strategy(
    config: RetryStrategyConfig | None = None, *, random: Random = JITTER
) -> RetryStrategy:
    """Make a strategy whose delays grow by a factor; jitter comes from *random*."""
    chosen = RetryStrategyConfig() if config is None else config
    _check_given(chosen, RetryStrategyConfig, random)
    initial, longest = _delays(chosen.initial_delay, chosen.max_delay)

    def decide(error: Exception, attempts_made: int) -> RetryDecision:
        if attempts_made >= chosen.max_attempts or not _is_retryable(error, chosen):
            return RetryDecision.no_retry()
        seconds = _exponential(initial, chosen.backoff_rate, attempts_made, longest)
        return RetryDecision.retry(_jittered(seconds, chosen.jitter_strategy, random))

    return decide


def create_linear_retry_strategy(
    config: LinearRetryStrategyConfig | None = None, *, random: Random = JITTER
) -> RetryStrategy:
    """Make a strategy whose delays grow by the same amount; jitter comes from *random*."""
    chosen = LinearRetryStrategyConfig() if config is None else config
    _check_given(chosen, LinearRetryStrategyConfig, random)
    initial, longest = _delays(chosen.initial_delay, chosen.max_delay)
    increment = as_timedelta(chosen.increment, "increment").total_seconds()

    def decide(error: Exception, attempts_made: int) -> RetryDecision:
        if attempts_made >= chosen.max_attempts or not _is_retryable(error, chosen):
            return RetryDecision.no_retry()
        seconds = min(initial + increment * (attempts_made - 1), longest)
        return RetryDecision.retry(_jittered(seconds, chosen.jitter_strategy, random))

    return decide


def exponential_backoff(  # noqa: PLR0913 - all by keyword, as in the configuration
    *,
    max_attempts: int = 3,
    initial_delay: timedelta | float = timedelta(seconds=5),
    max_delay: timedelta | float = _FIVE_MINUTES,
    backoff_rate: float = 2.0,
    jitter_strategy: JitterStrategy = JitterStrategy.FULL,
    retryable_errors: Sequence[str | re.Pattern[str]] = (),
    retryable_error_types: Sequence[type[BaseException]] = (),
) -> RetryStrategy:
    """Make the strategy of `create_retry_strategy` without naming its configuration."""
    return create_retry_strategy(
        RetryStrategyConfig(
            max_attempts=max_attempts,
            initial_delay=initial_delay,
            max_delay=max_delay,
            backoff_rate=backoff_rate,
            jitter_strategy=jitter_strategy,
            retryable_errors=retryable_errors,
            retryable_error_types=retryable_error_types,
        )
    )


def create_wait_strategy(
    config: WaitStrategyConfig[T], *, random: Random = JITTER
) -> WaitStrategy[T]:
    """Make a strategy that checks until the condition is met; jitter comes from *random*.

    The condition is tested before the attempt limit. What it returns raises a
    `WaitForConditionError` when the attempts run out.
    """
    _check_given(config, WaitStrategyConfig, random)
    initial, longest = _delays(config.initial_delay, config.max_delay)

    def decide(state: T, attempts_made: int) -> WaitForConditionDecision:
        if not config.should_continue_polling(state):
            return WaitForConditionDecision.stop_polling()
        if attempts_made >= config.max_attempts:
            raise WaitForConditionError(
                f"wait_for_condition exhausted {config.max_attempts} attempts "
                "before the condition was met"
            )
        seconds = _exponential(initial, config.backoff_rate, attempts_made, longest)
        return WaitForConditionDecision.continue_waiting(
            _jittered(seconds, config.jitter_strategy, random)
        )

    return decide


class RetryPresets:
    """Strategies under a name. `default` is what a step without any has."""

    @staticmethod
    def default() -> RetryStrategy:
        """Make 6 attempts: 5 s, doubled each time up to one minute, full jitter."""
        return exponential_backoff(max_attempts=6, max_delay=timedelta(minutes=1))

    @staticmethod
    def none() -> RetryStrategy:
        """Make one attempt only."""
        return exponential_backoff(max_attempts=1)

    @staticmethod
    def linear() -> RetryStrategy:
        """Make 6 attempts: 1 s, 2 s, 3 s, 4 s, 5 s between them."""
        return create_linear_retry_strategy(
            LinearRetryStrategyConfig(jitter_strategy=JitterStrategy.NONE)
        )

    @staticmethod
    def transient() -> RetryStrategy:
        """Make 3 attempts for what passes quickly: 5 s, then 10 s, half jitter."""
        return exponential_backoff(jitter_strategy=JitterStrategy.HALF)

    @staticmethod
    def resource_availability() -> RetryStrategy:
        """Make 5 attempts for what takes a while: 5 s, doubled each time, full jitter."""
        return exponential_backoff(max_attempts=5)

    @staticmethod
    def critical() -> RetryStrategy:
        """Make 10 attempts: 1 s, half as long again each time up to one minute, no jitter."""
        return exponential_backoff(
            max_attempts=10,
            initial_delay=_SECOND,
            max_delay=timedelta(minutes=1),
            backoff_rate=1.5,
            jitter_strategy=JitterStrategy.NONE,
        )

    @staticmethod
    def fixed(interval: timedelta | float = timedelta(seconds=5)) -> RetryStrategy:
        """Make 5 attempts, *interval* apart."""
        duration_seconds(interval, "interval")
        return exponential_backoff(
            max_attempts=5,
            initial_delay=interval,
            max_delay=interval,
            backoff_rate=1,
            jitter_strategy=JitterStrategy.NONE,
        )


def _check_delays(
    config: RetryStrategyConfig | LinearRetryStrategyConfig | WaitStrategyConfig[Any],
) -> None:
    duration_seconds(config.initial_delay, "initial_delay")
    duration_seconds(config.max_delay, "max_delay")
    initial, longest = _delays(config.initial_delay, config.max_delay)
    if initial > longest:
        said = f"must not be longer than max_delay, and {initial:g} s is longer than {longest:g} s"
        raise ValidationError("initial_delay", said)
    jitter = member_of(JitterStrategy, config.jitter_strategy, "jitter_strategy")
    object.__setattr__(config, "jitter_strategy", jitter)


def _check_given(config: object, kind: type, random: object) -> None:
    check_kind(config, "config", kind, f"a {kind.__name__}")
    check_kind(random, "random", Random, "a source of chance, such as random.Random()")


def _delays(initial_delay: timedelta | float, max_delay: timedelta | float) -> tuple[float, float]:
    return (
        as_timedelta(initial_delay, "initial_delay").total_seconds(),
        as_timedelta(max_delay, "max_delay").total_seconds(),
    )


def _exponential(initial: float, rate: float, attempts_made: int, longest: float) -> float:
    try:
        return float(min(initial * rate ** (attempts_made - 1), longest))
    except OverflowError:
        return longest


def _jittered(seconds: float, jitter: JitterStrategy, random: Random) -> timedelta:
    """Give the delay in whole seconds, rounded up, and at least one."""
    delay = whole_seconds(timedelta(seconds=jitter.apply(seconds, random)))
    return timedelta(seconds=min(max(1, delay), MAX_DELAY_SECONDS))


def _is_retryable(
    error: Exception, config: RetryStrategyConfig | LinearRetryStrategyConfig
) -> bool:
    if not config.retryable_errors and not config.retryable_error_types:
        return True
    if isinstance(error, tuple(config.retryable_error_types)):
        return True
    text = str(error)
    return any(
        wanted in text if isinstance(wanted, str) else wanted.search(text) is not None
        for wanted in config.retryable_errors
    )
