"""What is recorded and said of what failed, and where in the user's code that was."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from durably.engine.rules import EXIT_ERROR
from durably.errors import InvocationExitError, error_object
from durably.wire.arns import title_of
from durably.wire.operation import ErrorObject
from durably.wire.update import OperationAction, OperationUpdate

log = logging.getLogger("durably.engine")

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


def tell_of_retries(arn: str, updates: Iterable[OperationUpdate]) -> None:
    """Log which attempts have failed, and are to be made again."""
    for update in updates if log.isEnabledFor(logging.INFO) else ():
        if update.action is not OperationAction.RETRY or update.error is None:
            continue
        options = update.step_options
        delay = 0 if options is None else options.next_attempt_delay_seconds
        log.info(
            "an attempt of %s of %s failed, and is made again in %s s: %s",
            f"step {update.name!r}" if update.name else f"step {update.id}",
            title_of(arn),
            delay,
            logged(update.error),
            extra={"executionArn": arn, "operationId": update.id, "operationName": update.name},
        )


def recorded(error: Exception) -> ErrorObject:
    """Give what the history says of a failed invocation.

    User code that wants to end this process is one whose process has ended, to the service.
    """
    if isinstance(error, InvocationExitError):
        return ErrorObject(error_type=EXIT_ERROR[0], error_message=str(error))
    return error_object(error)
