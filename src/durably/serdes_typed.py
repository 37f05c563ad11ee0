"""Values with an annotation: plain JSON, read back by the annotation.

What is written is read back at once and compared, so a value that its annotation would change, or
that does not fit it, is refused when it is written and not when it is needed.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec

from durably.errors import ChildContextError, DurableOperationError, SerdesError
from durably.serdes_json import check_depth, check_keys, class_of, read_json, too_deep
from durably.serdes_tagged import is_envelope, untag
from durably.wire.base import WireStruct
from durably.wire.operation import ErrorObject

T = TypeVar("T")

_SCALARS = frozenset({str, int, float, bool, bytes, bytearray, types.NoneType})
_CONCRETE = frozenset({*_SCALARS, datetime, date, time, timedelta, Decimal, UUID})
_COMPOUND = frozenset({list, dict, tuple, set, frozenset, Union, types.UnionType})


class TypedSerdes(Generic[T]):
    """Writes plain JSON and reads it as one type."""

    __slots__ = ("_decode", "_type")

    def __init__(self, annotation: Any) -> None:
        self._type = annotation
        self._decode: Callable[[str], T] = msgspec.json.Decoder(
            annotation, dec_hook=read_object
        ).decode

    def serialize(self, value: T, _context: object, /) -> str:
        """Write *value*.

        Raises:
            SerdesError: reading it back would not give the same. The text says where.
        """
        try:
            text = encode(value).decode()
            back = self._decode(text)
        except RecursionError:
            raise too_deep() from None
        except (ValueError, TypeError, OverflowError) as error:
            raise SerdesError(f"does not fit {name_of(self._type)}: {error}") from error
        check_depth(text)
        found = difference(value, back)
        if found is not None:
            raise SerdesError(f"as {name_of(self._type)}, ${found}")
        return text

    def deserialize(self, text: str, _context: object, /) -> T:
        """Read what `serialize` wrote, or what it would have written elsewhere.

        Raises:
            SerdesError: *text* is not JSON for this type.
        """
        try:
            value = self._decode(text)
        except RecursionError:
            raise too_deep() from None
        except ValueError as error:
            return self._read_tagged(text, error)
        check_depth(text)
        check_keys(text)
        return value

    def _read_tagged(self, text: str, error: ValueError) -> T:
        """Read what was written before the function had its annotation."""
        value = read_json(text)
        if not is_envelope(value):
            raise SerdesError(f"is not {name_of(self._type)}: {error}") from error
        read: T = convert(untag(value, ()), self._type)
        return read


def write_object(value: object) -> object:
    """Give msgspec something it can write for *value*, of a class it does not know.

    Raises:
        TypeError: there is nothing.
    """
    if is_model(type(value)):
        return msgspec.Raw(value.model_dump_json(by_alias=True, round_trip=True).encode())  # type: ignore[attr-defined]  # `is_model` has seen to it
    if isinstance(value, DurableOperationError):
        return RecordedFailure(operation=value.operation, error=value.recorded)
    raise TypeError(f"{type(value).__qualname__} cannot be recorded")


def read_object(cls: Any, value: object) -> Any:
    """Build a *cls*, of which msgspec knows nothing, from plain JSON.

    Raises:
        TypeError: there is no way.
    """
    if is_model(cls):
        return cls.model_validate_json(encode(value))
    if cls is ChildContextError:
        failure = msgspec.convert(value, RecordedFailure)
        return ChildContextError.from_wire(failure.operation, failure.error)
    raise TypeError(f"{cls} cannot be read")


class RecordedFailure(WireStruct, frozen=True):
    """An item's error: whose it is, and what was recorded for it."""

    operation: str | None
    error: ErrorObject


encode: Callable[[object], bytes] = msgspec.json.Encoder(enc_hook=write_object).encode


def convert(value: Any, annotation: Any) -> Any:
    """Build what *annotation* says from plain JSON, or from values that already fit.

    Raises:
        SerdesError: they do not.
    """
    try:
        return msgspec.convert(value, annotation, dec_hook=read_object)
    except (ValueError, TypeError) as error:
        raise SerdesError(f"is not {name_of(annotation)}: {error}") from error


def is_model(cls: Any) -> bool:
    """Whether *cls* is a pydantic model, without importing pydantic."""
    return is_class(cls) and hasattr(cls, "__pydantic_validator__")


