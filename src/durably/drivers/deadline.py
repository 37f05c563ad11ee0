"""How long an attempt may run: as long as its step says, and not into the invocation's end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from durably.clock import Clock
from durably.core.effects import Attempt, Err
from durably.drivers.settings import RunSettings
from durably.errors import StepInterruptedError, StepTimeoutError
from durably.words import in_words

TimeLeft: TypeAlias = Callable[[], float]

_MARGIN_SECONDS = 1.0
_MARGIN_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Limit:
    """How long one attempt may run.

    Attributes:
        seconds: from now on.
        is_deadline: because the invocation ends then, not because its step says so.
    """

    seconds: float
    is_deadline: bool

    def given_up(self, attempt: Attempt) -> Err:
        """Give what stands for the outcome of an attempt that ran longer."""
        if self.is_deadline:
            return Err(StepInterruptedError(_CUT_OFF.format(attempt.op)), is_cut_off=True)
        return Err(StepTimeoutError(f"{attempt.op} ran longer than {in_words(self.seconds)}"))


_CUT_OFF = "attempt of {} was given up because the time of its invocation was nearly over"


def limit_of(settings: RunSettings, attempt: Attempt) -> Limit | None:
    """Say how long *attempt* may run; `None` if as long as it likes.

    One that begins when there is no time left gets what the platform leaves it.
    """
    own = attempt.timeout_seconds
    left = None
    if attempt.may_be_cut_off and settings.time_left is not None:
        left = settings.time_left()
    if left is not None and left > 0 and (own is None or left < own):
        return Limit(left, is_deadline=True)
    return None if own is None else Limit(own, is_deadline=False)


def before_end(seconds: float | None, time_left: TimeLeft | None) -> float | None:
    """Give *seconds* to wait before a look; `None`, for ever, if the invocation ends before."""
    is_past = seconds is not None and time_left is not None and seconds > time_left()
    return None if is_past else seconds


def time_left(clock: Clock, lambda_context: object) -> TimeLeft | None:
    """Give what says how many seconds are left to begin something; `None` if nobody knows.

    Lambda's context says when the invocation ends; a second before, or a tenth of its time if that
    is less, is kept for telling the service.
    """
    remaining = getattr(lambda_context, "get_remaining_time_in_millis", None)
    milliseconds = remaining() if callable(remaining) else None
    if not isinstance(milliseconds, int | float):
        return None
    seconds = milliseconds / 1000
    ends_at = clock.monotonic() + seconds - min(_MARGIN_SECONDS, seconds * _MARGIN_SHARE)
    return lambda: ends_at - clock.monotonic()
