import functools
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from durably.core.given import check_takes
from durably.core.hints import annotation_of, handler_parameters, item_caller, positional_parameters
from durably.errors import ValidationError
from durably.serdes import SerdesContext, typed_serdes

if TYPE_CHECKING:
    from decimal import Decimal

CONTEXT = SerdesContext("1", "arn")


def plain() -> int: ...  # type: ignore[empty-body]


async def coroutine() -> int: ...  # type: ignore[empty-body]


def gives_an_awaitable() -> Awaitable[int]: ...  # type: ignore[empty-body]


def gives_a_coroutine() -> Coroutine[Any, Any, int]: ...  # type: ignore[empty-body]


def in_quotes() -> "int": ...  # type: ignore[empty-body]


def beside_an_unknown_name(first: "Decimal") -> "int": ...  # type: ignore[empty-body]


@functools.wraps(in_quotes)
def wrapped() -> "int": ...  # type: ignore[empty-body]


def without(): ...  # type: ignore[no-untyped-def]


def of_an_unknown_name() -> "Decimal": ...  # type: ignore[empty-body]


def in_bad_quotes() -> int: ...  # type: ignore[empty-body]


in_bad_quotes.__annotations__["return"] = "int["


@pytest.mark.parametrize(
    "function",
    [
        plain,
        coroutine,
        gives_an_awaitable,
        gives_a_coroutine,
        in_quotes,
        wrapped,
        beside_an_unknown_name,
        partial(partial(plain)),
    ],
)
def test_what_a_function_returns_is_what_its_awaitable_gives(
    function: Callable[..., Any],
) -> None:
    assert annotation_of(function, "return") is int
    assert annotation_of(function, "return") is int  # found again


@pytest.mark.parametrize("function", [without, len, of_an_unknown_name, in_bad_quotes])
def test_what_cannot_be_told_is_any(function: Callable[..., Any]) -> None:
    assert annotation_of(function, "return") is Any


def test_a_result_is_read_by_the_annotation() -> None:
    def days() -> tuple[int, ...]: ...  # type: ignore[empty-body]

    assert typed_serdes(annotation_of(days, "return")).deserialize("[1,2]", CONTEXT) == (1, 2)


def test_only_parameters_given_by_position_are_named() -> None:
    def f(a: int, /, b: int, *c: int, d: int, **e: int) -> None: ...

    assert positional_parameters(f) == ["a", "b"]


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (lambda *all_of_it: all_of_it, ("ctx", "y")),
        (lambda ctx, item: (ctx, item), ("ctx", "y")),
        (lambda ctx, item, index: (ctx, item, index), ("ctx", "y", 1)),
        (lambda ctx, item, index, items: (ctx, item, index, items), ("ctx", "y", 1, ["x", "y"])),
    ],
)
def test_a_map_gives_the_index_and_the_items_to_a_function_that_takes_them(
    function: Callable[..., Any], result: tuple[Any, ...]
) -> None:
    body_of = item_caller(function, ["x", "y"])

    assert body_of("y", 1)("ctx") == result


def test_a_class_that_tells_no_parameters_gets_the_context_and_the_item() -> None:
    body_of = item_caller(slice, ["x"])

    assert body_of("x", 0)("ctx") == slice("ctx", "x")


def test_a_class_that_tells_no_parameters_is_taken_for_a_body() -> None:
    check_takes(slice, "fn", 2, "two values")
    with pytest.raises(ValidationError, match="must take three values"):
        check_takes(len, "fn", 3, "three values")


def test_a_handler_needs_a_name_to_be_registered_as() -> None:
    nameless = partial(lambda more, event, ctx: event, 1)

    with pytest.raises(ValidationError, match="has no name to be registered as"):
        handler_parameters(nameless)
