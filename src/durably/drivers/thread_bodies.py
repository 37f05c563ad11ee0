"""Runs the attempts of steps in a thread that may block."""

from __future__ import annotations

import contextvars
import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from durably.clock import Clock
from durably.core.active import Attempting, active
from durably.core.effects import Attempt, Err, Ok, Outcome
from durably.core.scope import Scope
from durably.core.wraps import MakeWraps
from durably.drivers.bodies import PASSED_ON, exited, step_context
from durably.drivers.deadline import Limit, limit_of
from durably.drivers.logs import package_log
from durably.drivers.settings import RunSettings
from durably.drivers.starting import start_thread
from durably.drivers.wrapping import in_thread


def run_attempt(
    settings: RunSettings, scope: Scope, body: Callable[..., Any], attempt: Attempt
) -> Outcome[Any]:
    """Run one attempt of a step of *scope*, and say how it ended."""
    transactions = settings.transactions
    if transactions is None:
        return _run_attempt(settings, scope, body, attempt)
    return transactions.judge(attempt, _run_attempt(settings, scope, body, attempt))


def _run_attempt(
    settings: RunSettings, scope: Scope, body: Callable[..., Any], attempt: Attempt
) -> Outcome[Any]:
    context = step_context(settings, scope, attempt)
    attempting = Attempting(scope, attempt, context, settings.transactions)
    token = active.set(attempting)
    if settings.stand_in is not None:
        body = settings.stand_in(scope, attempt, body)
    try:
        limit = limit_of(settings, attempt)
        if limit is None:
            return Ok(_run_plainly(body))
        return _run_within(body, attempt, limit, settings.clock)
    except PASSED_ON:
        raise
    except Exception as error:  # noqa: BLE001 - it is what the body raised, and its outcome
        return Err(error)
    except BaseException as crash:
        raise exited(crash) from crash
    finally:
        attempting.is_over = True
        active.reset(token)


def wrapped(
    body: Callable[..., Any], place: Attempt | Scope, wraps: MakeWraps | None
) -> Callable[..., Any]:
    """Give *body* with *wraps* around it, and around the coroutine that a step may give."""
    if wraps is None:
        return body
    return in_thread(body if isinstance(place, Scope) else partial(_run_plainly, body), wraps)


def _run_plainly(body: Callable[[], Any]) -> Any:
    value = body()
    if inspect.iscoroutine(value):
        import asyncio  # noqa: PLC0415 - a `def` handler seldom needs it

        return asyncio.run(value)
    return value


def _run_within(
    body: Callable[[], Any], attempt: Attempt, limit: Limit, clock: Clock
) -> Outcome[Any]:
    """Run *body* in a thread that is left behind when it takes too long."""
    values: list[Any] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            values.append(_run_plainly(body))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)
        ended.set()

    context = contextvars.copy_context()
    thread = start_thread(f"durably step {attempt.op}", context.run, run)
    clock.wait(ended, limit.seconds)
    if values or errors:
        thread.join()
    for error in errors:
        raise error
    for value in values:
        return Ok(value)
    package_log.warning(
        "an attempt of %s was given up, and its thread is left behind",
        attempt.op,
        extra={"operationId": attempt.op.id, "attempt": attempt.number},
    )
    return limit.given_up(attempt)
