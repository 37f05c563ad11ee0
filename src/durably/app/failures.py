"""Errors that are handed in from outside, and what is recorded of those that come from code."""

from __future__ import annotations

from durably.checks import listed_in, shown
from durably.errors import ValidationError, error_object
from durably.limits import as_text
from durably.wire.operation import ErrorObject


def as_error_object(error: object) -> ErrorObject:
    """Give *error* as it is recorded. Text has no error type.

    Raises:
        ValidationError: it is none, or what it says cannot be recorded.
    """
    match error:
        case ErrorObject():
            return _readable(error)
        case str():
            return ErrorObject(error_message=as_text(error, "error"))
        case BaseException():
            return error_object(error)
        case _:
            said = f"must be an exception, text or an ErrorObject, not {shown(error)}"
            raise ValidationError("error", said)


def _readable(error: ErrorObject) -> ErrorObject:
    """Give *error* with members that can be read back. Whoever makes one is not held to types."""
    lines = error.stack_trace
    if lines is not None:
        listed = listed_in(lines, "stack_trace", "a tuple of lines of text")
        lines = tuple([as_text(line, "stack_trace") for line in listed])
    return ErrorObject(
        error_type=_text_or_none(error.error_type, "error_type"),
        error_message=_text_or_none(error.error_message, "error_message"),
        error_data=_text_or_none(error.error_data, "error_data"),
        stack_trace=lines,
    )


def _text_or_none(text: object, field: str) -> str | None:
    return None if text is None else as_text(text, field)
