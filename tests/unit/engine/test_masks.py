"""What stands in for a value has its form, and is another one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durably.engine.masks import Masks

FORMS: dict[str, Callable[[str], object]] = {
    "2026-01-05": date.fromisoformat,
    "2026-01-05T10:11:12.123Z": datetime.fromisoformat,
    "2026-01-05 10:11+02:00": datetime.fromisoformat,
    "10:11:12": time.fromisoformat,
    "550e8400-e29b-41d4-a716-446655440000": UUID,
    "-12.50": Decimal,
    "1.5E+7": Decimal,
    "deadbeef01": bytes.fromhex,
    "P1DT2H": lambda text: msgspec.convert(text, timedelta),
}


@pytest.mark.parametrize("text", FORMS)
def test_text_of_a_form_keeps_it(text: str) -> None:
    masked = Masks().text(text)

    assert masked != text
    FORMS[text](masked)  # it can still be read


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ada@example.com", "aaa@aaaaaaa.aab"),
        ("Ada L.", "Aaa B."),
        ("Ärger", "aaaab"),
        ("AB-12", "AA-01"),
        ("a", "b"),
        ("b", "c"),
    ],
)
def test_other_text_keeps_its_length_and_where_letters_and_digits_are(
    text: str, masked: str
) -> None:
    assert Masks().text(text) == masked


@pytest.mark.parametrize("text", ["", " ", "0", "0.00", "-", "!?"])
def test_what_says_nothing_stays(text: str) -> None:
    assert Masks().text(text) == text


@pytest.mark.parametrize("number", [0, 0.0])
def test_zero_stays(number: float) -> None:
    assert Masks().number(number) == number


@pytest.mark.parametrize("number", [2, 7, -7, 1234, -1234, 10**40, 0.93, -2.5, 1e308, 5e-324])
def test_a_number_keeps_its_sign_its_type_and_about_its_size(number: float) -> None:
    masked = Masks().number(number)

    assert type(masked) is type(number)
    assert masked != number
    assert (masked > 0) == (number > 0)
    if isinstance(number, int):
        assert len(str(masked)) == len(str(number))
    elif abs(number) > 1e-300:
        assert 0.1 < masked / number < 10


@given(texts=st.lists(st.text("abXY01-@", min_size=3, max_size=5), unique=True))
def test_the_same_text_has_one_mask_and_other_texts_others(texts: list[str]) -> None:
    masks = Masks()

    first = [masks.text(text) for text in texts]

    assert [masks.text(text) for text in texts] == first
    assert len(set(first)) == len(texts)


def test_numbers_that_are_equal_and_of_different_types_have_different_masks() -> None:
    masks = Masks()

    assert type(masks.number(5)) is int
    assert type(masks.number(5.0)) is float


@pytest.mark.parametrize("name", ["id", "unit_price", "lineItems", "order-id", "_x"])
def test_a_member_that_looks_like_one_keeps_its_name(name: str) -> None:
    assert Masks().member(name) == name


@pytest.mark.parametrize("name", ["ada@example.com", "AB-12", "two words", "7"])
def test_a_member_that_looks_like_a_value_does_not(name: str) -> None:
    masks = Masks()

    assert masks.member(name) == masks.text(name) != name
