"""Errors that are handed in from outside."""

from __future__ import annotations

from durably.errors import error_object
from durably.wire.operation import ErrorObject


def as_error_object(error: ErrorObject | Exception | str) -> ErrorObject:
    """Give *error* as it is recorded. Text has no error type."""
    match error:
        case ErrorObject():
            return error
        case str():
            return ErrorObject(error_message=error)
        case _:
            return error_object(error)
