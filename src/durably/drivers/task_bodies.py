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
from durably.drivers.bodies import exited, is_coroutine_function, step_context
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
        if attempt.timeout_seconds is not None:
            return await _run_within(body, attempt, attempt.timeout_seconds)
        return await _run(body, attempt)
    except (ContextUsageError, UnrecoverableError):
        raise
    except SystemExit as crash:
        raise exited(crash) from crash
    except Exception as error:  # noqa: BLE001 - it is what the body raised, and its outcome
        return Err(error)
    finally:
        active.reset(token)


async def _run(body: Callable[..., Any], attempt: Attempt) -> Outcome[Any]:
    if is_coroutine_function(body):
        return Ok(await body())
    outcome = await _run_in_thread(body, attempt)
    if isinstance(outcome, Ok) and inspect.isawaitable(outcome.value):
        return Ok(await outcome.value)
    return outcome


async def _run_in_thread(body: Callable[..., Any], attempt: Attempt) -> Outcome[Any]:
    work = _step_threads().submit(contextvars.copy_context().run, _outcome_of, body)
    try:
        return await asyncio.wrap_future(work)
    except asyncio.CancelledError:
        if not work.cancel():
            package_log.warning(
                "an attempt was given up, and its thread is left behind",
                extra={"operationId": attempt.op.id, "attempt": attempt.number},
            )
        raise


def _outcome_of(body: Callable[[], Any]) -> Outcome[Any]:
    """Run *body*; a future cannot carry everything that it may raise, such as `StopIteration`."""
    try:
        return Ok(body())
    except (ContextUsageError, UnrecoverableError):
        raise
    except Exception as error:  # noqa: BLE001 - it is what the body raised, and its outcome
        return Err(error)


async def _run_within(body: Callable[..., Any], attempt: Attempt, seconds: float) -> Outcome[Any]:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await _run(body, attempt)
    except TimeoutError:
        if not limit.expired():
            raise
    return Err(StepTimeoutError(f"{attempt.op} ran longer than {seconds:g} s"))


@cache
def _step_threads() -> ThreadPoolExecutor:
    """Threads in which plain functions run as steps of `async def` handlers."""
    return ThreadPoolExecutor(max_workers=32, thread_name_prefix="durably-step")
