from datetime import timedelta
from typing import Any

import pytest

from durably import Engine, FunctionNotFoundError, ValidationError, durable_execution
from durably.limits import duration_seconds
from durably.words import did_you_mean, in_words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (0.25, "0.25 seconds"),
        (1, "1 second"),
        (90.0, "90 seconds"),
        (120, "2 minutes"),
        (3_601, "1 hour 1 second"),
        (86_400.5, "1 day 0.5 seconds"),
        (31_622_400, "366 days"),
        (99_999_999, "1157 days 9 hours 46 minutes 39 seconds"),
        (timedelta.max.total_seconds(), "1000000000 days"),
    ],
)
def test_a_length_of_time_is_said_in_the_units_that_people_use(seconds: float, said: str) -> None:
    assert in_words(seconds) == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (31_622_401, "at most 366 days, not 366 days 1 second"),
        (timedelta(days=400), "at most 366 days, not 400 days"),
        (timedelta(hours=-5), "must not be negative, and -5 hours is"),
    ],
)
def test_a_duration_that_is_refused_is_said_in_words(given: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        duration_seconds(given, "duration")


@pytest.mark.parametrize(
    ("name", "said"),
    [("fulfill", " Did you mean 'fulfil'?"), ("audit", ""), ("", ""), ("f" * 10**6, "")],
)
def test_the_known_name_that_is_most_like_one_may_have_been_meant(name: str, said: str) -> None:
    assert did_you_mean(name, ("fulfil", "refund")) == said


@durable_execution
async def fulfil(order: Any, ctx: Any) -> None:
    """Do nothing."""


async def test_an_engine_asks_whether_another_function_was_meant() -> None:
    async with Engine("memory:", functions=[fulfil]) as engine:
        with pytest.raises(FunctionNotFoundError, match=r"'fulfill'.*are: fulfil\. Did you mean"):
            await engine.start("fulfill")
