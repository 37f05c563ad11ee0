from __future__ import annotations

from datetime import timedelta

import pytest

from durably.errors import ValidationError
from durably.limits import (
    MAX_CALLBACK_TIMEOUT_SECONDS,
    MAX_DELAY_SECONDS,
    as_timedelta,
    check_count,
    check_length,
    check_name,
    check_percentage,
    check_sub_type,
    duration_seconds,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (3, 3),
        (3.0, 3),
        (0.1, 1),
        (2.000001, 3),
        (0.1 + 0.2, 1),
        (3.0000000001, 3),
        (timedelta(days=1), 86_400),
        (timedelta(seconds=1, microseconds=1), 2),
        (timedelta(0), 0),
        (MAX_DELAY_SECONDS, 31_622_400),
    ],
)
def test_a_duration_is_a_timedelta_or_seconds_and_fractions_are_rounded_up(
    value: timedelta | float, seconds: int
) -> None:
    assert duration_seconds(value, "delay") == seconds


@pytest.mark.parametrize(
    "value",
    [
        -1,
        -0.001,
        timedelta(microseconds=-1),
        float("nan"),
        float("inf"),
        float("-inf"),
        1e300,
        10**400,
        True,
        False,
        None,
        "5",
        b"5",
        [5],
        MAX_DELAY_SECONDS + 1,
        timedelta(days=367),
    ],
)
def test_what_is_no_duration_is_refused_by_the_name_of_its_field(value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        duration_seconds(value, "delay")

    assert caught.value.field == "delay"


def test_a_duration_under_the_minimum_is_refused_and_not_rounded_up_to_it() -> None:
    with pytest.raises(ValidationError, match=r"at least 1 second, not 0\.5"):
        duration_seconds(0.5, "duration", minimum=1)
    with pytest.raises(ValidationError, match="at least 2 seconds"):
        duration_seconds(1, "duration", minimum=2)

    assert duration_seconds(1, "duration", minimum=1) == 1


def test_the_maximum_can_be_another_one() -> None:
    longest = MAX_CALLBACK_TIMEOUT_SECONDS

    assert duration_seconds(longest, "timeout", maximum=longest) == 99_999_999
    with pytest.raises(ValidationError, match="at most 1157 days 9 hours"):
        duration_seconds(longest + 1, "timeout", maximum=longest)


def test_a_duration_is_kept_to_the_microsecond() -> None:
    assert as_timedelta(0.25, "timeout") == timedelta(milliseconds=250)
    assert as_timedelta(timedelta(microseconds=1), "timeout") == timedelta(microseconds=1)


@pytest.mark.parametrize("name", [None, "x", "a name", "~!@#$%^&*()", " ", "x" * 256])
def test_a_name_is_printable_ascii(name: str | None) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "x" * 257, "é", "a\nb", "a\x00", "\x7f", "\ud800", 5, b"x"])
def test_a_name_that_the_protocol_cannot_carry_is_refused(name: object) -> None:
    with pytest.raises(ValidationError) as caught:
        check_name(name, "item name")

    assert caught.value.field == "item name"


@pytest.mark.parametrize("sub_type", [None, "Step", "a-b_C9", "x" * 32])
def test_a_sub_type_is_letters_digits_dashes_and_underscores(sub_type: str | None) -> None:
    check_sub_type(sub_type)


@pytest.mark.parametrize("sub_type", ["", "x" * 33, "a b", "a.b", "é", "a\n", 5])
def test_a_sub_type_that_the_protocol_cannot_carry_is_refused(sub_type: object) -> None:
    with pytest.raises(ValidationError):
        check_sub_type(sub_type)


@pytest.mark.parametrize("text", ["", "x" * 257, None, 5])
def test_text_has_one_to_256_characters(text: object) -> None:
    check_length("x", "function_name")
    check_length("x" * 256, "function_name")

    with pytest.raises(ValidationError, match="function_name"):
        check_length(text, "function_name")


@pytest.mark.parametrize("count", [0, -1, 1.0, True, "1", None])
def test_a_count_is_a_whole_number_from_its_minimum(count: object) -> None:
    check_count(1, "max_concurrency", minimum=1)

    with pytest.raises(ValidationError, match="max_concurrency: must be a whole number from 1"):
        check_count(count, "max_concurrency", minimum=1)


@pytest.mark.parametrize("percentage", [-0.1, 100.1, True, "5", None, float("nan")])
def test_a_percentage_is_a_number_from_0_to_100(percentage: object) -> None:
    check_percentage(0, "p")
    check_percentage(99.5, "p")
    check_percentage(100, "p")

    with pytest.raises(ValidationError):
        check_percentage(percentage, "p")
