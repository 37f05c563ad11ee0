"""What is recorded and said of what failed, and where in the user's code that was."""

from __future__ import annotations

import re
from pathlib import Path

from durably.engine.rules import EXIT_ERROR
from durably.errors import InvocationExitError, error_object
from durably.wire.operation import ErrorObject

_PACKAGE = str(Path(__file__).parents[1])
_FRAME = re.compile(r'File "(?P<file>.*)", line (?P<line>\d+), in (?P<function>.*)')
_MAX_PLACES = 3
_MAX_LOGGED = 500


def places_in(error: ErrorObject | None) -> list[str]:
    """Give the user's own frames in what was recorded of an error, the last few of them."""
    frames = [] if error is None else [_FRAME.fullmatch(one) for one in error.stack_trace or ()]
    own = [one for one in frames if one is not None and not one["file"].startswith(_PACKAGE)]
    return [
        f"{one['file']}, line {one['line']}, in {one['function']}" for one in own[-_MAX_PLACES:]
    ]


def logged(error: ErrorObject | None) -> str:
    """Give an error's type, message and place, cut to what a line of a log can take."""
    if error is None:
        return "no error was given"
    said = ": ".join(text for text in (error.error_type, error.error_message) if text)
    cut = said if len(said) <= _MAX_LOGGED else f"{said[:_MAX_LOGGED]}…"
    places = places_in(error)
    return f"{cut} ({places[-1]})" if places else cut


def recorded(error: Exception) -> ErrorObject:
    """Give what the history says of a failed invocation.

    User code that wants to end this process is one whose process has ended, to the service.
    """
    if isinstance(error, InvocationExitError):
        return ErrorObject(error_type=EXIT_ERROR[0], error_message=str(error))
    return error_object(error)
