"""Values that stand in for others: of the same form and size, and saying nothing of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from math import floor, log10
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")
_Form = Callable[[str, int], str]

_LOWER, _UPPER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
_EPOCH = datetime.fromisoformat("2001-01-01T00:00:00")
_MAX_INSTANTS = 1_000_000
_MIN_FLOAT_POWER = -300

_is_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE).fullmatch
_is_hex = re.compile(r"[0-9a-fA-F]{8,}").fullmatch
_is_date = re.compile(r"\d{4}-\d\d-\d\d").fullmatch
_is_instant = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d[T ])?\d\d:\d\d(?P<seconds>:\d\d)?(?P<fraction>\.\d+)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?"
).fullmatch
_is_number = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?").fullmatch
_is_duration = re.compile(r"[+-]?P(\d+W)?(\d+D)?(T[\d.HMS]+)?").fullmatch
_is_zero = re.compile(r"[+-]?[0.]*").fullmatch
_is_member = re.compile(r"[A-Za-z_]\w{0,63}|[a-z]{1,31}(-[a-z]{1,31})+", re.ASCII).fullmatch


class Masks:
    """What stands in for each text and each number of one execution."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._numbers: dict[tuple[type, float], float] = {}
        self._counts: Counter[object] = Counter()

    def text(self, text: str) -> str:
        """Give what stands in for *text*: as long, with digits for digits and letters for letters.

        What can be read as a date, a UUID or a number still can.
        """
        if _is_zero(text):
            return text
        if text not in self._texts:
            form = _form_of(text)
            pattern = (form, form(text, 0))
            self._texts[text] = self._other(text, pattern, lambda count: form(text, count))
        return self._texts[text]

    def member(self, name: str) -> str:
        """Give what stands in for the name of a member: itself, if it looks like one."""
        return name if _is_member(name) else self.text(name)

    def number(self, number: float) -> float:
        """Give what stands in for *number*: with the same sign, and about as large."""
        key = (type(number), number)
        if number and key not in self._numbers:
            size = self._size(abs(number))
            self._numbers[key] = size if number > 0 else -size
        return self._numbers.get(key, number)

    def _size(self, size: float) -> float:
        if isinstance(size, int):
            least = 10 ** (len(str(size)) - 1)
            return self._other(size, (int, least), lambda count: least + count % (9 * least))
        power = 10.0 ** max(floor(log10(size)), _MIN_FLOAT_POWER)
        return self._other(size, (float, power), lambda count: power * (1 + count % 512 / 1024))

    def _other(self, original: T, pattern: object, make: Callable[[int], T]) -> T:
        """Give the next value of *pattern*, but not *original*."""
        self._counts[pattern] += 1
        if make(self._counts[pattern]) == original:
            self._counts[pattern] += 1
        return make(self._counts[pattern])


def _form_of(text: str) -> _Form:
    """Give what makes texts of the form of *text*, each from a number."""
    for has_form, form in _FORMS:
        if has_form(text):
            return form
    return _with_letters


def _uuid(_text: str, count: int) -> str:
    return str(UUID(int=count))


def _date(_text: str, count: int) -> str:
    return (_EPOCH + timedelta(days=count % _MAX_INSTANTS)).date().isoformat()


def _instant(text: str, count: int) -> str:
    parts = _is_instant(text)
    assert parts is not None, "it has this form"
    at = _EPOCH + timedelta(minutes=count % _MAX_INSTANTS)
    return "".join(
        (
            f"{at:%Y-%m-%d}{parts['date'][-1]}" if parts["date"] else "",
            f"{at:%H:%M}",
            ":00" if parts["seconds"] else "",
            "." + "0" * (len(parts["fraction"]) - 1) if parts["fraction"] else "",
            {None: None, "Z": "Z"}.get(parts["zone"], "+00:00") or "",
        )
    )


def _with_digits(text: str, count: int) -> str:
    return _filled(text, count, {_DIGITS: _DIGITS})


def _with_hex(text: str, count: int) -> str:
    return _filled(text, count, {_LOWER: _LOWER[:6], _UPPER: _UPPER[:6], _DIGITS: _DIGITS})


def _with_letters(text: str, count: int) -> str:
    return _filled(text, count, {_LOWER: _LOWER, _UPPER: _UPPER, _DIGITS: _DIGITS})


def _filled(text: str, count: int, alphabets: dict[str, str]) -> str:
    """Write *count* into *text*, from its end on, each place by the alphabet that it is of.

    What is neither a letter nor a digit of ASCII stays, and what is no ASCII becomes a letter.
    """
    characters = list(text)
    for place in reversed(range(len(characters))):
        old = characters[place]
        alphabet = next((new for known, new in alphabets.items() if old in known), None)
        if alphabet is None and not old.isascii():
            alphabet = _LOWER
        if alphabet is not None:
            count, rest = divmod(count, len(alphabet))
            characters[place] = alphabet[rest]
    return "".join(characters)


_FORMS: tuple[tuple[Callable[[str], object], _Form], ...] = (
    (_is_uuid, _uuid),
    (_is_date, _date),
    (_is_instant, _instant),
    (_is_number, _with_digits),
    (_is_duration, _with_digits),
    (_is_hex, _with_hex),
)
