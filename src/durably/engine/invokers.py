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

    async def invoke(self, session: Session) -> InvocationOutput:
        """Give what the handler answers. Whatever is raised counts as a failed invocation."""
        ...


class DurableFunction(Protocol[ClientT_contra]):
    """A function registered in this process."""

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
        functions: Mapping[str, DurableFunction[ClientT]],
        connect: Callable[[Session], ClientT],
    ) -> None:
        self._functions = functions
        self._connect = connect

    async def invoke(self, session: Session) -> InvocationOutput:
        """Run one invocation.

        Raises:
            FunctionNotFoundError: the function is not registered here.
        """
        function = self._functions.get(session.function_name)
        if function is None:
            raise FunctionNotFoundError(session.function_name, tuple(self._functions))
        return await function.invoke(session.input(), self._connect(session))
