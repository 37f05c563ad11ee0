"""What the user's strategies decide, checked where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from durably.errors import ValidationError
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
        ValidationError: the answer is no decision.
        Exception: whatever the strategy raises.
    """
    returns = "RetryDecision.retry(delay) or RetryDecision.no_retry()"
    try:
        return _ask(strategy, RetryDecision, returns, error, attempt)
    except ValidationError as refusal:
        after = f"{refusal.message}. The attempt had failed with {type(error).__name__}: {error}"
        raise ValidationError("retry_strategy", after) from error


def ask_wait(strategy: WaitStrategy[T], state: T, number: int) -> WaitForConditionDecision:
    """Ask whether the condition is checked again; raises as `ask_retry` does."""
    kind = WaitForConditionDecision
    returns = f"{kind.__name__}.continue_waiting(delay) or {kind.__name__}.stop_polling()"
    try:
        return _ask(strategy, kind, returns, state, number)
    except ValidationError as refusal:
        raise ValidationError("wait_strategy", refusal.message) from None


def _ask(strategy: Callable[..., Any], kind: type[T], returns: str, *asked: Any) -> T:
    name = getattr(strategy, "__qualname__", None) or type(strategy).__qualname__
    try:
        decision = strategy(*asked)
    except ValidationError as refusal:  # of a decision that it tried to make
        raise ValidationError("", f"{name} must return {returns}: {refusal}") from refusal
    if not isinstance(decision, kind):
        raise ValidationError("", f"{name} must return {returns}, not {decision!r:.100}")
    return decision
