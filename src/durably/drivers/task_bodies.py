"""Runs the attempts of steps in an event loop: coroutines here, plain functions in threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from durably.core.active import Attempting, active
from durably.core.effects import Attempt, Err, Ok, Outcome
from durably.core.scope import Scope
from durably.drivers.bodies import is_coroutine_function, step_context
from durably.drivers.logs import package_log
from durably.drivers.settings import RunSettings
from durably.errors import ContextUsageError, StepTimeoutError, UnrecoverableError


async def run_attempt(
    settings: RunSettings, scope: Scope, body: Callable[..., Any], attempt: Attempt
) -> Outcome[Any]:
    """Run one attempt of a step of *scope*, and say how it ended."""
    context = step_context(settings, scope, attempt)
    token = active.set(Attempting(scope, attempt, context))
    try:
        if attempt.timeout_seconds is None:
            return Ok(await _run(body))
        return await _run_within(body, attempt, attempt.timeout_seconds)
    except (ContextUsageError, UnrecoverableError):
        raise
    except Exception as error:
        return Err(error)
    finally:
        active.reset(token)


async def _run(body: Callable[..., Any]) -> Any:
    if is_coroutine_function(body):
        return await body()
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    value = await loop.run_in_executor(_step_threads(), context.run, body)
    return await value if inspect.isawaitable(value) else value


async def _run_within(body: Callable[..., Any], attempt: Attempt, seconds: float) -> Outcome[Any]:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return Ok(await _run(body))
    except TimeoutError:
        if not limit.expired():
            raise
    if not is_coroutine_function(body):
        package_log.warning(
            "an attempt ran too long, and its thread is left behind",
            extra={"operationId": attempt.op.id, "attempt": attempt.number},
        )
    return Err(StepTimeoutError(f"{attempt.op} ran longer than {seconds:g} s"))


@cache
def _step_threads() -> ThreadPoolExecutor:
    """Threads in which plain functions run as steps of `async def` handlers."""
    return ThreadPoolExecutor(max_workers=32, thread_name_prefix="durably-step")
