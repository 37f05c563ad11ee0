"""What a test puts in the place of steps, of functions that are invoked, and of whoever answers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast

from durably.app.payloads import callback_payload
from durably.app.settings import is_function_name
from durably.checks import shown
from durably.core.effects import Attempt
from durably.core.scope import Scope
from durably.engine.invokers import Call, FunctionError
from durably.errors import ValidationError, error_object
from durably.limits import as_name, as_timedelta
from durably.serdes import JsonSerdes, SerdesContext
from durably.testing.effects import Ledger
from durably.wire.operation import ErrorObject

_OF_SUBMITTERS = " submitter"
_JSON = JsonSerdes()
_NOBODY = SerdesContext("", "")


class FakeCall(tuple[Any, ...]):  # noqa: SLOT001 - a tuple cannot have slots of its own
    """The arguments of one call: those without a name as a tuple.

    Attributes:
        keywords: those with a name.
    """

    keywords: dict[str, Any]

    @classmethod
    def of(cls, args: tuple[Any, ...], keywords: dict[str, Any]) -> FakeCall:
        """Note the arguments of a call."""
        call = cls(args)
        call.keywords = keywords
        return call


class Fake:
    """What is called in the place of a function.

    Attributes:
        name: the step, or the function that is invoked.
        calls: with what it was called each time, repeated attempts included.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.calls: list[FakeCall] = []
        self._function = function

    def __repr__(self) -> str:
        return f"<Fake of {self.name!r}, called {len(self.calls)} times>"

    def call(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Note the call, and make it."""
        self.calls.append(FakeCall.of(args, keywords))
        return self._function(*args, **keywords)


@dataclass
class Failure:
    """Which attempts of a step fail, and with what."""

    error: Exception | type[Exception]
    attempts: Collection[int] | None
    is_met: bool = False

    def strikes(self, attempt: int) -> bool:
        """Whether that attempt fails."""
        is_struck = self.attempts is None or attempt in self.attempts
        self.is_met = self.is_met or is_struck
        return is_struck

    def strike(self) -> None:
        """Fail."""
        raise anew(self.error)


@dataclass
class Answer:
    """What callbacks of one name are answered.

    Attributes:
        payload: what they are sent, unless there is an *error*.
        after: how long after they were made.
        heartbeat_interval: how often somebody says meanwhile that he is alive.
    """

    payload: str | None
    error: ErrorObject | None
    after: timedelta
    heartbeat_interval: timedelta | None
    is_met: bool = False


def check_raisable(error: object, field: str) -> None:
    """Refuse what nothing can fail with.

    Raises:
        ValidationError: it is no exception.
    """
    given = error  # the type checkers lose the type of `error` below
    is_class = isinstance(error, type) and issubclass(cast("type[object]", error), Exception)
    if not is_class and not isinstance(error, Exception):
        said = f"must be an exception or a class of them, not {shown(given)}"
        raise ValidationError(field, said)


def anew(error: Exception | type[Exception]) -> Exception | type[Exception]:
    """Give *error* as if it had not been raised before: its frames would grow with each time."""
    return error.with_traceback(None) if isinstance(error, Exception) else error


class FakeFunction:
    """A function that is invoked in the place of a durable one, and called once."""

    is_durable = False
    capacity = None

    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def on_room(self, listener: Callable[[], None], /) -> None:
        """There is nothing to tell."""

    async def call(self, call: Call, /) -> bytes:
        """Give what it returns, as JSON.

        Raises:
            FunctionError: it raised, or returned what JSON cannot say.
        """
        payload = call.payload()
        given = None if payload is None else _JSON.deserialize(payload.decode(), _NOBODY)
        try:
            value = self.fake.call((given,), {})
            value = await value if inspect.isawaitable(value) else value
            return _JSON.serialize(value, _NOBODY).encode()
        except Exception as error:
            said = error_object(error)
            raise FunctionError(said.error_message or "", error_type=said.error_type) from error


class Fakes:
    """All of a test's.

    Attributes:
        functions: those that are invoked, by name.
        answers: what is answered, by the names of callbacks.
        ledger: what happened outside.
        waited_for: the names of the callbacks that were made.
        invoked: the functions that were invoked.
    """

    def __init__(self) -> None:
        self.functions: dict[str, FakeFunction] = {}
        self.answers: dict[str, Answer] = {}
        self.ledger = Ledger()
        self.waited_for: dict[str, None] = {}
        self.invoked: dict[str, None] = {}
        self._steps: dict[str, Fake] = {}
        self._failures: dict[str, Failure] = {}
        self._seen: dict[str, None] = {}

    def stand_in(
        self, _scope: Scope, attempt: Attempt, body: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Give what runs in the place of *body*; see `Host.stand_in`."""
        name = (attempt.op.name or "").removesuffix(_OF_SUBMITTERS)
        self._seen[name] = None
        failure, fake = self._failures.get(name), self._steps.get(name)
        if failure is not None and failure.strikes(attempt.number):
            return _fitting(failure.strike)
        return body if fake is None else _fitting(partial(fake.call, *_arguments_of(body)))

    def unmet(self) -> Iterator[str]:
        """Say what nothing was ever run, called or answered for."""
        steps, failures = self._steps.items(), self._failures.items()
        struck = {name for name, failure in failures if failure.is_met}
        ran = {name for name, fake in steps if fake.calls}
        invoked = {name for name, function in self.functions.items() if function.fake.calls}
        has = f"Steps that ran: {_listed(self._seen)}"
        were = f"Functions that were: {_listed(self.invoked)}"
        for verb, known, met, said in (
            ("fake_step", self._steps, ran | struck, f"no such step ran. {has}"),
            ("fail_step", self._failures, struck, f"no such attempt ran. {has}"),
            ("fake_invoke", self.functions, invoked, f"no such function was invoked. {were}"),
        ):
            yield from (f"{verb}({name!r}): {said}" for name in known if name not in met)
        yield from self.unmet_answers()

    def unmet_answers(self) -> Iterator[str]:
        """Say which answers nothing has waited for yet."""
        said = f"no such callback was waited for. Callbacks that were: {_listed(self.waited_for)}"
        for name, answer in self.answers.items():
            if not answer.is_met:
                yield f"answer_callbacks({name!r}): {said}"

    def add_step(self, name: str, function: Callable[..., Any]) -> Fake:
        """Have *function* called in the place of the bodies of steps of that name."""
        as_name(name)
        fake = self._steps[name] = Fake(name, function)
        return fake

    def add_failure(
        self, name: str, error: Exception | type[Exception], attempts: int | Collection[int] | None
    ) -> None:
        """Have attempts of steps of that name fail."""
        as_name(name)
        check_raisable(error, "error")
        numbers = range(1, attempts + 1) if isinstance(attempts, int) else attempts
        self._failures[name] = Failure(error, numbers)

    def add_function(self, name: str, function: Callable[..., Any]) -> Fake:
        """Have *function* called in the place of the durable function of that name."""
        if is_function_name(name) is None:
            raise ValidationError("name", f"{name!r} is no name that a function can have")
        fake = Fake(name, function)
        self.functions[name] = FakeFunction(fake)
        return fake

    def add_answer(
        self,
        name: str,
        payload: object,
        error: ErrorObject | None,
        after: timedelta | float,
        heartbeat_interval: timedelta | float | None,
    ) -> None:
        """Have callbacks of that name answered."""
        as_name(name)
        beats = None
        if heartbeat_interval is not None:
            beats = as_timedelta(heartbeat_interval, "heartbeat_interval")
        after = as_timedelta(after, "after")
        self.answers[name] = Answer(callback_payload(payload), error, after, beats)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _arguments_of(body: Callable[..., Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (body.args, body.keywords) if isinstance(body, partial) else ((), {})


def _fitting(call: Callable[[], Any]) -> Callable[[], Any]:
    """Give *call* in the form that is run where this is: in the event loop, or in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call

    async def called() -> Any:
        value = call()
        return await value if inspect.isawaitable(value) else value

    return called
