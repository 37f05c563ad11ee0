"""Bodies of steps and contexts, for the `async def` flavour."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Never

from durably import DurableContext, current_step
from tests.conformance.handlers.shared import RequirementError, crash


async def same(value: Any) -> Any:
    return value


async def greet(name: str) -> str:
    return f"Hello, {name}!"


async def fail(message: str = "as required") -> Never:
    raise RequirementError(message)


async def fail_before(attempt: int, value: str, error: type[Exception] = RequirementError) -> str:
    """Give *value*, but not before the attempt of that number."""
    if current_step().attempt < attempt:
        raise error("not yet")
    return value


async def log_and_crash(text: str) -> Never:
    current_step().logger.info("about to crash: %s", text)
    crash()


def gives(value: Any) -> Callable[[DurableContext], Awaitable[Any]]:
    """Make a body of a context that returns *value*."""

    async def body(_ctx: DurableContext) -> Any:
        return value

    return body


def steps_to(value: Any) -> Callable[[DurableContext], Awaitable[Any]]:
    """Make a body of a context whose one step returns *value*."""

    async def body(ctx: DurableContext) -> Any:
        return await ctx.step(None, same, value)

    return body


async def raises(_ctx: DurableContext) -> Never:
    """Fail, as the body of a context."""
    raise RequirementError("as required")


async def never(_ctx: DurableContext) -> Never:
    """Be the body of a branch that must not be started."""
    raise AssertionError("this branch must not be started")
