"""A durable function: invocation input in, invocation output out."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from functools import cached_property, partial, update_wrapper
from typing import TYPE_CHECKING, Any, cast, overload

import msgspec

from durably.checks import check_kind, listed_in
from durably.context import DurableContext
from durably.core.calls import Calls
from durably.core.given import checked_choice
from durably.core.hints import annotation_of, handler_parameters
from durably.core.journal import Journal
from durably.core.scope import Scope
from durably.drivers.bodies import foreign_cancellation, is_coroutine_function
from durably.drivers.client import check_client, pushes
from durably.drivers.deadline import time_left
from durably.drivers.logs import DurableLogger
from durably.drivers.observing import observers_of, plugins_named_in, watched
from durably.drivers.outputs import output_of, read_input, root_operation
from durably.drivers.paging import await_state, load_state
from durably.drivers.settings import Host, RunSettings
from durably.drivers.wrapping import in_task, in_thread
from durably.errors import ValidationError, classify_checkpoint_error
from durably.limits import plain
from durably.serdes import ChooseSerdes, typed_serdes
from durably.sync_context import SyncDurableContext
from durably.wire.base import encode_invocation
from durably.wire.invocation import InvocationInput, InvocationOutput

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from random import Random

    from durably.core.observer import Plugin
    from durably.drivers.client import AnyClient, DurableExecutionClient
    from durably.drivers.simulated import Exchange
    from durably.drivers.threads import ThreadRun
    from durably.wire.operation import Operation

_CUT_OFF_SECONDS = 0.5
_MACHINE = Host()
UNEXPECTED_EVENT = (
    "an unexpected payload was used to start the durable execution.\n"
    "To start one from your own code, write `Engine.start`, or use the command `durably run`.\n"
    "Check that the resource is configured as durable: its event must carry "
    "DurableExecutionArn and CheckpointToken"
)


class DurableFunction:
    """A handler that can be run durably. `durable_execution` makes it.

    Called as `(event, lambda_context)` it is the entry point of a Lambda function; an `Engine`
    that it is registered with runs it in this process.

    On Lambda, an `async def` handler finds the same event loop in each invocation. The tasks that
    an invocation has made and not awaited are cancelled when it ends, with a warning. One that is
    to go on in the next, such as that of a client that is kept, is made in a context of its own:
    `asyncio.create_task(connect(), context=contextvars.Context())`.

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
        default_serdes: ChooseSerdes = typed_serdes,
    ) -> None:
        parameters = handler_parameters(handler)
        check_client(client)
        listed_in(plugins, "plugins", "a list of plugins")
        if logger is not None:
            check_kind(logger, "logger", logging.Logger | logging.LoggerAdapter, "a logging.Logger")
        update_wrapper(self, handler)
        self.name = plain(handler.__name__)
        self.handler = handler
        self.is_async = is_coroutine_function(handler)
        _check_context(handler, parameters, is_async=self.is_async)
        self._client = client
        self._logger = logger or logging.getLogger(handler.__module__)
        self._plugins = tuple(plugins)
        self._choose_serdes = checked_choice(default_serdes)
        self.input_type = annotation_of(handler, parameters[0])
        self.result_type = annotation_of(handler, "return")

    @cached_property
    def _all_plugins(self) -> tuple[Plugin, ...]:
        """Those that it was given, and those that the environment names at its first invocation."""
        return (*self._plugins, *plugins_named_in(os.environ))

    def __call__(self, event: Any, lambda_context: object = None) -> dict[str, Any]:
        """Run one invocation, from the synchronous runtime of AWS Lambda.

        Raises:
            ValidationError: *event* is not one of a durable execution. Nothing was run.
            InvalidStateError: the handler is an `async def`, and this was called in an event loop,
                or another thread runs an invocation of one. Nothing was run.
            UnrecoverableInvocationError: this invocation failed, and is to be tried again.
        """
        invocation = validate_durable_execution_event(event)
        client = self._client or _default_client()
        if self.is_async:
            from durably.drivers.kept_loop import run_in_kept_loop  # noqa: PLC0415 - brings asyncio

            main = self.invoke(invocation, client, lambda_context)
            output = run_in_kept_loop(main, invocation.durable_execution_arn)
        else:
            from durably.drivers.thread_backends import blocking  # noqa: PLC0415 - only for `def`

            try:
                operations = load_state(blocking(client, None), invocation)
            except Exception as error:
                raise classify_checkpoint_error(error) from error
            run = self._thread_run(invocation, operations, client, lambda_context)
            output = self._run_in_threads(run, invocation, _request_id(client, lambda_context))
        return _as_json_object(output)

    async def invoke(
        self, invocation: InvocationInput, client: AnyClient, lambda_context: object = None
    ) -> InvocationOutput:
        """Run one invocation in the event loop that this is awaited in.

        When it is cancelled, nothing more is recorded. The thread of a `def` handler that comes to
        no operation within half a second is then left behind.

        Raises:
            UnrecoverableInvocationError: this invocation failed, and is to be tried again.
        """
        try:
            operations = await await_state(client, invocation)
        except Exception as error:
            raise classify_checkpoint_error(error) from error
        if not self.is_async:
            return await self._run_beside_loop(invocation, operations, client, lambda_context)
        from durably.drivers.tasks import TaskRun  # noqa: PLC0415 - brings asyncio

        journal = Journal(invocation.durable_execution_arn, operations)
        settings = self._settings(journal, _host_of(client), lambda_context)
        request_id = _request_id(client, lambda_context)
        run = TaskRun(journal, invocation.checkpoint_token, client, settings)

        async def body(ctx: DurableContext) -> Any:
            return await self.handler(read_input(journal, self.input_type), ctx)

        with watched(settings, journal, invocation, request_id) as watch:
            output = output_of(await run.run(in_task(body, watch.wraps)), self.result_type)
            ahead = watch.ends_with(output, settings.clock.now())
            if ahead is not None:
                await run.persist_last(ahead)
        return watch.answer

    def simulate(
        self,
        invocation: InvocationInput,
        operations: Sequence[Operation],
        random: Random,
        host: Host = _MACHINE,
    ) -> Exchange[InvocationOutput]:
        """Run one invocation of a `def` handler in this thread, with every choice from *random*.

        The requests are left to the caller, who sends in what came of each: the reply, all its
        pages joined, or an error. `durably.testing.simulated.simulate` is such a caller.

        Args:
            invocation: what the handler is called with.
            operations: all of its state.
            random: says which branch goes on, and how much is done before the next request.
            host: what it runs on.

        Raises:
            ValidationError: the handler is an `async def`. Nothing was run.
            UnrecoverableInvocationError: this invocation failed, and is to be tried again.
        """
        if self.is_async:
            raise ValidationError("handler", "must be a plain function to be simulated")
        from durably.drivers.simulated import SimulatedRun  # noqa: PLC0415 - only in tests

        journal = Journal(invocation.durable_execution_arn, operations)
        settings = self._settings(journal, host, None)
        run = SimulatedRun(journal, invocation.checkpoint_token, settings, random)

        def body(ctx: SyncDurableContext) -> Any:
            return self.handler(read_input(journal, self.input_type), ctx)

        with watched(settings, journal, invocation, None) as watch:
            ending = yield from run.run(in_thread(body, watch.wraps))
            output = output_of(ending, self.result_type)
            ahead = watch.ends_with(output, settings.clock.now())
            if ahead is not None:
                yield from run.persist_last(ahead)
        return watch.answer

    async def _run_beside_loop(
        self,
        invocation: InvocationInput,
        operations: list[Operation],
        client: AnyClient,
        lambda_context: object,
    ) -> InvocationOutput:
        import asyncio  # noqa: PLC0415 - a `def` handler on Lambda never needs it

        from durably.drivers.beside import in_thread  # noqa: PLC0415 - brings asyncio

        loop = asyncio.get_running_loop()
        run = self._thread_run(invocation, operations, client, lambda_context, loop)
        work = partial(self._run_in_threads, run, invocation, _request_id(client, lambda_context))
        ended = asyncio.ensure_future(in_thread(work, "durably invocation"))
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            run.break_off(foreign_cancellation())
            run.close()
            await asyncio.wait((ended,), timeout=_CUT_OFF_SECONDS)
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
            raise

    def _thread_run(
        self,
        invocation: InvocationInput,
        operations: list[Operation],
        client: AnyClient,
        lambda_context: object,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> ThreadRun:
        from durably.drivers.thread_backends import backend_for  # noqa: PLC0415 - only for `def`
        from durably.drivers.threads import ThreadRun  # noqa: PLC0415 - only for `def` handlers

        journal = Journal(invocation.durable_execution_arn, operations)
        settings = self._settings(journal, _host_of(client), lambda_context)
        token = invocation.checkpoint_token
        make_backend = backend_for(journal.arn, token, client, loop, settings.ids)
        return ThreadRun(journal, settings, make_backend)

    def _run_in_threads(
        self, run: ThreadRun, invocation: InvocationInput, request_id: str | None
    ) -> InvocationOutput:
        def body(ctx: SyncDurableContext) -> Any:
            return self.handler(read_input(run.journal, self.input_type), ctx)

        try:
            with watched(run.settings, run.journal, invocation, request_id) as watch:
                output = output_of(run.run(in_thread(body, watch.wraps)), self.result_type)
                ahead = watch.ends_with(output, run.settings.clock.now())
                if ahead is not None:
                    run.persist_last(ahead)
            return watch.answer
        finally:
            run.close()

    def make_context(
        self, scope: Scope, run: Any, logger: logging.Logger, lambda_context: object = None
    ) -> DurableContext | SyncDurableContext:
        """Make the context of *scope* that the handler, or a body in it, gets from the driver."""
        kind = DurableContext if self.is_async else SyncDurableContext
        calls = Calls(scope, run, self._choose_serdes)
        return kind(calls, DurableLogger(logger, scope), lambda_context)

    def _settings(self, journal: Journal, host: Host, lambda_context: object) -> RunSettings:
        root = root_operation(journal)

        def make_context(scope: Scope, run: Any) -> DurableContext | SyncDurableContext:
            return self.make_context(scope, run, self._logger, lambda_context)

        return RunSettings(
            make_context=make_context,
            started_at=(root and root.start_timestamp) or host.clock.now(),
            clock=host.clock,
            ids=host.ids,
            jitter=host.jitter,
            stand_in=host.stand_in,
            transactions=host.transactions,
            logger=self._logger,
            observers=observers_of(self._all_plugins, journal, host.clock),
            time_left=time_left(host.clock, lambda_context),
        )


def _check_context(handler: Callable[..., Any], parameters: list[str], *, is_async: bool) -> None:
    """Refuse a *handler* that says that it takes another context than it gets, or takes it first.

    Raises:
        ValidationError: so it does.
    """
    first, second = (annotation_of(handler, name) for name in parameters)
    kinds = (DurableContext, SyncDurableContext)
    if first in kinds and second not in kinds:
        raise ValidationError("handler", "must take the event first, and then the context")
    kind = kinds[0] if is_async else kinds[1]
    if second in kinds and second is not kind:
        form = "async def" if is_async else "def"
        said = f"is written with {form}, so its context is a {kind.__name__}"
        raise ValidationError("handler", said)


@overload
def durable_execution(
    handler: Callable[..., Any],
    *,
    client: AnyClient | None = None,
    plugins: Sequence[Plugin] = (),
    logger: logging.Logger | None = None,
    default_serdes: ChooseSerdes = typed_serdes,
) -> DurableFunction: ...


@overload
def durable_execution(
    handler: None = None,
    *,
    client: AnyClient | None = None,
    plugins: Sequence[Plugin] = (),
    logger: logging.Logger | None = None,
    default_serdes: ChooseSerdes = typed_serdes,
) -> Callable[[Callable[..., Any]], DurableFunction]: ...


def durable_execution(
    handler: Callable[..., Any] | None = None,
    *,
    client: AnyClient | None = None,
    plugins: Sequence[Plugin] = (),
    logger: logging.Logger | None = None,
    default_serdes: ChooseSerdes = typed_serdes,
) -> DurableFunction | Callable[[Callable[..., Any]], DurableFunction]:
    """Make *handler* a durable function. Use it as a decorator, with or without arguments.

    *handler* takes the event, decoded by its annotation, and the context: a `DurableContext` for
    an `async def`, a `SyncDurableContext` for a `def`. What it returns is written as plain JSON,
    at most 6 MiB; what it raises ends the execution FAILED.

    Args:
        handler: an `async def` or a `def` of two parameters.
        client: the way to the backend when it is called as a Lambda function; AWS by default.
        plugins: what watches its executions; a factory is called once for each invocation.
        logger: where `ctx.logger` writes; by default the logger of the handler's module.
        default_serdes: chooses by an annotation how the results of steps, child contexts, checks
            and batches are written, where their configuration names no serdes.

    Raises:
        ValidationError: *handler* does not take two parameters, or is no function.
    """
    make = partial(
        DurableFunction,
        client=client,
        plugins=plugins,
        logger=logger,
        default_serdes=default_serdes,
    )
    return make if handler is None else make(handler)


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


def _host_of(client: AnyClient) -> Host:
    host = getattr(client, "host", None)
    return host if isinstance(host, Host) else _MACHINE


def _request_id(client: AnyClient, lambda_context: object) -> str | None:
    return client.request_id if pushes(client) else getattr(lambda_context, "aws_request_id", None)


def _as_json_object(output: InvocationOutput) -> dict[str, Any]:
    return json.loads(encode_invocation(output))  # type: ignore[no-any-return]  # an object


def _default_client() -> DurableExecutionClient:
    from durably.clients.aws_lambda import AwsDurableExecutionClient  # noqa: PLC0415 - seldom used

    return AwsDurableExecutionClient.default()
