"""Values without an annotation: JSON where that says all, else `{"t": tag, "v": value}` throughout.

The tags `n s i f b B u d dt D t l m br` are those of the other Python SDK; `td`, `time`, `set`,
`frozenset` and `pairs` (a dict with keys that are not text) are added here. A time zone is kept as
its offset. No class is ever looked up by a recorded name: a dataclass needs an annotation.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, TypeAlias
from uuid import UUID

from durably.batch_result import BatchCompletionReason, BatchItem, BatchItemStatus, BatchResult
from durably.errors import ChildContextError, SerdesError
from durably.serdes_json import class_of, is_plain, read_json, too_deep, write_json
from durably.wire.base import convert_wire
from durably.wire.operation import ErrorObject

Path: TypeAlias = tuple[Any, ...]
_ENVELOPE = frozenset({"t", "v"})


class TaggedSerdes:
    """Writes and reads what Python's own types can say, without being told which."""

    __slots__ = ()

    def serialize(self, value: object, _context: object, /) -> str:
        """Write *value* as JSON, or tagged where JSON would change it.

        Raises:
            SerdesError: neither can say it.
        """
        try:
            plain = is_plain(value) and not is_envelope(value)
            return write_json(value if plain else tag(value, ()))
        except RecursionError:
            raise too_deep() from None

    def deserialize(self, text: str, _context: object, /) -> Any:
        """Read what `serialize` wrote, or any JSON.

        Raises:
            SerdesError: *text* is neither JSON nor rightly tagged.
        """
        value = read_json(text)
        return untag(value, ()) if is_envelope(value) else value


def is_envelope(value: Any) -> bool:
    """Whether *value* has the form of a tagged value."""
    return type(value) is dict and value.keys() == _ENVELOPE


def is_tag(name: Any) -> bool:
    """Whether *name* says how a tagged value is written."""
    return type(name) is str and (name in _SCALARS or name in _READ_CONTAINERS)


def tag(value: Any, path: Path) -> dict[str, Any]:
    """Give *value*, found at *path*, as an envelope.

    Raises:
        SerdesError: there is no tag for it; the text says where it is.
    """
    cls = class_of(value)
    if (scalar := _TAGS.get(cls)) is not None:
        return {"t": scalar, "v": _SCALARS[scalar][1](value)}
    if (container := _CONTAINERS.get(cls)) is not None:
        return {"t": container, "v": [tag(item, (*path, i)) for i, item in enumerate(value)]}
    if cls is float:
        return {"t": "f", "v": _finite(value, path)}
    if cls is dict:
        return _tag_dict(value, path)
    if cls is BatchResult:
        return {"t": "br", "v": _write_batch(value, path)}
    raise _refusal(path, f"{cls.__qualname__} {_ADVICE}")


def untag(envelope: Any, path: Path) -> Any:
    """Read an envelope found at *path*.

    Raises:
        SerdesError: it is malformed; the text says where.
    """
    if not is_envelope(envelope):
        raise _refusal(path, "a tagged value was expected")
    name, value = envelope["t"], envelope["v"]
    try:
        if (scalar := _SCALARS.get(name)) is not None:
            return scalar[2](value)
        if (container := _READ_CONTAINERS.get(name)) is not None:
            return container(value, path)
    except (ValueError, TypeError, ArithmeticError, AttributeError, KeyError) as error:
        said = f"{type(error).__name__}: {error}"
        raise _refusal(path, f"the value tagged {name!r} is malformed: {said}") from error
    raise _refusal(path, f"{name!r} is not a tag")


_ADVICE = "cannot be recorded. Annotate what the function returns, or give a serdes"


def _refusal(path: Path, message: str) -> SerdesError:
    return SerdesError(f"${''.join(f'[{step!r}]' for step in path)}: {message}")


def _finite(value: float, path: Path) -> float:
    if not isfinite(value):
        raise _refusal(path, f"JSON cannot say {value}")
    return value


def _tag_dict(value: dict[Any, Any], path: Path) -> dict[str, Any]:
    if all(type(key) is str for key in value):
        return {"t": "m", "v": {key: tag(item, (*path, key)) for key, item in value.items()}}
    pairs = [[tag(key, (*path, key)), tag(item, (*path, key))] for key, item in value.items()]
    return {"t": "pairs", "v": pairs}


def _write_batch(value: BatchResult[Any], path: Path) -> dict[str, Any]:
    items = [
        {
            "index": item.index,
            "status": item.status,
            "result": tag(item.result, (*path, item.index)),
            "error": None if item.error is None else item.error.recorded,
            "name": None if item.error is None else item.error.operation,
        }
        for item in value.all
    ]
    return {"all": items, "completionReason": value.completion_reason}


def _exactly(*kinds: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) not in kinds:
            raise TypeError(f"{type(value).__name__} was not expected")
        return value

    return read


def _as_it_is(value: Any) -> Any:
    return value


_a_list = _exactly(list)
_a_dict = _exactly(dict)
_some_text = _exactly(str)

_SCALARS: dict[Any, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "n": (type(None), _as_it_is, _exactly(type(None))),
    "s": (str, _as_it_is, _some_text),
    "i": (int, _as_it_is, _exactly(int)),
    "b": (bool, _as_it_is, _exactly(bool)),
    "B": (bytes, lambda v: b64encode(v).decode(), lambda v: b64decode(v, validate=True)),
    "u": (UUID, str, UUID),
    "d": (Decimal, str, lambda v: Decimal(_some_text(v))),
    "dt": (datetime, datetime.isoformat, datetime.fromisoformat),
    "D": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "td": (timedelta, lambda v: [v.days, v.seconds, v.microseconds], lambda v: timedelta(*v)),
}
_TAGS: dict[type, str] = {cls: name for name, (cls, _, _) in _SCALARS.items()}
_CONTAINERS: dict[type, str] = {tuple: "t", list: "l", set: "set", frozenset: "frozenset"}


def _read_list(value: Any, path: Path) -> list[Any]:
    return [untag(item, (*path, i)) for i, item in enumerate(_a_list(value))]


def _read_batch(value: Any, path: Path) -> BatchResult[Any]:
    return BatchResult(
        tuple(_read_item(item, path) for item in _a_list(value["all"])),
        BatchCompletionReason(value["completionReason"]),
    )


def _read_item(item: Any, path: Path) -> BatchItem[Any]:
    error = None
    if item["error"] is not None:
        recorded = convert_wire(item["error"], ErrorObject)
        error = ChildContextError.from_wire(item["name"], recorded)
    result = untag(item["result"], (*path, item["index"]))
    return BatchItem(item["index"], BatchItemStatus(item["status"]), result, error)


_READ_CONTAINERS: dict[Any, Callable[[Any, Path], Any]] = {
    "f": lambda value, _: float(_exactly(float, int)(value)),
    "t": lambda value, path: tuple(_read_list(value, path)),
    "l": _read_list,
    "set": lambda value, path: set(_read_list(value, path)),
    "frozenset": lambda value, path: frozenset(_read_list(value, path)),
    "m": lambda value, path: {
        key: untag(item, (*path, key)) for key, item in _a_dict(value).items()
    },
    "pairs": lambda value, path: {
        untag(key, path): untag(item, path) for key, item in _a_list(value)
    },
    "br": _read_batch,
}
