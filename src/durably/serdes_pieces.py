"""Annotations that msgspec cannot read as a whole: they are read piece by piece.

Those are unions of several dataclasses, or of several types that JSON writes in the same way, and
enums whose values are neither all text nor all whole numbers. A union is written as
`{"t": name, "v": value}` with the name of its member, an enum's member as its name.
"""

from __future__ import annotations

import types
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any, Protocol, Union, get_args, get_origin, get_type_hints

import msgspec

from durably.errors import SerdesError, ValidationError
from durably.serdes_json import read_json, too_deep, write_json
from durably.serdes_tagged import is_envelope
from durably.serdes_typed import (
    convert,
    difference,
    encode,
    is_class,
    is_declared,
    members_of,
    name_of,
    read_object,
)


class Piece(Protocol):
    """How one part of an annotation is made plain, and how it is read."""

    def write(self, value: Any) -> Any:
        """Give *value* in a form that msgspec writes as JSON."""
        ...

    def read(self, plain: Any) -> Any:
        """Build the value from what JSON said."""
        ...


class PiecewiseSerdes:
    """Writes and reads an annotation of which msgspec can only do parts."""

    __slots__ = ("_piece", "_type")

    def __init__(self, annotation: Any) -> None:
        self._type = annotation
        self._piece = piece_for(annotation)

    def serialize(self, value: Any, _context: object, /) -> str:
        """Write *value*.

        Raises:
            SerdesError: reading it back would not give the same. The text says where.
        """
        try:
            text = write_json(msgspec.Raw(encode(self._piece.write(value))))
            found = difference(value, self.deserialize(text, None))
        except RecursionError:
            raise too_deep() from None
        except (ValueError, TypeError, AttributeError) as error:
            raise SerdesError(f"does not fit {name_of(self._type)}: {error}") from error
        if found is not None:
            raise SerdesError(f"as {name_of(self._type)}, ${found}")
        return text

    def deserialize(self, text: str, _context: object, /) -> Any:
        """Read what `serialize` wrote.

        Raises:
            SerdesError: *text* is not JSON for this type.
        """
        try:
            return self._piece.read(read_json(text))
        except RecursionError:
            raise too_deep() from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SerdesError(f"is not {name_of(self._type)}: {error}") from error


@lru_cache(maxsize=1024)
def piece_for(annotation: Any) -> Piece:
    """Choose how *annotation* is written: by msgspec, or else by its parts.

    Raises:
        ValidationError: neither can be done.
    """
    try:
        msgspec.json.Decoder(annotation, dec_hook=read_object)
    except NameError as error:
        raise ValidationError("annotation", f"{name_of(annotation)}: {error}") from error
    except TypeError as error:
        return _by_parts(annotation, error)
    return _Whole(annotation)


def _by_parts(annotation: Any, error: TypeError) -> Piece:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Union or origin is types.UnionType:
        return _Choice({name_of(member): piece_for(member) for member in arguments})
    if origin in (list, set, frozenset) or (origin is tuple and arguments[-1] is ...):
        return _Items(origin, piece_for(arguments[0]))
    if origin is tuple:
        return _Places(tuple(piece_for(place) for place in arguments))
    if origin is dict and arguments[0] is str:
        return _Values(piece_for(arguments[1]))
    return _by_members(annotation, error)


def _by_members(annotation: Any, error: TypeError) -> Piece:
    if is_class(annotation) and issubclass(annotation, Enum):
        return _Names(annotation)
    if is_declared(annotation) and members_of(annotation) is not None:
        return _Members(annotation)
    raise ValidationError("annotation", f"cannot be recorded: {error}") from error


class _Whole(msgspec.Struct, frozen=True):
    annotation: Any

    def write(self, value: Any) -> Any:
        back = convert(read_json(encode(value).decode()), self.annotation)
        if (found := difference(value, back)) is not None:
            raise SerdesError(f"as {name_of(self.annotation)}, ${found}")
        return value

    def read(self, plain: Any) -> Any:
        return convert(plain, self.annotation)


class _Choice(msgspec.Struct, frozen=True):
    members: dict[str, Piece]

    def write(self, value: Any) -> Any:
        for name, piece in self.members.items():
            try:
                return {"t": name, "v": piece.write(value)}
            except (SerdesError, ValueError, TypeError, AttributeError):
                continue
        raise SerdesError(f"{type(value).__qualname__} is none of {', '.join(self.members)}")

    def read(self, plain: Any) -> Any:
        if not is_envelope(plain):
            raise SerdesError(f"a tagged value of {', '.join(self.members)} was expected")
        return self.members[plain["t"]].read(plain["v"])


class _Items(msgspec.Struct, frozen=True):
    container: Any
    item: Piece

    def write(self, value: Any) -> Any:
        return [self.item.write(item) for item in _checked(value, self.container)]

    def read(self, plain: Any) -> Any:
        return self.container(self.item.read(item) for item in _checked(plain, list))


class _Places(msgspec.Struct, frozen=True):
    places: tuple[Piece, ...]

    def write(self, value: Any) -> Any:
        pairs = zip(self.places, _checked(value, tuple), strict=True)
        return [piece.write(item) for piece, item in pairs]

    def read(self, plain: Any) -> Any:
        pairs = zip(self.places, _checked(plain, list), strict=True)
        return tuple(piece.read(item) for piece, item in pairs)


class _Values(msgspec.Struct, frozen=True):
    item: Piece

    def write(self, value: Any) -> Any:
        return {_checked(k, str): self.item.write(v) for k, v in _checked(value, dict).items()}

    def read(self, plain: Any) -> Any:
        return {key: self.item.read(item) for key, item in _checked(plain, dict).items()}


class _Names(msgspec.Struct, frozen=True):
    kind: type[Enum]

    def write(self, value: Any) -> Any:
        return _checked(value, self.kind).name

    def read(self, plain: Any) -> Any:
        return self.kind[plain]


class _Members(msgspec.Struct, frozen=True, dict=True):
    kind: Any

    @cached_property
    def members(self) -> dict[str, Piece]:
        """The pieces, made late because a class may contain itself."""
        hints = get_type_hints(self.kind, include_extras=True)
        return {name: piece_for(hints[name]) for name in members_of(self.kind) or ()}

    def write(self, value: Any) -> Any:
        _checked(value, self.kind)
        return {name: piece.write(getattr(value, name)) for name, piece in self.members.items()}

    def read(self, plain: Any) -> Any:
        said = _checked(plain, dict)
        known = {name: self.members[name].read(said[name]) for name in self.members}
        return self.kind(**known)


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{kind.__qualname__} was expected, not {type(value).__qualname__}")
    return value
