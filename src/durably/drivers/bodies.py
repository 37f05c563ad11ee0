"""What kind of function user code is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import CO_COROUTINE
from typing import Any


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling *function* only makes a coroutine, so that it may be called in a loop."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(getattr(type(function), "__call__", None), "__code__", None)
    return code is not None and bool(code.co_flags & CO_COROUTINE)
