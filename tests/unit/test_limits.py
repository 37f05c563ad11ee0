from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import Enum, IntEnum, StrEnum

import pytest

from durably.errors import ValidationError
from durably.limits import (
    MAX_CALLBACK_TIMEOUT_SECONDS,
    MAX_DELAY_SECONDS,
    as_count,
    as_name,
    as_short_text,
    as_sub_type,
    as_text,
    as_timedelta,
    check_percentage,
    duration_seconds,
)

HUGE = pytest.param(10**5000, id="5001 digits")  # more than Python would show


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
        HUGE,
        timedelta.max,
        timedelta.min,
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
    assert as_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 257, "é", "a\nb", "a\x00", "\x7f", "\ud800", 5, b"x"])
def test_a_name_that_the_protocol_cannot_carry_is_refused(name: object) -> None:
    with pytest.raises(ValidationError) as caught:
        as_name(name, "item name")

    assert caught.value.field == "item name"


@pytest.mark.parametrize("sub_type", [None, "Step", "a-b_C9", "x" * 32])
def test_a_sub_type_is_letters_digits_dashes_and_underscores(sub_type: str | None) -> None:
    assert as_sub_type(sub_type) == sub_type


@pytest.mark.parametrize("sub_type", ["", "x" * 33, "a b", "a.b", "é", "a\n", 5])
def test_a_sub_type_that_the_protocol_cannot_carry_is_refused(sub_type: object) -> None:
    with pytest.raises(ValidationError):
        as_sub_type(sub_type)


@pytest.mark.parametrize("text", ["", "x" * 257, None, 5, "\ud800"])
def test_short_text_has_one_to_256_characters(text: object) -> None:
    assert as_short_text("x", "function_name") == "x"
    assert as_short_text("x" * 256, "function_name") == "x" * 256

    with pytest.raises(ValidationError, match="function_name"):
        as_short_text(text, "function_name")


@pytest.mark.parametrize("text", [None, 5, b"x", ["x"], "\ud800"])
def test_text_is_what_utf8_can_say(text: object) -> None:
    assert as_text("", "reason") == ""
    assert as_text("é\0", "reason") == "é\0"

    with pytest.raises(ValidationError, match="reason: must be text"):
        as_text(text, "reason")


@pytest.mark.parametrize("count", [0, -1, 1.0, True, "1", None, 2**63, HUGE])
def test_a_count_is_a_whole_number_from_its_minimum(count: object) -> None:
    assert as_count(1, "max_concurrency", minimum=1) == 1
    assert as_count(2**63 - 1, "max_concurrency", minimum=1) == 2**63 - 1

    with pytest.raises(ValidationError, match="max_concurrency: must be a whole number from 1"):
        as_count(count, "max_concurrency", minimum=1)


def test_a_count_may_have_a_maximum() -> None:
    assert as_count(90, "retention_days", minimum=1, maximum=90) == 90

    with pytest.raises(ValidationError, match="a whole number from 1 to 90, not 91"):
        as_count(91, "retention_days", minimum=1, maximum=90)


class Marked(str):
    __slots__ = ()


class Colour(StrEnum):
    RED = "red"


class Size(str, Enum):  # noqa: UP042 - the one that is not formatted as its value
    LARGE = "large"


class Few(IntEnum):
    TWO = 2


@pytest.mark.parametrize(
    ("text", "value"), [(Marked("x"), "x"), (Colour.RED, "red"), (Size.LARGE, "large")]
)
@pytest.mark.parametrize("read", [as_name, as_sub_type, as_short_text, as_text])
def test_text_of_a_derived_class_becomes_plain(
    read: Callable[[str, str], str], text: str, value: str
) -> None:
    found = read(text, "field")

    assert type(found) is str
    assert found == value


def test_a_number_of_a_derived_class_becomes_plain() -> None:
    assert type(as_count(Few.TWO, "limit", minimum=1)) is int
    assert type(duration_seconds(Few.TWO, "delay")) is int


@pytest.mark.parametrize("percentage", [-0.1, 100.1, True, "5", None, float("nan")])
def test_a_percentage_is_a_number_from_0_to_100(percentage: object) -> None:
    check_percentage(0, "p")
    check_percentage(99.5, "p")
    check_percentage(100, "p")

    with pytest.raises(ValidationError):
        check_percentage(percentage, "p")
