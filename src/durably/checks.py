"""What is put where: every value is of the kind that its place is for, or is refused by name.

What the values themselves may be, lengths of time and the like, `durably.limits` says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum
from inspect import iscoroutine, isroutine, signature
from re import Pattern
from types import FunctionType, UnionType
from typing import Any, TypeVar, cast

from durably.errors import ValidationError

EnumT = TypeVar("EnumT", bound=StrEnum)

_TWO = ("", 1)


def shown(value: object) -> str:
    """Name *value* in a refusal, with a hint at what is the matter with it."""
    if isroutine(value):
        name = getattr(value, "__qualname__", repr(value))
        return f"the function {name}: are its parentheses missing?"
    if iscoroutine(value):
        value.close()  # nobody is going to await it, and Python would warn of that besides
        return f"the coroutine of {value.__qualname__}(…): leave the call to the operation"
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    try:
        return f"{value!r:.100}"
    except Exception:  # noqa: BLE001 - it may be anything, a number of too many digits for one
        return f"a value of type {type(value).__qualname__}"


def check_kind(value: object, field: str, kind: type | UnionType, wanted: str) -> None:
    """Refuse what is no *kind*; *wanted* says what to give instead.

    Raises:
        ValidationError: so it is.
    """
    if not isinstance(value, kind):
        raise ValidationError(field, f"must be {wanted}, not {shown(value)}")


def member_of(members: type[EnumT], value: object, field: str) -> EnumT:
    """Give the member of an enumeration that *value* is, or is the text of.

    Raises:
        ValidationError: there is none.
    """
    found = members._value2member_map_.get(value) if isinstance(value, str) else None
    if isinstance(found, members):
        return found
    names = " or ".join(f"{members.__name__}.{member.name}" for member in members)
    raise ValidationError(field, f"must be {names}, not {shown(value)}")


def check_function(value: object, field: str, wanted: str) -> None:
    """Refuse what cannot be called; *wanted* says what to give instead.

    Raises:
        ValidationError: so it is.
    """
    if not callable(value):
        raise ValidationError(field, f"must be {wanted}, not {shown(value)}")


def check_optional_function(value: object, field: str) -> None:
    """Refuse what is neither `None` nor a function."""
    if value is not None:
        check_function(value, field, "a function or None")


def check_retry_strategy(value: object) -> None:
    """Refuse what cannot be called with an error and the number of attempts.

    Raises:
        ValidationError: so it is.
    """
    made = "a strategy, such as RetryPresets.none()"
    _check_strategy(value, "retry_strategy", f"{made}, or a function of error and attempts made")


def check_wait_strategy(value: object) -> None:
    """Refuse what cannot be called with a state and the number of checks; see there."""
    made = "a strategy, such as create_wait_strategy(…)"
    _check_strategy(value, "wait_strategy", f"{made}, or a function of state and checks made")


def check_errors(texts: object, kinds: object) -> None:
    """Refuse what does not say which errors are tried again.

    Raises:
        ValidationError: so it is.
    """
    field, wanted = "retryable_errors", 'a list of texts or patterns, such as ["503"]'
    for text in listed_in(texts, field, wanted):
        check_kind(text, field, str | Pattern, wanted)
    field, wanted = "retryable_error_types", "a list of classes of errors, such as [ValueError]"
    for kind in listed_in(kinds, field, wanted):
        if not (isinstance(kind, type) and issubclass(cast("type[Any]", kind), BaseException)):
            raise ValidationError(field, f"must be {wanted}, not {shown(kind)}")


def check_serdes(value: object, field: str = "serdes") -> None:
    """Refuse what is neither `None` nor something that writes and reads.

    Raises:
        ValidationError: so it is.
    """
    if value is None:
        return
    given: Any = value
    methods = (getattr(given, "serialize", None), getattr(given, "deserialize", None))
    is_bare = isinstance(value, type) and not _takes_two(methods[0])  # its methods lack their self
    if is_bare or not all(map(callable, methods)):
        wanted = "an object that can serialize and deserialize, such as json_serdes(int)"
        raise ValidationError(field, f"must be {wanted}, not {shown(value)}")


def check_flag(value: object, field: str) -> None:
    """Refuse what is neither true nor false."""
    check_kind(value, field, bool, "True or False")


def listed_in(values: object, field: str, wanted: str) -> Iterable[object]:
    """Give what is listed in *values*; *wanted* says what to give instead.

    Raises:
        ValidationError: it is no list, tuple or set; a single text is none either.
    """
    if isinstance(values, str) or not isinstance(values, Collection):
        raise ValidationError(field, f"must be {wanted}, not {shown(values)}")
    return cast("Iterable[object]", values)


def _check_strategy(value: object, field: str, wanted: str) -> None:
    if isinstance(value, FunctionType) and value.__code__.co_argcount == len(_TWO):
        return
    if not callable(value) or not _takes_two(value):
        raise ValidationError(field, f"must be {wanted}, not {shown(value)}")


def _takes_two(function: Any) -> bool:
    try:
        signature(function).bind(*_TWO)
    except TypeError:
        return False
    except ValueError:  # nothing is known of its parameters
        return True
    return True
