"""Functions as they run elsewhere: they are handed a payload, and send checkpoints by boto3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from durably import DurableFunction
from durably.clients.aws_lambda import AwsDurableExecutionClient
from durably.engine.invokers import Call, FunctionError
from durably.engine.rules import EXIT_ERROR
from durably.errors import InvocationExitError
from durably.server.attached import FunctionSettings
from durably.wire.base import encode_invocation
from durably.wire.invocation import InvocationInput

Connect = Callable[[], AwsDurableExecutionClient]


class HostedFunction:
    """One function, called in a thread and an event loop of its own.

    Args:
        function: that is called.
        connect: gives its way to the server.
        threads: where it is called.
    """

    is_durable = True
    capacity = None

    def __init__(
        self, function: DurableFunction, connect: Connect, threads: ThreadPoolExecutor
    ) -> None:
        self.settings = FunctionSettings(name=function.name)
        self._function = function
        self._connect = connect
        self._threads = threads

    def on_room(self, listener: Callable[[], None], /) -> None:
        """There is nothing to tell."""

    async def call(self, call: Call, /) -> bytes:
        """Give the function's answer, as the runtime of AWS Lambda would.

        Raises:
            FunctionError: it failed.
        """
        payload = call.payload()
        if payload is None:
            raise FunctionError("nobody waits for it", error_type=EXIT_ERROR[0])
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, payload, call.request_id)

    def _run(self, payload: bytes, request_id: str) -> bytes:
        invocation = InvocationInput.parse(payload)
        context = SimpleNamespace(aws_request_id=request_id)
        try:
            output = asyncio.run(self._function.invoke(invocation, self._connect(), context))
        except InvocationExitError as error:
            raise FunctionError(str(error), error_type=EXIT_ERROR[0]) from error
        except Exception as error:
            raise FunctionError(str(error), error_type=type(error).__name__) from error
        return encode_invocation(output)
