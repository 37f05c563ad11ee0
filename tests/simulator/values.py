"""Values that user code returns, hostile ones too, and how they are shown in a report."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

STEP_BYTES = 1_048_576
"""The most that one payload may have."""
CHILD_BYTES = 256 * 1024
"""The most that a context's result may have to be recorded whole."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A value that user code returns; `make` builds it anew each time.

    Attributes:
        kind: a key of `KINDS`.
        size: of those kinds that have one, in bytes of the value's JSON.
    """

    kind: str = "text"
    size: int = 0

    def make(self) -> object:
        """Build the value."""
        return KINDS[self.kind](self.size)

    @property
    def is_writable(self) -> bool:
        """Whether a record can hold it."""
        return self.kind not in UNWRITABLE and self.size <= STEP_BYTES


def _deep(size: int) -> object:
    value: object = "end"
    for _ in range(size):
        value = [value]
    return value


def _cycle(_: int) -> object:
    value: list[object] = []
    value.append(value)
    return value


KINDS: dict[str, Callable[[int], object]] = {
    "null": lambda _: None,
    "truth": lambda _: True,
    "number": lambda size: size * 7 - 3,
    "fraction": lambda _: 0.1,
    "huge": lambda _: 2**63 + 1,
    "text": lambda size: f"text {size}",
    "empty": lambda _: {"list": [], "dict": {}, "text": ""},
    "unicode": lambda _: (
        "\u0000\u001f\u007f\u202e\ufeff\u00e9e\u0301\u4e2d\U0001f9ea\\\"'</script>"
    ),
    "nested": lambda size: {"list": [size, [None, [True]], {"a": {"b": "c"}}], "": 1},
    "deep": lambda _: _deep(80),
    "envelope": lambda _: {"t": "d", "v": "1.50"},
    "large": lambda size: "x" * (size - 2),
    "wide": lambda size: "\u00e9" * ((size - 2) // 2),
    "tuple": lambda _: (1, ("a", None), [2]),
    "decimal": lambda _: Decimal("1.50"),
    "bytes": lambda _: b"\x00\xff",
    "moment": lambda _: datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC),
    "nan": lambda _: float("nan"),
    "surrogate": lambda _: "\ud800",
    "object": lambda _: object(),
    "cycle": _cycle,
    "too deep": lambda _: _deep(600),
}
UNWRITABLE = frozenset({"nan", "surrogate", "object", "cycle", "too deep"})
WRITABLE = tuple(kind for kind in KINDS if kind not in UNWRITABLE and kind not in {"large", "wide"})

_LONG = 120


def shown(value: object) -> Json:
    """Say in JSON what *value* is, with its types, and short."""
    if isinstance(value, str) and len(value) > _LONG:
        return {"long": len(value), "crc": zlib.crc32(value.encode("utf-8", "replace"))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [shown(one) for one in value]
    if isinstance(value, dict):
        return {str(key): shown(one) for key, one in value.items()}
    return _tagged(value)


def _tagged(value: object) -> Json:
    if isinstance(value, tuple):
        return {"tuple": [shown(one) for one in value]}
    return {type(value).__name__: value.hex() if isinstance(value, bytes) else str(value)}


TEXT = Payload("text")
NULL = Payload("null")


def decoded(text: str) -> object:
    """Read a recorded text: tagged through and through when it is a dict of just `t` and `v`."""
    value = json.loads(text)
    return _untagged(value) if isinstance(value, dict) and value.keys() == {"t", "v"} else value


def _untagged(value: Any) -> object:
    return _TAGS[value["t"]](value["v"])


_TAGS: dict[str, Callable[[Any], object]] = {
    "n": lambda _: None,
    "s": lambda value: value,
    "i": lambda value: value,
    "f": lambda value: value,
    "b": lambda value: value,
    "B": base64.b64decode,
    "d": Decimal,
    "dt": datetime.fromisoformat,
    "t": lambda value: tuple(map(_untagged, value)),
    "l": lambda value: list(map(_untagged, value)),
    "m": lambda value: {key: _untagged(one) for key, one in value.items()},
}


# What a serdes of one's own makes of a value, so that a value that was not read back is noticed


def marked(value: object) -> dict[str, object]:
    """Mark a value as read."""
    return {"read": value}


def write_marked(value: object) -> str:
    """Write a plain value."""
    return json.dumps({"written": value})


def read_marked(text: str) -> dict[str, object]:
    """Read what `write_marked` wrote."""
    return marked(json.loads(text)["written"])
