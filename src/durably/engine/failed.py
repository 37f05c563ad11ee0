"""What is said of an invocation that failed: in the log, and in the history."""

from __future__ import annotations

from durably.engine.rules import EXIT_ERROR
from durably.errors import InvocationExitError, error_object
from durably.wire.operation import ErrorObject

_MAX_LOGGED = 500


def shown(error: ErrorObject | None) -> str:
    """Give an error's type and message, cut to what a line of a log can take."""
    if error is None:
        return "no error was given"
    said = ": ".join(text for text in (error.error_type, error.error_message) if text)
    return said if len(said) <= _MAX_LOGGED else f"{said[:_MAX_LOGGED]}…"


def recorded(error: Exception) -> ErrorObject:
    """Give what the history says of a failed invocation.

    User code that wants to end this process is one whose process has ended, to the service.
    """
    if isinstance(error, InvocationExitError):
        return ErrorObject(error_type=EXIT_ERROR[0], error_message=str(error))
    return error_object(error)
