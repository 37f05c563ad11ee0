"""What the protocol can carry: lengths of time, names, counts. All else is refused by name.

A length of time is a `timedelta`, or seconds as a number. Text and numbers may be of a class that
is derived from Python's own, such as the members of a `StrEnum`; what is given back is always
plain, because only that can be recorded.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from sys import float_info
from typing import Any, TypeAlias

from durably.checks import shown
from durably.errors import ValidationError
from durably.words import in_words

Duration: TypeAlias = timedelta

MAX_DELAY_SECONDS = 31_622_400
"""The longest wait, and the longest delay before an attempt: 366 days."""

MAX_CALLBACK_TIMEOUT_SECONDS = 99_999_999

MAX_RETENTION_DAYS = 90

MAX_NAME_LENGTH = 256

MAX_TRACE_ID_LENGTH = 8192

TRACE_ID_RULE = (
    f"1 to {MAX_TRACE_ID_LENGTH} printable ASCII characters, the first and the last no space"
)

TENANT_ID_RULE = f"1 to {MAX_NAME_LENGTH} letters, digits, any of ._:/=+-@, and spaces between them"

MAX_NESTING = 64
"""How deep contexts may lie in one another."""

MAX_COUNT = 2**63 - 1
"""No count is larger: it is what a database can hold."""

_SECOND = timedelta(seconds=1)
_is_tenant_id = re.compile(rf"(?! )[a-zA-Z0-9._:/=+@ -]{{1,{MAX_NAME_LENGTH}}}(?<! )").fullmatch
_SUB_TYPE = re.compile(r"[A-Za-z0-9_-]{1,32}")


def plain(text: str) -> str:
    """Give *text* as a `str` of Python's own, whatever class derived from it it is of."""
    return text if type(text) is str else str.__str__(text)


def as_timedelta(value: object, field: str) -> timedelta:
    """Read a duration given for *field*.

    Raises:
        ValidationError: it is not a duration, or it is negative.
    """
    if isinstance(value, timedelta):
        duration = timedelta(value.days, value.seconds, value.microseconds)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        message = f"must be a timedelta or a number of seconds, not {shown(value)}"
        raise ValidationError(field, message)
    else:
        try:
            duration = timedelta(seconds=value)
        except (ValueError, OverflowError):
            raise ValidationError(field, f"{shown(value)} is not a length of time") from None
    if duration < timedelta(0):
        said = f"must not be negative, and -{in_words(-duration.total_seconds())} is"
        raise ValidationError(field, said)
    return duration


def whole_seconds(duration: timedelta) -> int:
    """Give the seconds of *duration*, a fraction counted as a whole one."""
    seconds, rest = divmod(duration, _SECOND)
    return seconds + bool(rest)


def duration_seconds(
    value: object, field: str, *, minimum: int = 0, maximum: int = MAX_DELAY_SECONDS
) -> int:
    """Read a duration given for *field* as whole seconds; fractions are rounded up.

    Raises:
        ValidationError: it is not a duration, or not between *minimum* and *maximum* seconds.
    """
    duration = as_timedelta(value, field)
    if duration < minimum * _SECOND:
        unit = "second" if minimum == 1 else "seconds"
        raise ValidationError(field, f"must be at least {minimum} {unit}, not {value}")
    seconds = whole_seconds(duration)
    if seconds > maximum:
        said = f"must be at most {in_words(maximum)}, not {in_words(duration.total_seconds())}"
        raise ValidationError(field, said)
    return seconds


def as_name(name: object, field: str = "name", *, room: int = 0) -> str | None:
    """Read an optional name, which leaves *room* for what others are named after it.

    Raises:
        ValidationError: *name* is not 1 to 256 printable ASCII characters, less that room.
    """
    longest = MAX_NAME_LENGTH - room
    if name is None:
        return None
    if not isinstance(name, str):
        raise ValidationError(field, f"must be text or None, not {shown(name)}")
    if not (0 < len(name) <= longest and name.isascii() and name.isprintable()):
        raise ValidationError(field, f"must be 1 to {longest} printable ASCII characters")
    return plain(name)


