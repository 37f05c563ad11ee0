"""What a call on a context was given: refused at the call, where nothing has been recorded yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import CO_VARARGS, signature
from types import FunctionType
from typing import Any, TypeVar, cast

from durably.checks import check_function, check_kind, check_serdes, shown
from durably.config import (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    FanOutConfig,
    InvokeConfig,
    NamedParallelBranch,
    StepConfig,
    WaitForCallbackConfig,
    WaitForConditionConfig,
    WithRetryConfig,
)
from durably.errors import ValidationError
from durably.limits import as_short_text
from durably.serdes import ChooseSerdes, Serdes, typed_serdes

ConfigT = TypeVar("ConfigT")

_CONFIGS: tuple[type[Any], ...] = (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    FanOutConfig,
    InvokeConfig,
    StepConfig,
    WaitForCallbackConfig,
    WaitForConditionConfig,
    WithRetryConfig,
)


def config_of(kind: type[ConfigT], given: object, usual: ConfigT | None) -> ConfigT:
    """Give the configuration of an operation: *given*, or the *usual* one.

    Raises:
        ValidationError: it is that of another operation, or none at all.
    """
    if given is None and usual is not None:
        return usual
    if isinstance(given, kind):
        return given
    name = kind.__name__
    if isinstance(given, CompletionConfig) and issubclass(kind, FanOutConfig):
        raise ValidationError("config", f"must be a {name}: write {name}(completion_config=…)")
    said = type(given).__name__ if isinstance(given, _CONFIGS) else shown(given)
    raise ValidationError("config", f"must be a {name}, not {said}")


def check_body(function: object, field: str, args: tuple[object, ...] = ()) -> None:
    """Refuse what an operation cannot call, and a configuration among what it is called with.

    Raises:
        ValidationError: so it is; the text says what to write.
    """
    check_function(function, field, "a function: the name comes before it, its arguments after it")
    for arg in args:
        if isinstance(arg, _CONFIGS):
            name = type(arg).__name__
            said = f"{name} is among what the function is called with: write config={name}(…)"
            raise ValidationError("config", said)


def check_takes(function: Callable[..., Any], field: str, count: int, wanted: str) -> None:
    """Refuse a body of a context that cannot be called with *count* values, the context first.

    Raises:
        ValidationError: it cannot; the text says what it must take: *wanted*.
    """
    if not _takes(function, count):
        taken = str(signature(function))
        raise ValidationError(field, f"must take {wanted}, the context first, and takes {taken}")


def _takes(function: Callable[..., Any], count: int) -> bool:
    if isinstance(function, FunctionType) and not function.__code__.co_kwonlyargcount:
        code, defaults = function.__code__, function.__defaults__ or ()
        is_open = code.co_flags & CO_VARARGS
        return code.co_argcount - len(defaults) <= count and (
            bool(is_open) or count <= code.co_argcount
        )
    try:
        signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a class of Python's own, which does not tell
        return True
    return True


def list_of(values: object, field: str) -> list[Any]:
    """List what is given one after the other.

    Raises:
        ValidationError: *values* gives nothing.
    """
    if not isinstance(values, Iterable):
        raise ValidationError(field, f"must be a list, not {shown(values)}")
    return [*values]


def branch_of(
    branch: Callable[..., Any] | NamedParallelBranch[Any], index: int
) -> NamedParallelBranch[Any]:
    """Give *branch* with its name.

    Raises:
        ValidationError: it cannot be called with a context.
    """
    if callable(branch):
        branch = NamedParallelBranch(f"parallel-branch-{index}", branch)
    wanted = "functions that get a context, or NamedParallelBranch(name, function)"
    check_kind(branch, "branches", NamedParallelBranch, wanted)
    check_takes(branch.func, f"branches[{index}]", 1, "one value")
    return branch


def checked_choice(choose: ChooseSerdes) -> ChooseSerdes:
    """Give *choose*, held to give a serdes for whatever it is asked.

    Raises:
        ValidationError: it cannot be called.
    """
    if choose is typed_serdes:
        return choose
    wanted = "a function that gives a serdes for an annotation, such as typed_serdes"
    check_function(choose, "default_serdes", wanted)

    def chosen(annotation: Any) -> Serdes[Any]:
        given: Any = choose(annotation)
        if given is None:
            raise ValidationError("default_serdes", f"gave None for {annotation!r:.100}")
        check_serdes(given, "default_serdes")
        return cast("Serdes[Any]", given)

    return chosen


def function_name_of(function_name: object) -> str:
    """Read the name of a function.

    Raises:
        ValidationError: it is none.
    """
    if not isinstance(function_name, str):
        name = getattr(function_name, "name", None)
        hint = f": write {name!r}" if isinstance(name, str) else ""
        said = f"must be the name of a function, not {type(function_name).__name__}{hint}"
        raise ValidationError("function_name", said)
    return as_short_text(function_name, "function_name")
