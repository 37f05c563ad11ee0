"""A durable function: invocation input in, invocation output out."""

from __future__ import annotations

import contextvars
import json
import logging
from collections.abc import Callable
from functools import cache, update_wrapper
from typing import TYPE_CHECKING, Any, cast

import msgspec

from durably.clock import Clock, SystemClock
from durably.context import DurableContext
from durably.core.calls import Calls
from durably.core.hints import annotation_of, positional_parameters
from durably.core.journal import Journal
from durably.core.scope import Scope
from durably.drivers.bodies import is_coroutine_function
from durably.drivers.logs import DurableLogger
from durably.drivers.outputs import (
    answer_after,
    closing_update,
    failed,
    output_of,
    read_input,
    root_operation,
)
from durably.drivers.paging import load_state, load_state_async
from durably.drivers.settings import RunSettings
from durably.drivers.watching import observers_of, watched
from durably.errors import (
    UnrecoverableExecutionError,
    ValidationError,
    classify_checkpoint_error,
)
from durably.seams import IdSource, RandomIds
from durably.sync_context import SyncDurableContext
from durably.wire.base import encode_invocation
from durably.wire.invocation import InvocationInput, InvocationOutput

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from concurrent.futures import ThreadPoolExecutor

    from durably.core.observer import Plugin
    from durably.drivers.client import AnyClient, DurableExecutionClient

UNEXPECTED_EVENT = (
    "an unexpected payload was used to start the durable execution.\n"
    "Check that the resource is configured as durable: its event must carry "
    "DurableExecutionArn and CheckpointToken"
)


