"""What a test says before it runs something: what is faked, what fails, and who answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from durably.app.failures import as_error_object
from durably.checks import check_function
from durably.errors import ValidationError
from durably.testing.fakes import Fake, Fakes, anew, check_raisable

if TYPE_CHECKING:
    from durably.wire.operation import ErrorObject


class Acting:
    """Says what stands in for the world around a durable function.

    Attributes:
        fakes: everything that was said.
    """

    fakes: Fakes

    def fake_step(
        self, name: str, function: Callable[..., Any] | None = None, *, returns: Any = None
    ) -> Fake:
        """Have steps called *name* run *function* instead of their own, or just return a value.

        So it is with the check of a `wait_for_condition` and the submitter of a `wait_for_callback`
        of that name. The value is recorded as that of the step's own function would be. What this
        gives tells with which arguments it was called; if it never is, the test fails.

        Args:
            name: of the operation, in whatever context and function it is.
            function: called with the arguments of the step's own; `async def` or `def`.
            returns: what is returned, if there is no *function*.
        """
        return self.fakes.add_step(name, _function_of(function, returns))

    def fake_invoke(
        self,
        function_name: str,
        function: Callable[..., Any] | None = None,
        *,
        returns: Any = None,
        raises: Exception | type[Exception] | None = None,
    ) -> Fake:
        """Have invokes of *function_name* call *function* with their payload, or just end.

        The engine need not have a durable function of that name; if it has, that one is not run.
        What this gives tells with which payloads it was called; if it never is, the test fails.

        Args:
            function_name: the function that is invoked.
            function: called once with the payload, as JSON reads it; what it returns is the result.
            returns: the result, if there is no *function*.
            raises: what it fails with, if there is neither.

        Raises:
            ValidationError: no function can have that name.
        """
        if raises is not None:
            if function is not None or returns is not None:
                raise ValidationError("raises", "leaves nothing to return: give one of the three")
            check_raisable(raises, "raises")
            function = partial(_raise, raises)
        return self.fakes.add_function(function_name, _function_of(function, returns))

    def fail_step(
        self,
        name: str,
        error: Exception | type[Exception],
        *,
        attempts: int | Collection[int] | None = None,
    ) -> None:
        """Have attempts of steps called *name* fail before they begin.

        Args:
            name: of the operation, as for `fake_step`.
            error: what is raised.
            attempts: the first so many, or those of these numbers, counted from 1; all by default.
        """
        self.fakes.add_failure(name, error, attempts)

    def effect(self, name: str, key: object = None, *, once: bool = False) -> None:
        """Note that something happened outside: call it in fakes, or in the steps themselves.

        `effects` counts them, and `crash_everywhere` compares them.

        Args:
            name: what happened.
            key: what the outside knows it by, as an idempotency key: again with the same key is
                nothing new.
            once: it must not happen again even where a step runs at least once.
        """
        self.fakes.ledger.note(name, key, is_once=once)

    @property
    def effects(self) -> Counter[str]:
        """How often each effect has happened, in the last of several runs."""
        return self.fakes.ledger.counts

    def answer_callbacks(
        self,
        name: str,
        payload: object = None,
        *,
        error: ErrorObject | Exception | str | None = None,
        after: timedelta | float = 0,
        heartbeat_interval: timedelta | float | None = None,
    ) -> None:
        """Have callbacks called *name* answered whenever one is waited for.

        Args:
            name: of the `wait_for_callback` or `create_callback`.
            payload: text is sent as it is, anything else as JSON.
            error: the failure that is reported instead.
            after: how long after it was made.
            heartbeat_interval: how often somebody says until then that he is alive.
        """
        failure = None if error is None else as_error_object(error)
        self.fakes.add_answer(name, payload, failure, after, heartbeat_interval)


def _raise(error: Exception | type[Exception], _payload: Any) -> None:
    raise anew(error)


def _function_of(function: Callable[..., Any] | None, returns: Any) -> Callable[..., Any]:
    if function is None:
        return lambda *_args, **_keywords: returns
    if returns is not None:
        raise ValidationError("returns", "is what the function does: give one of the two")
    check_function(function, "function", "a function; returns=… gives a value")
    return function
