"""How functions are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from durably.engine.sessions import Session
from durably.errors import FunctionNotFoundError
from durably.wire.invocation import InvocationInput, InvocationOutput

ClientT = TypeVar("ClientT")
ClientT_contra = TypeVar("ClientT_contra", contravariant=True)


class Invoker(Protocol):
    """Calls the function that an invocation is of."""

    is_remote: bool

    def holds_thread(self, function_name: str) -> bool:
        """Whether an invocation of that function occupies a thread of this process."""
        ...

    async def invoke(self, session: Session) -> InvocationOutput:
        """Give what the handler answers. Whatever is raised counts as a failed invocation."""
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

    is_remote = False

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

    async def invoke(self, session: Session) -> InvocationOutput:
        """Run one invocation.

        Raises:
            FunctionNotFoundError: the function is not registered here.
        """
        function = self._functions.get(session.function_name)
        if function is None:
            raise FunctionNotFoundError(session.function_name, tuple(self._functions))
        return await function.invoke(session.input(), self._connect(session))