def as_sub_type(sub_type: object, field: str = "sub_type") -> str | None:
    """Read an optional sub type.

    Raises:
        ValidationError: *sub_type* is not 1 to 32 letters, digits, `-` and `_`.
    """
    if sub_type is None:
        return None
    if not isinstance(sub_type, str) or _SUB_TYPE.fullmatch(sub_type) is None:
        raise ValidationError(field, "must be 1 to 32 letters, digits, '-' and '_'")
    return plain(sub_type)


def as_short_text(text: object, field: str) -> str:
    """Read text of 1 to 256 characters.

    Raises:
        ValidationError: it is none.
    """
    if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME_LENGTH:
        raise ValidationError(field, f"must be 1 to {MAX_NAME_LENGTH} characters")
    return as_text(text, field)


def as_text(text: object, field: str) -> str:
    """Read text that can be stored.

    Raises:
        ValidationError: it is none.
    """
    if not isinstance(text, str):
        raise ValidationError(field, f"must be text, not {shown(text)}")
    found = plain(text)
    try:
        found.encode()
    except UnicodeEncodeError:
        said = f"must be text that UTF-8 can say, without lone surrogates, not {found!a:.100}"
        raise ValidationError(field, said) from None
    return found


def as_sought(text: object, field: str) -> str:
    """Read text that something may be found by. No database can tell of any with a NUL in it.

    Raises:
        ValidationError: it is none.
    """
    found = as_text(text, field)
    if "\x00" in found:
        raise ValidationError(field, "must be text without NUL characters")
    return found


def as_tenant_id(text: object, field: str) -> str:
    """Read the id of a tenant.

    Raises:
        ValidationError: it is none.
    """
    found = as_short_text(text, field)
    if not is_tenant_id(found):
        raise ValidationError(field, f"must be {TENANT_ID_RULE}")
    return found


def is_tenant_id(text: str) -> bool:
    """Whether *text* is of the characters that the service allows in the id of a tenant.

    Nor may it begin or end with a space: functions are told it in a header, which drops those.
    """
    return _is_tenant_id(text) is not None


def is_trace_id(text: str) -> bool:
    """Whether *text* can be a trace id: a header has to carry it, as it is, wherever it goes."""
    is_legal = 0 < len(text) <= MAX_TRACE_ID_LENGTH and text.isascii() and text.isprintable()
    return is_legal and text == text.strip(" ")


def check_instant(at: object, field: str) -> None:
    """Refuse what is neither `None` nor a `datetime` with a time zone.

    Raises:
        ValidationError: so it is.
    """
    if at is None or (isinstance(at, datetime) and at.utcoffset() is not None):
        return
    raise ValidationError(field, f"must be a datetime with a time zone, not {shown(at)}")


def as_count(count: object, field: str, *, minimum: int, maximum: int = MAX_COUNT) -> int:
    """Read a whole number.

    Raises:
        ValidationError: it is none from *minimum* to *maximum*.
    """
    if isinstance(count, int) and not isinstance(count, bool) and minimum <= count <= maximum:
        return int.__int__(count)
    limits = f"from {minimum}" if maximum == MAX_COUNT else f"from {minimum} to {maximum}"
    raise ValidationError(field, f"must be a whole number {limits}, not {shown(count)}")


def check_percentage(percentage: object, field: str) -> None:
    """Refuse what is not a number from 0 to 100.

    Raises:
        ValidationError: so it is.
    """
    match percentage:
        case bool():
            pass
        case int() | float() if 0 <= percentage <= 100:  # noqa: PLR2004 - per cent
            return
        case _:
            pass
    raise ValidationError(field, f"must be from 0 to 100, not {shown(percentage)}")


def check_rate(backoff_rate: Any) -> None:
    """Refuse what delays cannot grow by.

    Raises:
        ValidationError: it is not a number from 1.
    """
    is_number = isinstance(backoff_rate, int | float) and not isinstance(backoff_rate, bool)
    if not is_number or not 1 <= backoff_rate <= float_info.max:
        raise ValidationError("backoff_rate", f"must be a number from 1, not {shown(backoff_rate)}")
