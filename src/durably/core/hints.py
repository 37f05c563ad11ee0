"""What a function's signature says of the values that go in and come out."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import cache, partial
from typing import Any, get_args, get_origin, get_type_hints

from durably.serdes import Serdes, typed_serdes

_AWAITABLES = (Awaitable, Coroutine)


def result_serdes(function: Callable[..., Any]) -> Serdes[Any]:
    """Give the serdes for what *function* returns, by its annotation if that can be resolved."""
    return typed_serdes(annotation_of(function, "return"))


def annotation_of(function: Callable[..., Any], parameter: str) -> Any:
    """Resolve one annotation of *function*; `Any` when it has none, or names what is not global."""
    while isinstance(function, partial):
        function = function.func
    annotations = getattr(function, "__annotations__", None)
    if not annotations or parameter not in annotations:
        return Any
    annotation = annotations[parameter]
    if isinstance(annotation, str):
        annotation = _resolved(_Unresolved(function, parameter, annotation))
    if get_origin(annotation) in _AWAITABLES:
        return get_args(annotation)[-1]
    return annotation


class _Unresolved:
    """An annotation, as a key: functions of one module and one name mean the same by one text."""

    __slots__ = ("_key", "function", "parameter")

    def __init__(self, function: Callable[..., Any], parameter: str, text: str) -> None:
        self.function = function
        self.parameter = parameter
        self._key = (
            getattr(function, "__module__", None),
            getattr(function, "__qualname__", None),
            parameter,
            text,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unresolved) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@cache
def _resolved(unresolved: _Unresolved) -> Any:
    try:
        hints = get_type_hints(unresolved.function, include_extras=True)
    except (NameError, AttributeError, TypeError):
        return Any
    return hints.get(unresolved.parameter, Any)


def positional_parameters(function: Callable[..., Any]) -> list[str]:
    """Name the parameters of *function* that can be given by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def item_caller(
    function: Callable[..., Any], items: Sequence[Any]
) -> Callable[[Any, int], Callable[[Any], Any]]:
    """Make the body of each item of a map: *function* gets context and item, and more if it asks.

    A third positional parameter gets the index, a fourth the items.
    """
    wanted = min(max(len(positional_parameters(function)) - 2, 0), 2)

    def body_of(item: Any, index: int) -> Callable[[Any], Any]:
        more = (index, items)[:wanted]
        return partial(_call_with_context, function, (item, *more))

    return body_of


def _call_with_context(function: Callable[..., Any], args: tuple[Any, ...], ctx: Any) -> Any:
    return function(ctx, *args)
