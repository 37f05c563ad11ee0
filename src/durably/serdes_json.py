"""Strict JSON: what cannot be said in it is refused, never changed.

Refused are NaN and the infinities, lone surrogates, keys that are not text, keys that occur twice,
cycles, and nesting deeper than `MAX_DEPTH`. Whole numbers of any size below Python's own limit of
4,300 digits survive.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from itertools import accumulate
from math import isfinite
from typing import Any

import msgspec

from durably.errors import SerdesError

MAX_DEPTH = 500
"""How deep lists and objects may be nested in a payload."""

_LARGE = 64 * 1024
"""From how many characters on a text is worth more than a plain call."""

_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_PLAIN = frozenset({str, int, bool, type(None)})

class_of: Callable[[Any], Any] = type
"""The class of a value, as `type` gives it, for type checkers to ask nothing of."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def is_plain(value: Any) -> bool:
    """Whether JSON can say *value* so that reading it gives the same again.

    Raises:
        RecursionError: it contains itself, or is nested too deep for this thread.
    """
    cls = class_of(value)
    if cls is dict:
        for key, item in value.items():
            if type(key) is not str or not (type(item) in _PLAIN or is_plain(item)):
                return False
        return True
    if cls is list:
        for item in value:  # noqa: SIM110 - a generator would double the depth of the stack
            if not (type(item) in _PLAIN or is_plain(item)):
                return False
        return True
    return cls in _PLAIN or (cls is float and isfinite(value))


def write_json(value: object) -> str:
    """Write *value*, of which it is known that JSON can say it.

    Raises:
        SerdesError: it contains text with lone surrogates, a number with too many digits, itself,
            or it is nested too deep.
    """
    try:
        text = _encode(value).decode()
    except RecursionError:
        raise too_deep() from None
    except (ValueError, TypeError, OverflowError) as error:
        raise SerdesError(f"cannot be written as JSON: {error}") from error
    check_depth(text)
    return text


def read_json(text: str) -> Any:
    """Read *text* as dicts, lists, text, numbers, booleans and `None`.

    Raises:
        SerdesError: it is not JSON, or JSON that says something twice or too deep.
    """
    try:
        value = _decode(text) if len(text) < _LARGE else _without_collector(_decode, text)
    except RecursionError:
        raise too_deep() from None
    except ValueError as error:
        raise SerdesError(f"is not JSON that can be read: {error}") from error
    check_depth(text)
    if "{" in text:
        _check_keys(text, value)
    return value


def _without_collector(make: Callable[[str], Any], text: str) -> Any:
    """Have *make* build what *text* says, and no garbage collected meanwhile.

    There is none in what is being built, and looking for it again and again takes most of the time.
    """
    if not gc.isenabled():
        return make(text)
    try:
        gc.disable()
        return make(text)
    finally:
        gc.enable()


def check_keys(text: str) -> None:
    """Refuse JSON in which a key occurs twice in one object, of which only one would be read."""
    if text.count(":") > 1:
        _check_keys(text, _decode(text))


def check_depth(text: str) -> None:
    """Refuse JSON that is nested deeper than `MAX_DEPTH`.

    Nothing here is done in Python for each bracket or string: there may be millions.
    """
    if len(text) <= MAX_DEPTH or text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    outside = b"".join(_unescaped(text).split(b'"')[::2])
    steps = memoryview(outside.translate(_STEPS, _OTHERS)).cast("b")
    if max(accumulate(steps), default=0) > MAX_DEPTH:
        raise too_deep()


def check_amount(text: str, maximum: int) -> None:
    """Refuse JSON of more than *maximum* lists, objects and commas, before any of it is built.

    Each costs memory, and a collection of garbage now and then looks at all of them again.
    """
    if _amount(text) <= maximum:
        return
    data = _unescaped(text)
    # So few lists, objects and commas leave room for as many values, each with a key at most.
    is_too_much = data.count(b'"') > 4 * (maximum + 1)
    if is_too_much or _amount(b"".join(data.split(b'"')[::2]).decode()) > maximum:
        raise SerdesError(f"has more than {maximum:,} lists, objects and commas")


def _amount(text: str) -> int:
    return sum(map(text.count, "[{,"))


def _unescaped(text: str) -> bytes:
    """Give *text* without what is escaped in its strings: each quotation mark left delimits one."""
    data = text.encode()
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return data


def too_deep() -> SerdesError:
    """Make the error for what is nested too deep."""
    return SerdesError(f"contains itself, or is nested too deep ({MAX_DEPTH} levels at most)")


def _check_keys(text: str, value: object) -> None:
    """Compare how many keys *text* has with how many were read.

    A colon is a key's or stands in a string, so the colons of *value* written again are as many,
    unless a key was lost. Only a string that writes its colons in another way needs a closer look.
    """
    again = _encode(value)
    if "\\u003" not in text and text.count(":") == again.count(b":"):
        return
    if _STRINGS.sub("", text).count(":") != _STRINGS.sub("", again.decode()).count(":"):
        raise SerdesError("an object has the same key twice")
