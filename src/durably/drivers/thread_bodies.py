"""Runs the attempts of steps in a thread that may block."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from durably.core.active import Attempting, active
from durably.core.effects import Attempt, Err, Ok, Outcome
from durably.core.scope import Scope
from durably.drivers.bodies import is_coroutine_function, step_context
from durably.drivers.logs import package_log
from durably.drivers.settings import RunSettings
from durably.errors import ContextUsageError, StepTimeoutError, UnrecoverableError


def run_attempt(
    settings: RunSettings, scope: Scope, body: Callable[..., Any], attempt: Attempt
) -> Outcome[Any]:
    """Run one attempt of a step of *scope*, and say how it ended."""
    context = step_context(settings, scope, attempt)
    token = active.set(Attempting(scope, attempt, context))
    try:
        if attempt.timeout_seconds is not None:
            return _run_within(body, attempt, attempt.timeout_seconds)
        return Ok(_run_plainly(body))
    except (ContextUsageError, UnrecoverableError):
        raise
    except Exception as error:
        return Err(error)
    finally:
        active.reset(token)


def _run_plainly(body: Callable[[], Any]) -> Any:
    if is_coroutine_function(body):
        import asyncio

        return asyncio.run(body())
    return body()


def _run_within(body: Callable[[], Any], attempt: Attempt, seconds: float) -> Outcome[Any]:
    outcome: list[Outcome[Any]] = []

    def run() -> None:
        try:
            outcome.append(Ok(_run_plainly(body)))
        except Exception as error:
            outcome.append(Err(error))

    context = contextvars.copy_context()
    name = f"durably step {attempt.op}"
    thread = threading.Thread(target=context.run, args=(run,), name=name, daemon=True)
    thread.start()
    thread.join(seconds)
    if outcome:
        return outcome[0]
    package_log.warning(
        "an attempt ran too long, and its thread is left behind",
        extra={"operationId": attempt.op.id, "attempt": attempt.number},
    )
    return Err(StepTimeoutError(f"{attempt.op} ran longer than {seconds:g} s"))
