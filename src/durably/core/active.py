"""What user code is running right now: the body of a context, or an attempt of a step."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import msgspec

from durably.core.effects import Attempt, Err, Outcome
from durably.core.scope import DurableExecutionMode, Scope
from durably.errors import ContextUsageError
from durably.limits import MAX_NESTING

C = TypeVar("C")


class StepContext(msgspec.Struct, frozen=True, eq=False):
    """What the body of a step, a submitter or a condition's check may know of its attempt.

    Attributes:
        name: the operation's name.
        operation_id: the id of its record.
        attempt: which try this is, from 1.
        execution_arn: the execution.
        logger: a logger whose records carry all of this.
    """

    name: str | None
    operation_id: str
    attempt: int
    execution_arn: str
    logger: Any

    @property
    def idempotency_key(self) -> str:
        """A key that is the same for every attempt of this operation, and of no other.

        Send it to systems that ignore a request they have seen before.
        """
        place = f"{self.execution_arn}/{self.operation_id}"
        return sha256(place.encode()).hexdigest()[:32]


WaitForCallbackContext = StepContext
WaitForConditionContext = StepContext


class ActiveOperation(msgspec.Struct, frozen=True):
    """Where user code stands, in the terms of the other SDKs."""

    context_id: str
    parent_id: str | None
    attempt: int | None
    mode: DurableExecutionMode


class Transactions(Protocol):
    """Where attempts get the connection that their outcome is committed with, one each."""

    async def open(self, attempting: Attempting, kind: type[C]) -> C:
        """Give the connection of an attempt, of this *kind*."""
        ...

    def open_blocking(self, attempting: Attempting, kind: type[C]) -> C:
        """Likewise, in a thread that may wait."""
        ...

    def judge(self, place: Attempt, outcome: Outcome[Any]) -> Outcome[Any]:
        """Say what the *outcome* of an attempt is, given what it did with its connection."""
        ...

    def refusal(self, operation_id: str) -> Err | None:
        """Give, once, why the database refused the transaction whose outcome was sent, if so."""
        ...

    def drop(self, operation_id: str) -> None:
        """Let go of the connection of an attempt whose outcome is not sent; from any thread."""
        ...


class Attempting:
    """An attempt that is under way in some scope. The active place while a step's body runs.

    Attributes:
        is_over: it has ended or was given up; code that it has left behind may still run.
    """

    __slots__ = ("context", "is_over", "place", "scope", "transactions")

    def __init__(
        self,
        scope: Scope,
        place: Attempt,
        context: StepContext,
        transactions: Transactions | None = None,
    ) -> None:
        self.scope = scope
        self.place = place
        self.context = context
        self.transactions = transactions
        self.is_over = False


_RESERVED_CALLS = 150
"""What the library needs of Python's stack to run an operation, with room for its plugins."""

active: ContextVar[Scope | Attempting | None] = ContextVar("durably_active", default=None)
"""The innermost durable code that runs here; `None` outside of any."""


def current_step() -> StepContext:
    """Give the context of the attempt that this code runs in.

    Raises:
        ContextUsageError: no step, submitter or check is running here.
    """
    place = active.get()
    if isinstance(place, Attempting):
        return place.context
    raise ContextUsageError(
        "current_step() has an answer only inside the body of a step, a submitter or the check "
        "of a condition. Pass what you need as an argument instead"
    )


def get_active_operation() -> ActiveOperation | None:
    """Say what durable code is running here, `None` outside of any."""
    match active.get():
        case Attempting() as attempting:
            op, scope = attempting.place.op, attempting.scope
            return ActiveOperation(op.step_id, op.parent_id, attempting.place.number, scope.mode)
        case Scope() as scope:
            parent_id = None if scope.op is None else scope.op.parent_id
            return ActiveOperation(scope.step_id, parent_id, None, scope.mode)
        case _:
            return None


def misuse(scope: Scope, name: str | None) -> ContextUsageError | None:
    """Say why an operation must not be called on *scope* from here; `None` when it may be."""
    place = active.get()
    if place is scope:
        return None
    called = "an operation" if name is None else f"operation {name!r}"
    if isinstance(place, Attempting):
        return ContextUsageError(
            f"{called} was called inside step {place.place.op}. Nothing was recorded. A step is "
            f"one unit of work: group durable operations with run_in_child_context instead"
        )
    if isinstance(place, Scope):
        return ContextUsageError(
            f"{called} was called on another context than the one whose body is running. "
            f"Nothing was recorded. Use the context that the innermost function was given"
        )
    return ContextUsageError(
        f"{called} was called outside the code that its context was made for. Nothing was "
        f"recorded. Call operations only from the handler, or from the body that got the context"
    )


def check_use(scope: Scope, name: str | None, caller: object) -> None:
    """See that an operation may be called on *scope* from here, by this task or thread.

    Raises:
        ContextUsageError: it may not. Nothing was recorded.
    """
    error = misuse(scope, name)
    if error is None and scope.owner != caller:
        error = not_owner(name)
    if error is None and not _has_room():
        error = _out_of_stack(name)
    if error is not None:
        raise error


def _has_room() -> bool:
    """Whether enough of Python's stack is left. Without it, an operation could break in midst."""
    try:
        _frame_above(sys.getrecursionlimit() - _RESERVED_CALLS)
    except ValueError:
        return True
    return False


_frame_above = getattr(sys, "_getframe")  # noqa: B009 - private, but nothing else tells how deep it is


def _out_of_stack(name: str | None) -> ContextUsageError:
    called = "an operation" if name is None else f"operation {name!r}"
    return ContextUsageError(
        f"{called} was called when less than {_RESERVED_CALLS} calls were left up to Python's "
        f"recursion limit. Nothing was recorded. Write a loop in place of the recursion, or raise "
        f"the limit with sys.setrecursionlimit"
    )


def nested_too_deep(name: str | None) -> ContextUsageError:
    """Say that a context was to be opened inside of too many others."""
    called = "a context" if name is None else f"context {name!r}"
    return ContextUsageError(
        f"{called} was to be opened inside of {MAX_NESTING} others, and no more are allowed. "
        f"Nothing was recorded. Write a loop in place of the recursion, or invoke what recurses"
    )


def has_ended(name: str | None) -> ContextUsageError:
    """Say that an operation belongs to a context whose body is over."""
    called = "an operation" if name is None else f"operation {name!r}"
    return ContextUsageError(
        f"{called} was used when the body that its context was made for had ended. Nothing was "
        f"recorded. Return what the body finds out, and go on with the context around it"
    )


def not_owner(name: str | None) -> ContextUsageError:
    """Say that an operation was called from a task or thread that does not own its context."""
    called = "an operation" if name is None else f"operation {name!r}"
    return ContextUsageError(
        f"{called} was called from another task or thread than the one that runs its context, so "
        f"its place in the program would depend on chance. Nothing was recorded. Put code that "
        f"calls operations concurrently into ctx.parallel branches or ctx.run_in_child_context; "
        f"awaiting their futures together, as asyncio.gather does, is fine"
    )