class DurableFunction:
    """A handler that can be run durably. `durable_execution` makes it.

    Called as `(event, lambda_context)` it is the entry point of a Lambda function; an `Engine`
    that it is registered with runs it in this process.

    Attributes:
        name: what it is registered as: the name of the handler.
        handler: the function that was decorated.
        input_type: what the event is decoded to, by the annotation.
        result_type: what the handler says that it returns.
    """

    def __init__(
        self,
        handler: Callable[..., Any],
        *,
        client: AnyClient | None = None,
        plugins: Sequence[Plugin] = (),
        logger: logging.Logger | None = None,
    ) -> None:
        parameters = positional_parameters(handler)
        if len(parameters) != 2:  # noqa: PLR2004 - the event and the context
            text = f"must take the event and the context, and takes ({', '.join(parameters)})"
            raise ValidationError("handler", text)
        update_wrapper(self, handler)
        self.name = handler.__name__
        self.handler = handler
        self.is_async = is_coroutine_function(handler)
        self._client = client
        self._logger = logger or logging.getLogger(handler.__module__)
        self._plugins = tuple(plugins)
        self._clock: Clock = SystemClock()
        self._ids: IdSource = RandomIds()
        self.input_type = annotation_of(handler, parameters[0])
        self.result_type = annotation_of(handler, "return")

    def __call__(self, event: Any, lambda_context: object = None) -> dict[str, Any]:
        """Run one invocation, from the synchronous runtime of AWS Lambda.

        Raises:
            ValidationError: *event* is not one of a durable execution. Nothing was run.
            UnrecoverableInvocationError: this invocation failed, and is to be tried again.
        """
        invocation = validate_durable_execution_event(event)
        client = self._client or _default_client()
        if self.is_async:
            output = _loop().run_until_complete(self.invoke(invocation, client, lambda_context))
        else:
            output = self._invoke_in_threads(invocation, client, lambda_context)
        return _as_json_object(output)

    async def invoke(
        self, invocation: InvocationInput, client: AnyClient, lambda_context: object = None
    ) -> InvocationOutput:
        """Run one invocation in the event loop that this is awaited in.

        Raises:
            UnrecoverableInvocationError: this invocation failed, and is to be tried again.
        """
        if not self.is_async:
            return await self._invoke_beside_loop(invocation, client, lambda_context)
        from durably.drivers.tasks import TaskRun  # noqa: PLC0415 - brings asyncio

        try:
            operations = await load_state_async(client, invocation)
        except Exception as error:
            raise classify_checkpoint_error(error) from error
        journal = Journal(invocation.durable_execution_arn, operations)
        settings = self._settings(journal, lambda_context)
        run = TaskRun(journal, invocation.checkpoint_token, client, settings)

        async def body(ctx: DurableContext) -> Any:
            return await self.handler(read_input(journal, self.input_type), ctx)

        with watched(settings, journal, invocation, lambda_context) as watch:
            output = output_of(await run.run(body), self.result_type)
            update = closing_update(output, self._clock.now())
            if update is not None:
                try:
                    await run.persist_last(update)
                except UnrecoverableExecutionError as error:
                    output, update = failed(error), None
            watch.output = output
        return output if update is None else answer_after(update)

    async def _invoke_beside_loop(
        self, invocation: InvocationInput, client: AnyClient, lambda_context: object
    ) -> InvocationOutput:
        import asyncio  # noqa: PLC0415 - a `def` handler on Lambda never needs it

        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()

        def work() -> InvocationOutput:
            return context.run(self._invoke_in_threads, invocation, client, lambda_context, loop)

        return await loop.run_in_executor(_handler_threads(), work)

    def _invoke_in_threads(
        self,
        invocation: InvocationInput,
        client: AnyClient,
        lambda_context: object,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> InvocationOutput:
        from durably.drivers.thread_backends import backend_for, blocking  # noqa: PLC0415 - only for `def`
        from durably.drivers.threads import ThreadRun  # noqa: PLC0415 - only for `def` handlers

        try:
            operations = load_state(blocking(client, loop), invocation)
        except Exception as error:
            raise classify_checkpoint_error(error) from error
        journal = Journal(invocation.durable_execution_arn, operations)
        settings = self._settings(journal, lambda_context)
        make_backend = backend_for(
            invocation.durable_execution_arn, invocation.checkpoint_token, client, loop, self._ids
        )
        run = ThreadRun(journal, settings, make_backend)

        def body(ctx: SyncDurableContext) -> Any:
            return self.handler(read_input(journal, self.input_type), ctx)

        try:
            with watched(settings, journal, invocation, lambda_context) as watch:
                output = output_of(run.run(body), self.result_type)
                update = closing_update(output, self._clock.now())
                if update is not None:
                    try:
                        run.persist_last(update)
                    except UnrecoverableExecutionError as error:
                        output, update = failed(error), None
                watch.output = output
            return output if update is None else answer_after(update)
        finally:
            run.close()

    def _settings(self, journal: Journal, lambda_context: object) -> RunSettings:
        root = root_operation(journal)
        kind = DurableContext if self.is_async else SyncDurableContext

        def make_context(scope: Scope, run: Any) -> DurableContext | SyncDurableContext:
            return kind(Calls(scope, run), DurableLogger(self._logger, scope), lambda_context)

        return RunSettings(
            make_context=make_context,
            started_at=(root and root.start_timestamp) or self._clock.now(),
            clock=self._clock,
            ids=self._ids,
            logger=self._logger,
            observers=observers_of(self._plugins, journal, self._clock),
        )


def durable_execution(
    handler: Callable[..., Any],
    *,
    client: AnyClient | None = None,
    plugins: Sequence[Plugin] = (),
    logger: logging.Logger | None = None,
) -> DurableFunction:
    """Make *handler* a durable function. Use it as a decorator, or call it.

    *handler* takes the event, decoded by its annotation, and the context: a `DurableContext` for
    an `async def`, a `SyncDurableContext` for a `def`. What it returns is written as plain JSON,
    at most 6 MiB; what it raises ends the execution FAILED.

    Args:
        handler: an `async def` or a `def` of two parameters.
        client: the way to the backend when it is called as a Lambda function; AWS by default.
        plugins: what watches its executions; a factory is called once for each invocation.
        logger: where `ctx.logger` writes; by default the logger of the handler's module.

    Raises:
        ValidationError: *handler* does not take two parameters.
    """
    return DurableFunction(handler, client=client, plugins=plugins, logger=logger)


def validate_durable_execution_event(event: Any) -> InvocationInput:
    """Read the event of an invocation.

    Raises:
        ValidationError: it is not that of a durable execution. Nothing was run.
    """
    members = cast("dict[str, Any]", event) if isinstance(event, dict) else {}
    if not members.get("DurableExecutionArn") or not members.get("CheckpointToken"):
        raise ValidationError("event", UNEXPECTED_EVENT)
    try:
        return InvocationInput.parse(members)
    except msgspec.ValidationError as error:
        raise ValidationError("event", str(error)) from error


def _as_json_object(output: InvocationOutput) -> dict[str, Any]:
    return json.loads(encode_invocation(output))  # type: ignore[no-any-return]  # an object


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process's invocations: made once, because making one is slow."""
    import asyncio  # noqa: PLC0415 - a `def` handler on Lambda never needs it

    return asyncio.new_event_loop()


@cache
def _handler_threads() -> ThreadPoolExecutor:
    """Threads that invocations of `def` handlers wait in, beside an event loop."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only beside a loop

    return ThreadPoolExecutor(max_workers=32, thread_name_prefix="durably-invocation")


def _default_client() -> DurableExecutionClient:
    from durably.clients.aws_lambda import (  # noqa: PLC0415 - only where no client is given
        AwsDurableExecutionClient,
    )

    return AwsDurableExecutionClient.default()
