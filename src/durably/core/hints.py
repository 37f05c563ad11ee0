"""What a function's signature says of the values that go in and come out."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

from durably.checks import check_function, shown
from durably.errors import ValidationError

_AWAITABLES = (Awaitable, Coroutine)


def annotation_of(function: Callable[..., Any], parameter: str) -> Any:
    """Resolve one annotation of *function*; `Any` when it has none, or names what is not global."""
    while isinstance(function, partial):
        function = function.func
    annotations = getattr(function, "__annotations__", None)
    if not annotations or parameter not in annotations:
        return Any
    annotation = annotations[parameter]
    if isinstance(annotation, str):
        annotation = _meaning(function, parameter, annotation)
    if get_origin(annotation) in _AWAITABLES:
        return get_args(annotation)[-1]
    return annotation


_resolved: dict[tuple[str, str, str, str], Any] = {}
"""What annotations written as text mean, by module and name of the function, parameter and text."""


def _meaning(function: Callable[..., Any], parameter: str, text: str) -> Any:
    module = getattr(function, "__module__", "")
    key = (module, getattr(function, "__qualname__", ""), parameter, text)
    if key not in _resolved:
        _resolved[key] = _resolve(function, parameter, text)
    return _resolved[key]


def _resolve(function: Callable[..., Any], parameter: str, text: str) -> Any:
    only = SimpleNamespace(__annotations__={parameter: text})
    known = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return get_type_hints(only, known, include_extras=True)[parameter]
    except (NameError, AttributeError, SyntaxError, TypeError):
        return Any


def positional_parameters(function: Callable[..., Any]) -> list[str]:
    """Name the parameters of *function* that can be given by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def handler_parameters(handler: Callable[..., Any]) -> list[str]:
    """Name the two parameters of *handler*.

    Raises:
        ValidationError: it has not two, or is no function.
    """
    wanted = "a function of the event and the context"
    check_function(handler, "handler", wanted)
    try:
        parameters = positional_parameters(handler)
    except ValueError:  # a class of Python's own, such as int
        raise ValidationError("handler", f"must be {wanted}, not {shown(handler)}") from None
    if len(parameters) != 2:  # noqa: PLR2004 - the event and the context
        text = f"must take the event and the context, and takes ({', '.join(parameters)})"
        raise ValidationError("handler", text)
    if not isinstance(getattr(handler, "__name__", None), str):
        said = f"has no name to be registered as: write a def around {shown(handler)}"
        raise ValidationError("handler", said)
    return parameters


def count_for_item(function: Callable[..., Any]) -> int:
    """Say how many values the body of a map gets: context and item, and more if it asks.

    A third positional parameter gets the index, a fourth the items.
    """
    try:
        return min(max(len(positional_parameters(function)), 2), 4)
    except ValueError:  # a class of Python's own, such as int
        return 2


def item_caller(
    function: Callable[..., Any], items: Sequence[Any]
) -> Callable[[Any, int], Callable[[Any], Any]]:
    """Make the body of each item of a map out of *function*."""
    count = count_for_item(function)

    def body_of(item: Any, index: int) -> Callable[[Any], Any]:
        more = (index, items)[: count - 2]
        return partial(_call_with_context, function, (item, *more))

    return body_of


def _call_with_context(function: Callable[..., Any], args: tuple[Any, ...], ctx: Any) -> Any:
    return function(ctx, *args)
