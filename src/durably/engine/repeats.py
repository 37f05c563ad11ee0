"""Pauses and resumes that are sent twice: known by their client token, and carried out once."""

from __future__ import annotations

from durably.engine.commands import Pause, Resume
from durably.engine.execution import Execution
from durably.engine.facts import MICROSECONDS
from durably.engine.rules import NOT_THE_SAME_AGAIN
from durably.errors import InvalidParameterValueException

KEPT_MICROSECONDS = 15 * 60 * MICROSECONDS
"""How long a client token is remembered, as on Lambda."""


def note(execution: Execution, command: Pause | Resume, at: int) -> None:
    """Remember that *command* was carried out, and forget what was too long ago."""
    if not command.client_token:
        return
    execution.carried_out = {
        key: done for key, done in execution.carried_out.items() if _is_kept(done[0], at)
    }
    execution.carried_out[type(command), command.client_token] = (at, command)


def is_repeated(execution: Execution, command: Pause | Resume, at: int) -> bool:
    """Whether *command* was carried out before, so that it does nothing more.

    Raises:
        InvalidParameterValueException: its client token was given to another one.
    """
    done = execution.carried_out.get((type(command), command.client_token or ""))
    if done is None or not _is_kept(done[0], at):
        return False
    if done[1] != command:
        raise InvalidParameterValueException(NOT_THE_SAME_AGAIN)
    return True


def _is_kept(since: int, at: int) -> bool:
    return at - since < KEPT_MICROSECONDS
