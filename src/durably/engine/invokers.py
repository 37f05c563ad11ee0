"""How functions are called: in this process, or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec

from durably.engine.limits import MAX_AMOUNT
from durably.engine.rules import INVALID_RESPONSE_TYPE
from durably.engine.sessions import Session
from durably.errors import FunctionNotFoundError, RecordedError, SerdesError
from durably.serdes_json import check_amount, read_json
from durably.wire.base import convert_wire
from durably.wire.invocation import InvocationInput, InvocationOutput, InvocationStatus

ClientT = TypeVar("ClientT", bound="Client")
ClientT_contra = TypeVar("ClientT_contra", contravariant=True)


class Invoker(Protocol):
    """Calls the function that an invocation is of."""

    def holds_thread(self, function_name: str) -> bool:
        """Whether an invocation of that function occupies a thread of this process."""
        ...

    def capacity(self, function_name: str) -> int | None:
        """How many invocations of that function can be under way; `None`: as many as there are."""
        ...

    def on_room(self, listener: Callable[[], None]) -> None:
        """Call *listener* whenever the capacity of a function may have grown."""
        ...

    async def invoke(self, session: Session) -> InvocationOutput:
        """Give what the handler answers. Whatever is raised counts as a failed invocation."""
        ...


class Client(Protocol):
    """What a function in this process reaches the service by."""

    def end(self) -> None:
        """Let go of what code of the invocation still has in its hands: it is over."""
        ...


class Invocable(Protocol[ClientT_contra]):
    """A function registered in this process.

    Attributes:
        is_async: it runs in the event loop; otherwise each invocation holds a thread.
    """

    is_async: bool

    async def invoke(
        self, invocation: InvocationInput, client: ClientT_contra, /
    ) -> InvocationOutput:
        """Run one invocation. Whatever is raised counts as a failed one."""
        ...


class InProcessInvoker(Generic[ClientT]):
    """Calls functions of this process.

    Args:
        functions: by name. Functions may be added while it is in use.
        connect: makes the client that a function is given for one invocation.
    """

    def __init__(
        self,
        functions: Mapping[str, Invocable[ClientT]],
        connect: Callable[[Session], ClientT],
    ) -> None:
        self._functions = functions
        self._connect = connect

    def holds_thread(self, function_name: str) -> bool:
        """Whether it is a plain function."""
        function = self._functions.get(function_name)
        return function is not None and not function.is_async

    def capacity(self, function_name: str) -> None:
        """No function of this process has a limit of its own."""

    def on_room(self, listener: Callable[[], None]) -> None:
        """There is nothing to tell."""

    async def invoke(self, session: Session) -> InvocationOutput:
        """Run one invocation.

        Raises:
            FunctionNotFoundError: the function is not registered here.
        """
        function = self._functions.get(session.function_name)
        if function is None:
            raise FunctionNotFoundError(session.function_name, tuple(self._functions))
        client = self._connect(session)
        try:
            return await function.invoke(session.input(), client)
        finally:
            client.end()


class FunctionError(RecordedError):
    """A function elsewhere failed, or gave no answer.

    Attributes:
        payload: what the service answers in its place: a JSON object that says why.
    """

    def __init__(
        self,
        message: str,
        *,
        error_type: str | None,
        stack_trace: tuple[str, ...] | None = None,
        payload: bytes | None = None,
    ) -> None:
        super().__init__(message, error_type=error_type, stack_trace=stack_trace)
        members = {"errorType": error_type, "errorMessage": message}
        self.payload = msgspec.json.encode(members) if payload is None else payload

    @classmethod
    def read(cls, payload: bytes, fallback_type: str = "Unhandled") -> FunctionError:
        """Read what a function says of its failure, in whatever form it says it."""
        members = _members_of(payload)
        message = members.get("errorMessage")
        error_type = members.get("errorType")
        trace = members.get("stackTrace") or members.get("trace")
        return cls(
            message if isinstance(message, str) else "",
            error_type=error_type if isinstance(error_type, str) else fallback_type,
            stack_trace=_lines_of(trace),
            payload=payload,
        )


def _members_of(payload: bytes) -> dict[str, Any]:
    try:
        value = _read(payload)
    except (SerdesError, UnicodeDecodeError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _read(payload: bytes) -> object:
    """Read what a function says around its values, if it is not too much to build.

    Raises:
        SerdesError: it is, or it is not JSON.
        UnicodeDecodeError: it is not text.
    """
    text = payload.decode()
    check_amount(text, MAX_AMOUNT)
    return read_json(text)


def _lines_of(trace: object) -> tuple[str, ...] | None:
    if not isinstance(trace, list):
        return None
    return tuple(line for line in cast("list[object]", trace) if isinstance(line, str)) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a function elsewhere.

    Attributes:
        request_id: what the caller calls it.
        function_arn: the function, with its version.
        payload: gives what is sent, asked for when it is; `None` if nobody wants it any more.
        tenant_id: the tenant it is made for.
        trace_id: the trace it belongs to.
    """

    request_id: str
    function_arn: str
    payload: Callable[[], bytes | None]
    tenant_id: str | None = None
    trace_id: str | None = None


