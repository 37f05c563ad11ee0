from __future__ import annotations

from typing import Any

import pytest

from durably.errors import ValidationError
from durably.plugins.preview import (
    FieldMatchMode,
    PreviewConfig,
    PreviewField,
    PreviewMode,
    build_preview,
)

ORDER: dict[str, Any] = {
    "id": "order-7",
    "card": {"number": "4111", "holder": "ann"},
    "items": [
        {"sku": "a", "price": {"net": 1}},
        {"sku": "b", "gift": True},
    ],
    "tags": ["x", "y"],
    "empty": {},
    "nothing": None,
    "matrix": [[1], [2]],
}


def field(name: str) -> PreviewField:
    return PreviewField(name)


def place(path: str) -> PreviewField:
    return PreviewField(path, FieldMatchMode.PATH)


def shown(
    mode: PreviewMode = PreviewMode.INCLUDE_ALL, value: Any = ORDER, **rules: Any
) -> dict[str, Any] | None:
    return build_preview(value, PreviewConfig(mode=mode, **rules))


def test_all_is_shown_and_the_objects_of_a_list_as_one() -> None:
    assert shown() == {
        "id": "order-7",
        "card": {"number": "4111", "holder": "ann"},
        "items": {"sku": "a", "price": {"net": 1}, "gift": True},
        "tags": ["x", "y"],
    }


def test_nothing_is_shown_that_is_not_included() -> None:
    assert shown(PreviewMode.EXCLUDE_ALL) is None
    assert shown(PreviewMode.EXCLUDE_ALL, include=(field("id"), field("price"))) == {
        "id": "order-7",
        "items": {"price": {"net": 1}},
    }


def test_what_is_included_is_shown_with_all_that_is_in_it() -> None:
    assert shown(PreviewMode.EXCLUDE_ALL, include=(field("card"),)) == {"card": ORDER["card"]}


def test_excluding_wins_over_including_and_masking() -> None:
    rules = {"include": (field("card"),), "mask": (field("number"),)}

    assert shown(PreviewMode.EXCLUDE_ALL, exclude=(field("number"),), **rules) == {
        "card": {"holder": "ann"}
    }
    assert shown(PreviewMode.EXCLUDE_ALL, exclude=(field("card"),), **rules) is None


def test_what_is_masked_is_visible_as_a_mask() -> None:
    assert shown(PreviewMode.EXCLUDE_ALL, mask=(field("number"),)) == {"card": {"number": "***"}}
    assert shown(PreviewMode.EXCLUDE_ALL, mask=(field("card"),), mask_string="?") == {"card": "?"}


def test_a_place_means_one_member_only() -> None:
    value = {"name": 1, "customer": {"name": 2}, "list": [{"name": 3}]}

    assert shown(value=value, exclude=(place("name"),)) == {
        "customer": {"name": 2},
        "list": {"name": 3},
    }
    assert shown(value=value, exclude=(place("customer.name"), place("list.name"))) == {"name": 1}


def test_a_name_with_a_dot_is_not_shown_where_places_are_named() -> None:
    value = {"card.number": "4111", "card": {"number": "4111"}, "id": 1}

    assert shown(value=value, exclude=(place("card.number"),)) == {"id": 1}
    assert shown(value=value, exclude=(field("card"),)) == {"card.number": "4111", "id": 1}


def test_members_are_added_until_the_preview_is_long_enough() -> None:
    value = {f"member-{number}": "x" * 20 for number in range(100)}

    assert shown(value=value, max_preview_bytes=100) == {
        "member-0": "x" * 20,
        "member-1": "x" * 20,
    }
    assert shown(value=value, mask=(field("member-0"),), max_preview_bytes=2) is None


@pytest.mark.parametrize("value", [None, 5, "x", [], [1, 2], [[{"a": 1}]], {}])
def test_what_has_no_members_has_no_preview(value: Any) -> None:
    assert shown(value=value) is None


def test_a_preview_of_no_length_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_preview_bytes"):
        PreviewConfig(mode=PreviewMode.INCLUDE_ALL, max_preview_bytes=1)
