"""The rounds of `with_retry`, and the waits between them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from durably.checks import check_function
from durably.config import WithRetryConfig
from durably.core.given import check_takes, config_of
from durably.core.strategies import ask_retry
from durably.errors import ContextUsageError, UnrecoverableError, ValidationError, said_of
from durably.limits import as_name

_WITH_RETRY = WithRetryConfig()
_DIGITS = 7  # of the number of a round


def rounds_config(
    name: object, func: Callable[..., Any], config: WithRetryConfig | None
) -> WithRetryConfig:
    """Give the configuration of a `with_retry` of *func*.

    Raises:
        ValidationError: it is none, *func* cannot be called, or *name* is no name that the waits
            can be named after.
    """
    as_name(name, room=len("-backoff-") + _DIGITS)
    check_function(func, "func", "a function, after the name")
    check_takes(func, "func", 2, "two values")
    return config_of(WithRetryConfig, config, _WITH_RETRY)


def backoff_name(name: str | None, attempt: int) -> str | None:
    """Name the wait after round *attempt* of a `with_retry`."""
    return None if name is None else f"{as_name(name)}-backoff-{attempt}"


def backoff(config: WithRetryConfig, error: Exception, attempt: int) -> timedelta:
    """Say how long to wait after round *attempt* of a `with_retry` failed with *error*.

    Raises:
        Exception: *error* itself, when the strategy gives up, or may not be asked.
        ValidationError: the strategy made no decision, or raised.
    """
    if isinstance(error, ContextUsageError | UnrecoverableError):
        raise error
    try:
        decision = ask_retry(config.retry_strategy, error, attempt)
    except ValidationError as refusal:
        said = f"{refusal.message}. The round had failed with {said_of(error)}"
        raise ValidationError(refusal.field, said) from error
    if not decision.should_retry:
        raise error
    return max(decision.delay, timedelta(seconds=1))
