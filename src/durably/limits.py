"""What the protocol can carry: lengths of time, names, counts. All else is refused by name.

A length of time is a `timedelta`, or seconds as a number.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TypeAlias

from durably.errors import ValidationError

Duration: TypeAlias = timedelta

MAX_DELAY_SECONDS = 31_622_400
"""The longest wait, and the longest delay before an attempt: 366 days."""

MAX_CALLBACK_TIMEOUT_SECONDS = 99_999_999

MAX_NAME_LENGTH = 256

MAX_TRACE_ID_LENGTH = 8192

_SECOND = timedelta(seconds=1)
_SUB_TYPE = re.compile(r"[A-Za-z0-9_-]{1,32}")


def as_timedelta(value: object, field: str) -> timedelta:
    """Read a duration given for *field*.

    Raises:
        ValidationError: it is not a duration, or it is negative.
    """
    if isinstance(value, timedelta):
        duration = value
    elif isinstance(value, bool) or not isinstance(value, int | float):
        message = f"must be a timedelta or a number of seconds, not {type(value).__name__}"
        raise ValidationError(field, message)
    else:
        try:
            duration = timedelta(seconds=value)
        except (ValueError, OverflowError):
            raise ValidationError(field, f"{value} is not a length of time") from None
    if duration < timedelta(0):
        raise ValidationError(field, f"must not be negative, and {value} is")
    return duration


def whole_seconds(duration: timedelta) -> int:
    """Give the seconds of *duration*, a fraction counted as a whole one."""
    return -(-duration // _SECOND)


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
        raise ValidationError(field, f"must be at most {maximum} seconds, not {value}")
    return seconds


def check_name(name: object, field: str = "name") -> None:
    """Refuse a name that the protocol cannot carry.

    Raises:
        ValidationError: *name* is not 1 to 256 printable ASCII characters.
    """
    if name is None:
        return
    if not isinstance(name, str):
        raise ValidationError(field, f"must be text or None, not {type(name).__name__}")
    if not (0 < len(name) <= MAX_NAME_LENGTH and name.isascii() and name.isprintable()):
        raise ValidationError(field, f"must be 1 to {MAX_NAME_LENGTH} printable ASCII characters")


def check_sub_type(sub_type: object, field: str = "sub_type") -> None:
    """Refuse a sub type that the protocol cannot carry.

    Raises:
        ValidationError: *sub_type* is not 1 to 32 letters, digits, `-` and `_`.
    """
    if sub_type is None:
        return
    if not isinstance(sub_type, str) or _SUB_TYPE.fullmatch(sub_type) is None:
        raise ValidationError(field, "must be 1 to 32 letters, digits, '-' and '_'")


def check_length(text: object, field: str) -> None:
    """Refuse what is not text of 1 to 256 characters.

    Raises:
        ValidationError: so it is.
    """
    if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME_LENGTH:
        raise ValidationError(field, f"must be 1 to {MAX_NAME_LENGTH} characters")


def check_text(text: object, field: str) -> None:
    """Refuse what is not text that can be stored.

    Raises:
        ValidationError: so it is.
    """
    if not isinstance(text, str):
        raise ValidationError(field, f"must be text, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        said = f"must be text that UTF-8 can say, without lone surrogates, not {text!a:.100}"
        raise ValidationError(field, said) from None


def check_instant(at: object, field: str) -> None:
    """Refuse what is neither `None` nor a `datetime` with a time zone.

    Raises:
        ValidationError: so it is.
    """
    if at is None or (isinstance(at, datetime) and at.utcoffset() is not None):
        return
    raise ValidationError(field, f"must be a datetime with a time zone, not {at!r:.100}")


def check_count(count: object, field: str, *, minimum: int) -> None:
    """Refuse what is not a whole number from *minimum*.

    Raises:
        ValidationError: so it is.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < minimum:
        raise ValidationError(field, f"must be a whole number from {minimum}, not {count}")


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
    raise ValidationError(field, f"must be from 0 to 100, not {percentage}")
