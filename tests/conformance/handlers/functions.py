"""Bodies of steps and contexts, for the `def` flavour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Never

from durably import SyncDurableContext, current_step
from tests.conformance.handlers.shared import RequirementError, crash


def same(value: Any) -> Any:
    return value


def greet(name: str) -> str:
    return f"Hello, {name}!"


def fail(message: str = "as required") -> Never:
    raise RequirementError(message)


def fail_before(attempt: int, value: str, error: type[Exception] = RequirementError) -> str:
    """Give *value*, but not before the attempt of that number."""
    if current_step().attempt < attempt:
        raise error("not yet")
    return value


def log_and_crash(text: str) -> Never:
    current_step().logger.info("about to crash: %s", text)
    crash()


def gives(value: Any) -> Callable[[SyncDurableContext], Any]:
    """Make a body of a context that returns *value*."""

    def body(_ctx: SyncDurableContext) -> Any:
        return value

    return body


def steps_to(value: Any) -> Callable[[SyncDurableContext], Any]:
    """Make a body of a context whose one step returns *value*."""

    def body(ctx: SyncDurableContext) -> Any:
        return ctx.step(None, same, value)

    return body


def raises(_ctx: SyncDurableContext) -> Never:
    """Fail, as the body of a context."""
    raise RequirementError("as required")


def never(_ctx: SyncDurableContext) -> Never:
    """Be the body of a branch that must not be started."""
    raise AssertionError("this branch must not be started")