class RemoteFunction(Protocol):
    """A function that runs elsewhere."""

    @property
    def is_durable(self) -> bool:
        """Whether it speaks the protocol. A plain one is called once, with its input."""
        ...

    @property
    def capacity(self) -> int | None:
        """How many calls it can work on at once; further ones wait. `None`: that is not known."""
        ...

    def on_room(self, listener: Callable[[], None], /) -> None:
        """Call *listener* whenever its capacity may have grown."""
        ...

    async def call(self, call: Call, /) -> bytes:
        """Give the function's answer.

        Raises:
            FunctionError: it failed, or gave no answer.
        """
        ...


class RemoteInvoker:
    """Calls functions elsewhere, and leaves all others to another invoker.

    Args:
        functions: by name. Functions may be added while it is in use, of no known capacity.
        others: calls what is not among them.
    """

    def __init__(self, functions: Mapping[str, RemoteFunction], others: Invoker) -> None:
        self._functions = functions
        self._others = others

    def holds_thread(self, function_name: str) -> bool:
        """A function elsewhere holds none."""
        return function_name not in self._functions and self._others.holds_thread(function_name)

    def capacity(self, function_name: str) -> int | None:
        """Give what is known of a function elsewhere."""
        function = self._functions.get(function_name)
        if function is None:
            return self._others.capacity(function_name)
        return function.capacity

    def on_room(self, listener: Callable[[], None]) -> None:
        """Have every function tell."""
        self._others.on_room(listener)
        for function in self._functions.values():
            function.on_room(listener)

    async def invoke(self, session: Session) -> InvocationOutput:
        """Run one invocation.

        Raises:
            FunctionError: the function failed, gave no answer, or one that is none.
        """
        function = self._functions.get(session.function_name)
        if function is None:
            return await self._others.invoke(session)
        if function.is_durable:
            await session.make_known()
            return _output_of(await function.call(_call_of(session, session.hand_out)))
        return await _called_plainly(function, session)


async def _called_plainly(function: RemoteFunction, session: Session) -> InvocationOutput:
    """Call a function that knows nothing of executions: its answer is the end of this one."""
    payload = (session.input_payload or "null").encode()
    call = _call_of(session, lambda: None if session.is_over else payload)
    try:
        result = _text_of(await function.call(call))
    except FunctionError as error:
        return InvocationOutput(status=InvocationStatus.FAILED, error=error.to_error_object())
    return InvocationOutput(status=InvocationStatus.SUCCEEDED, result=result)


def _text_of(answer: bytes) -> str:
    try:
        text = answer.decode()
    except UnicodeDecodeError as error:
        raise _no_answer("its answer is not UTF-8 text") from error
    _check_result(text)
    return text


def _call_of(session: Session, payload: Callable[[], bytes | None]) -> Call:
    return Call(
        request_id=session.request_id,
        function_arn=session.function_arn,
        payload=payload,
        tenant_id=session.tenant_id,
        trace_id=session.trace_id,
    )


def _output_of(answer: bytes) -> InvocationOutput:
    """Read what a handler answers.

    Not every target says apart whether it is an answer or an error, so an object that looks like
    an error is one.
    """
    try:
        output = convert_wire(_read(answer), InvocationOutput)
    except (msgspec.MsgspecError, SerdesError, UnicodeDecodeError) as error:
        if "errorType" in _members_of(answer):
            raise FunctionError.read(answer) from error
        raise _no_answer(f"it did not answer as a durable function does: {error}") from error
    _check_result(output.result)
    return output


def _check_result(result: str | None) -> None:
    """Refuse a result that is not JSON. An empty one is none: the real one was checkpointed."""
    try:
        if result:
            read_json(result)
    except SerdesError as error:
        raise _no_answer(f"its result {error}") from error


def _no_answer(message: str) -> FunctionError:
    return FunctionError(message, error_type=INVALID_RESPONSE_TYPE)
