"""What the user's strategies decide, checked where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from durably.errors import UnrecoverableError, ValidationError, said_of
from durably.retries import (
    RetryDecision,
    RetryStrategy,
    WaitForConditionDecision,
    WaitStrategy,
)

T = TypeVar("T")


def ask_retry(strategy: RetryStrategy, error: Exception, attempt: int) -> RetryDecision:
    """Ask whether there is another attempt after *attempt* has failed with *error*.

    Raises:
        ValidationError: the answer is no decision, or the strategy raised.
    """
    returns = "RetryDecision.retry(delay) or RetryDecision.no_retry()"
    try:
        return _ask(strategy, RetryDecision, returns, error, attempt)
    except UnrecoverableError:
        raise
    except ValidationError as refusal:
        raise ValidationError("retry_strategy", refusal.message) from error
    except Exception as failure:  # noqa: BLE001 - it is the user's, and may raise anything
        said = f"{_name_of(strategy)} must return {returns}, and raised {said_of(failure)}"
        raise ValidationError("retry_strategy", said) from error


def ask_wait(strategy: WaitStrategy[T], state: T, number: int) -> WaitForConditionDecision:
    """Ask whether the condition is checked again.

    Raises:
        ValidationError: the answer is no decision.
        Exception: whatever the strategy raises.
    """
    kind = WaitForConditionDecision
    returns = f"{kind.__name__}.continue_waiting(delay) or {kind.__name__}.stop_polling()"
    try:
        return _ask(strategy, kind, returns, state, number)
    except ValidationError as refusal:
        raise ValidationError("wait_strategy", refusal.message) from None


def _ask(strategy: Callable[..., Any], kind: type[T], returns: str, *asked: Any) -> T:
    name = _name_of(strategy)
    try:
        decision = strategy(*asked)
    except ValidationError as refusal:  # of a decision that it tried to make
        raise ValidationError("", f"{name} must return {returns}: {refusal}") from refusal
    if not isinstance(decision, kind):
        raise ValidationError("", f"{name} must return {returns}, not {decision!r:.100}")
    return decision


def _name_of(strategy: Callable[..., Any]) -> str:
    return getattr(strategy, "__qualname__", None) or type(strategy).__qualname__
