"""What drivers share about user code: what kind of function it is, and what it may know."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import CO_COROUTINE
from typing import Any

from durably.core.active import StepContext
from durably.core.effects import Attempt
from durably.core.journal import Journal
from durably.core.scope import Scope
from durably.drivers.logs import DurableLogger
from durably.drivers.settings import RunSettings


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling *function* only makes a coroutine, so that it may be called in a loop."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(getattr(type(function), "__call__", None), "__code__", None)
    return code is not None and bool(code.co_flags & CO_COROUTINE)


def step_context(settings: RunSettings, scope: Scope, attempt: Attempt) -> StepContext:
    """Make what `current_step` gives during *attempt*."""
    op = attempt.op
    log = DurableLogger(settings.logger, scope, op, attempt.number)
    return StepContext(op.name, op.id, attempt.number, scope.journal.arn, log)


def root_scope(journal: Journal, settings: RunSettings) -> Scope:
    """Open the scope that the handler runs in."""
    scope = Scope(journal, settings.started_at)
    if settings.observers is not None:
        scope.on_call = settings.observers.operation_called
    return scope
