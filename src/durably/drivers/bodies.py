"""What drivers share about user code: what kind of function it is, and what it may know."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import CO_COROUTINE
from typing import Any, TypeVar

from durably.core.active import StepContext, Transactions
from durably.core.effects import Attempt, Err, Ok, Outcome, Persist, Program
from durably.core.journal import Journal
from durably.core.op import Op
from durably.core.scope import Scope
from durably.drivers.futures import Broken, Ending, Suspended
from durably.drivers.logs import DurableLogger
from durably.drivers.settings import RunSettings
from durably.errors import (
    ContextUsageError,
    DurableSignal,
    InvocationExitError,
    NonDeterministicExecutionError,
    TerminationReason,
    UnrecoverableError,
    UnrecoverableInvocationError,
)

T = TypeVar("T")

PASSED_ON = (ContextUsageError, UnrecoverableError, DurableSignal, KeyboardInterrupt)
"""What user code may raise that is no outcome of it."""


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling *function* only makes a coroutine, so that it may be called in a loop."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        call = getattr(type(function), "__call__", None)  # noqa: B004 - which one it is matters
        code = getattr(call, "__code__", None)
    return code is not None and bool(code.co_flags & CO_COROUTINE)


def step_context(settings: RunSettings, scope: Scope, attempt: Attempt) -> StepContext:
    """Make what `current_step` gives during *attempt*."""
    op = attempt.op
    log = DurableLogger(settings.logger, scope, op, attempt.number)
    return StepContext(op.name, op.id, attempt.number, scope.journal.arn, log)


def releasing(settings: RunSettings, op: Op, program: Program[T]) -> Program[T]:
    """Give *program*, so that whatever ends it lets go of the connection that its step has.

    It is told what the database refused of that.
    """
    if settings.transactions is None:
        return program
    return _releasing(settings.transactions, op, program)


def _releasing(transactions: Transactions, op: Op, program: Program[T]) -> Program[T]:
    answer: Any = None
    try:
        while True:
            effect = program.send(answer)
            answer = yield effect
            if isinstance(effect, Persist):
                answer = transactions.refusal(op.id)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # typeshed: the value is Any
    finally:
        program.close()
        transactions.drop(op.id)


def stopped(journal: Journal, reason: TerminationReason) -> Ending:
    """Say how an invocation ends in which nothing can go on.

    It is pending only if something recorded is: else nobody would ever call it again.
    """
    if journal.has_outstanding():
        return Suspended(reason)
    return Broken(NonDeterministicExecutionError(_NOTHING_OUTSTANDING))


_NOTHING_OUTSTANDING = (
    "the handler waits for an operation that was open when its context was closed, so it never "
    "ends: code that executions under way have run must not change what it waits for"
)


def root_scope(journal: Journal, settings: RunSettings) -> Scope:
    """Open the scope that the handler runs in."""
    scope = Scope(journal, settings.started_at)
    scope.watcher = settings.observers
    return scope


def exited(crash: BaseException) -> InvocationExitError:
    """Say that user code wanted to end the process: that ends its invocation, and no other."""
    what = f"raised {type(crash).__name__}"
    if isinstance(crash, SystemExit):
        what = f"called sys.exit({crash.code!r})"
    return InvocationExitError(TerminationReason.CUSTOM, f"user code {what}")


def foreign_cancellation() -> UnrecoverableInvocationError:
    """Say that user code was cancelled, and not by us: what it would have done is not known."""
    text = "cancelled by something other than durably"
    return UnrecoverableInvocationError(TerminationReason.CUSTOM, text)


def outcome_of(body: Callable[[], Any]) -> Outcome[Any]:
    """Run a *body* of user code, and say how it ended."""
    try:
        return Ok(body())
    except PASSED_ON:
        raise
    except Exception as error:  # noqa: BLE001 - it is what the body raised, and its outcome
        return Err(error)
    except BaseException as crash:
        raise exited(crash) from crash
