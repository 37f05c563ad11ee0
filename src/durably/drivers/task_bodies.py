"""Runs user code in an event loop: coroutines here, the plain functions of steps in threads."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from durably.clock import Clock
from durably.core.active import Attempting, active
from durably.core.effects import Attempt, Err, Ok, Outcome
from durably.core.scope import Scope
from durably.core.wraps import MakeWraps
from durably.drivers.beside import in_thread
from durably.drivers.bodies import exited, is_coroutine_function, step_context
from durably.drivers.deadline import Limit, limit_of
from durably.drivers.logs import package_log
from durably.drivers.settings import RunSettings
from durably.drivers.wrapping import beside_task, in_task
from durably.errors import ContextUsageError, UnrecoverableError

PASSED_ON = (ContextUsageError, UnrecoverableError, asyncio.CancelledError, KeyboardInterrupt)
"""What user code may raise that is no outcome of it."""

_THREADS = 64
"""Plain functions that run as steps at once in one event loop; more wait for their turn."""

_NOW = 0.0  # in the past of every event loop

_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def run_attempt(
    settings: RunSettings, scope: Scope, body: Callable[..., Any], attempt: Attempt
) -> Outcome[Any]:
    """Run one attempt of a step of *scope*, and say how it ended."""
    transactions = settings.transactions
    if transactions is None:
        return await _run_attempt(settings, scope, body, attempt)
    return transactions.judge(attempt, await _run_attempt(settings, scope, body, attempt))


async def _run_attempt(
    settings: RunSettings, scope: Scope, body: Callable[..., Any], attempt: Attempt
) -> Outcome[Any]:
    context = step_context(settings, scope, attempt)
    attempting = Attempting(scope, attempt, context, settings.transactions)
    token = active.set(attempting)
    if settings.stand_in is not None:
        body = settings.stand_in(scope, attempt, body)
    try:
        if is_coroutine_function(body):
            limit = limit_of(settings, attempt)
            if limit is None:
                return Ok(await body())
            return await _within(limit, settings.clock, attempt, partial(_run_here, body))
        return await _run_beside(settings, body, attempt)
    except PASSED_ON:
        raise
    except Exception as error:  # noqa: BLE001 - it is what the body raised, and its outcome
        return Err(error)
    except BaseException as crash:
        raise exited(crash) from crash
    finally:
        attempting.is_over = True
        active.reset(token)


async def run_context_body(body: Callable[..., Any], context: Any) -> Outcome[Any]:
    """Run the *body* of a context, and say how it ended."""
    try:
        value = body(context)
        return Ok(await value if inspect.isawaitable(value) else value)
    except PASSED_ON:
        raise
    except Exception as error:  # noqa: BLE001 - it is what the body raised, and its outcome
        return Err(error)
    except BaseException as crash:
        raise exited(crash) from crash


def wrapped(
    body: Callable[..., Any], place: Attempt | Scope, wraps: MakeWraps | None
) -> Callable[..., Any]:
    """Give *body* with *wraps* around it where it runs."""
    if isinstance(place, Scope) or is_coroutine_function(body):
        return in_task(body, wraps)
    return beside_task(body, wraps)


async def _run_beside(
    settings: RunSettings, body: Callable[..., Any], attempt: Attempt
) -> Outcome[Any]:
    loop = asyncio.get_running_loop()
    slots = _slots.setdefault(loop, asyncio.Semaphore(_THREADS))
    async with slots:  # an attempt has the time that it may take from when it begins
        limit = limit_of(settings, attempt)
        if limit is None:
            return await _run_in_thread(body, attempt)
        work = partial(_run_in_thread, body, attempt)
        return await _within(limit, settings.clock, attempt, work)


async def _within(
    limit: Limit, clock: Clock, attempt: Attempt, work: Callable[[], Awaitable[Outcome[Any]]]
) -> Outcome[Any]:
    timeout = asyncio.timeout(None)
    try:
        async with timeout:
            timer = clock.call_later(limit.seconds, timeout.reschedule, _NOW)
            try:
                return await work()
            finally:
                timer.cancel()
    except TimeoutError:
        if not timeout.expired():
            raise
    return limit.given_up(attempt)


async def _run_here(body: Callable[..., Any]) -> Outcome[Any]:
    return Ok(await body())


async def _run_in_thread(body: Callable[..., Any], attempt: Attempt) -> Outcome[Any]:
    try:
        outcome = await in_thread(partial(_outcome_of, body), f"durably step {attempt.op}")
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


def _outcome_of(body: Callable[[], Any]) -> Outcome[Any] | BaseException:
    """Run *body*; whoever waits for it must tell a cancellation that it raises from his own."""
    try:
        return Ok(body())
    except (ContextUsageError, UnrecoverableError) as error:
        return error
    except Exception as error:  # noqa: BLE001 - it is what the body raised, and its outcome
        return Err(error)
    except BaseException as crash:  # noqa: BLE001 - raised again in the task that waits
        return crash