def is_concrete(annotation: Any) -> bool:
    """Whether *annotation* says what a value is, so that plain JSON can be read back by it.

    `Any`, `object`, bare containers, type variables and abstract classes leave it open.
    """
    while (named := _named(annotation)) is not None:
        annotation = named
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None:
        return annotation is None or (is_class(annotation) and _is_concrete_class(annotation))
    if origin is Literal:
        return True
    if origin not in _COMPOUND:
        return is_declared(origin)
    return all(argument is ... or is_concrete(argument) for argument in arguments)


def _is_concrete_class(cls: type) -> bool:
    return cls in _CONCRETE or is_declared(cls)


def _named(annotation: Any) -> Any:
    """Give what *annotation* is another name for, `None` when it is no such thing."""
    if isinstance(annotation, NewType):
        return annotation.__supertype__
    if get_origin(annotation) is Annotated:
        return annotation.__origin__
    return getattr(annotation, "__value__", None)  # `type Name = …` of Python 3.12


def is_declared(cls: Any) -> bool:
    """Whether *cls* is a class that says itself what its members are."""
    return is_class(cls) and (
        issubclass(cls, Enum) or any(hasattr(cls, mark) for mark in _DECLARING)
    )


def is_class(annotation: Any) -> bool:
    """Whether *annotation* is a class, and not a form of `typing`."""
    return isinstance(annotation, type)


_DECLARING = (
    "__dataclass_fields__",
    "__struct_fields__",
    "__pydantic_validator__",
    "__total__",  # a TypedDict
    "_fields",  # a NamedTuple
)


def name_of(annotation: Any) -> str:
    """Give *annotation* as a reader would write it."""
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


def difference(value: Any, back: Any) -> str | None:
    """Say where *back*, which was read, is not *value*, which was written; `None` for nowhere.

    A whole number may come back as a float of the same value: that is what its annotation says.
    """
    cls = class_of(value)
    if cls is not type(back):
        if cls is int and type(back) is float and value == back:
            return None
        return f": {cls.__qualname__} would come back as {type(back).__qualname__}"
    if cls in _SCALARS:
        return None if value == back else _CHANGED
    return _comparison(class_of(value))(value, back)


_CHANGED = ": would come back changed"


@lru_cache(maxsize=1024)
def _comparison(cls: Any) -> Callable[[Any, Any], str | None]:
    if cls is dict:
        return _difference_in_dict
    if issubclass(cls, list | tuple):
        return _difference_in_list
    if issubclass(cls, set | frozenset):
        return _difference_in_set
    if is_declared(cls) and not issubclass(cls, Enum):
        return _difference_in_members
    return _difference_in_text


def _difference_in_text(value: object, back: object) -> str | None:
    # A decimal that is not a number is not even equal to itself.
    return None if str(value) == str(back) or value == back else _CHANGED


def _difference_in_set(value: set[Any], back: set[Any]) -> str | None:
    twins = {item: item for item in back}
    return _difference_in_list(list(value), [twins.get(item) for item in value])


def _difference_in_dict(value: dict[Any, Any], back: dict[Any, Any]) -> str | None:
    if len(value) != len(back):
        return ": two of its keys are the same in JSON"
    for (key, item), (read_key, read_item) in zip(value.items(), back.items(), strict=True):
        if type(key) is not type(read_key) or key != read_key:
            return f": the key {key!r} would come back as {read_key!r}"
        if (found := difference(item, read_item)) is not None:
            return f"[{key!r}]{found}"
    return None


def _difference_in_list(value: Any, back: Any) -> str | None:
    if len(value) != len(back):
        return _CHANGED
    for index, (item, read_item) in enumerate(zip(value, back, strict=True)):
        if (found := difference(item, read_item)) is not None:
            return f"[{index}]{found}"
    return None


def _difference_in_members(value: Any, back: Any) -> str | None:
    members = members_of(class_of(value))
    for name in value.__dict__ if members is None else members:
        if (found := difference(getattr(value, name), getattr(back, name, None))) is not None:
            return f".{name}{found}"
    return None


@lru_cache(maxsize=1024)
def members_of(cls: Any) -> tuple[str, ...] | None:
    """Name the members that make a value of a declared class what it is; `None`: its `__dict__`."""
    if hasattr(cls, "__dataclass_fields__"):
        return tuple(field.name for field in fields(cls) if field.compare)
    names: tuple[str, ...] | None = getattr(cls, "__struct_fields__", None)
    return names
