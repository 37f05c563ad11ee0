"""Runs the attempts of steps in an event loop: coroutines here, plain functions in threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from durably.core.active import Attempting, active
from durably.core.effects import Attempt, Err, Ok, Outcome
from durably.core.scope import Scope
from durably.drivers.bodies import exited, is_coroutine_function, step_context
from durably.drivers.logs import package_log
from durably.drivers.settings import RunSettings
from durably.errors import ContextUsageError, StepTimeoutError, UnrecoverableError

T = TypeVar("T")

PASSED_ON = (ContextUsageError, UnrecoverableError, asyncio.CancelledError, KeyboardInterrupt)
"""What user code may raise that is no outcome of it."""

_THREADS = 64
"""Plain functions that run as steps at once in one event loop; more wait for their turn."""

_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def run_attempt(
    settings: RunSettings, scope: Scope, body: Callable[..., Any], attempt: Attempt
) -> Outcome[Any]:
    """Run one attempt of a step of *scope*, and say how it ended."""
    context = step_context(settings, scope, attempt)
    token = active.set(Attempting(scope, attempt, context))
    try:
        if attempt.timeout_seconds is None and is_coroutine_function(body):
            return Ok(await body())
        return await _run(body, attempt)
    except PASSED_ON:
        raise
    except Exception as error:  # noqa: BLE001 - it is what the body raised, and its outcome
        return Err(error)
    except BaseException as crash:
        raise exited(crash) from crash
    finally:
        active.reset(token)


async def _run(body: Callable[..., Any], attempt: Attempt) -> Outcome[Any]:
    if is_coroutine_function(body):
        return await _within(attempt, partial(_run_here, body))
    loop = asyncio.get_running_loop()
    slots = _slots.setdefault(loop, asyncio.Semaphore(_THREADS))
    async with slots:  # an attempt has the time that it may take from when it begins
        return await _within(attempt, partial(_run_in_thread, body, attempt))


async def _within(attempt: Attempt, work: Callable[[], Awaitable[Outcome[Any]]]) -> Outcome[Any]:
    limit = asyncio.timeout(attempt.timeout_seconds)
    try:
        async with limit:
            return await work()
    except TimeoutError:
        if not limit.expired():
            raise
    return Err(StepTimeoutError(f"{attempt.op} ran longer than {attempt.timeout_seconds:g} s"))


async def _run_here(body: Callable[..., Any]) -> Outcome[Any]:
    return Ok(await body())


async def _run_in_thread(body: Callable[..., Any], attempt: Attempt) -> Outcome[Any]:
    """Run *body* in a thread of its own: one that hangs takes nobody's place, and no exit waits."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Outcome[Any] | BaseException] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        outcome = context.run(_outcome_of, body)
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_settle, ended, outcome)

    threading.Thread(target=run, name=f"durably step {attempt.op}", daemon=True).start()
    try:
        outcome = await ended
    except asyncio.CancelledError:
        package_log.warning(
            "an attempt of %s was given up, and its thread is left behind",
            attempt.op,
            extra={"operationId": attempt.op.id, "attempt": attempt.number},
        )
        raise
    if isinstance(outcome, BaseException):
        raise outcome
    if isinstance(outcome, Ok) and inspect.isawaitable(outcome.value):
        return Ok(await outcome.value)
    return outcome


def _settle(ended: asyncio.Future[T], value: T) -> None:
    if not ended.done():
        ended.set_result(value)


def _outcome_of(body: Callable[[], Any]) -> Outcome[Any] | BaseException:
    """Run *body*; a future cannot carry everything that it may raise, such as `StopIteration`."""
    try:
        return Ok(body())
    except (ContextUsageError, UnrecoverableError) as error:
        return error
    except Exception as error:  # noqa: BLE001 - it is what the body raised, and its outcome
        return Err(error)
    except BaseException as crash:  # noqa: BLE001 - a thread has no other way to say so
        return crash
