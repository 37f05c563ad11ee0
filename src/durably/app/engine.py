"""Engine: what users embed to run durable functions in their own process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from durably.app.execution import Execution, function_in
from durably.app.failures import as_error_object
from durably.app.histories import History
from durably.app.names import as_execution_name, find_arn
from durably.app.payloads import as_callback_id, callback_payload, encode_input
from durably.app.settings import (
    DEFAULT_GRACE,
    DEFAULT_URL,
    EngineSettings,
    find_function,
    functions_by_name,
    make_store,
)
from durably.checks import check_flag, check_kind
from durably.engine.arns import LATEST
from durably.engine.roster import DEFAULT_LEASE
from durably.errors import InvalidStateError
from durably.handler import DurableFunction
from durably.limits import (
    MAX_RETENTION_DAYS,
    as_count,
    as_text,
    as_timedelta,
    duration_seconds,
)

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from durably.app.assembly import Assembly
    from durably.engine.service import Service
    from durably.engine.store import Page, Query, Store
    from durably.engine.views import Description, Why
    from durably.wire.history import HistoryPage
    from durably.wire.operation import ErrorObject

NO_INPUT: Any = object()


class Engine:
    """Runs durable functions in this process, and keeps what they have done in a store.

    `async with Engine("sqlite:orders.db", functions=[fulfil]) as engine:` opens it. Whatever was
    under way when the process ended last goes on by itself; leaving the block gives what runs some
    time and keeps the rest for the next time. A script without an event loop uses `SyncEngine`.

    Args:
        url: where executions are kept. `sqlite:PATH`: in a file, for one process at a time;
            `postgresql://…`: in a database, for any number of them, which share the work;
            `memory:`: for as long as this object lives.
        functions: the durable functions that may be started, by others of them too.
        max_concurrency: how many invocations may run at once.
        park_after: an execution with so many failed invocations in a row is parked.
        region: what the arns of executions name as their region.
        account: likewise, the account: twelve digits.
        grace: how long running invocations may go on once the engine is left.
        lease: how long this process may be silent before its executions are given to another one:
            a `timedelta` or seconds, at least one second.
        version: of the functions, a number as text. Where several processes share a store, an
            execution goes on only in those of the version that it began with.

    Raises:
        ValidationError: one of them is not a legal one.
    """

    def __init__(  # noqa: PLR0913 - settings, by keyword
        self,
        url: str = DEFAULT_URL,
        functions: Iterable[DurableFunction] = (),
        *,
        max_concurrency: int = 100,
        park_after: int = 10,
        region: str = "local",
        account: str = "000000000000",
        grace: timedelta | float = DEFAULT_GRACE,
        lease: timedelta | float = DEFAULT_LEASE,
        version: str = LATEST,
    ) -> None:
        self._settings = EngineSettings(
            store_url=url,
            max_concurrency=max_concurrency,
            park_after=park_after,
            region=region,
            account=account,
            grace=as_timedelta(grace, "grace"),
            lease=as_timedelta(lease, "lease"),
            version=version,
        )
        self._functions = functions_by_name(functions)
        self._store: Store | None = None
        self._assembly: Assembly | None = None

    async def __aenter__(self) -> Self:
        """Open the store, and go on with everything that is under way in it.

        Raises:
            StoreError: the store cannot be used; the class says why and the text what to do.
            InvalidStateError: the engine is open already.
        """
        if self._assembly is not None:
            self._assembly.birthplace.check()
            raise InvalidStateError("the engine is open already")
        assembly = self._assembly = self._assemble()
        try:
            await assembly.open()
        except BaseException:
            self._assembly = None
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Begin nothing more, give what runs its grace period, and close the store.

        What is cut off then goes on the next time, with nothing that was recorded done again. A
        function that swallows its cancellation is left behind, and this logged.

        In a process that was forked while it was open there is nothing to close.
        """
        if self._assembly is not None and self._assembly.birthplace.is_elsewhere:
            self._assembly = None
            return
        assembly = self._opened()
        try:
            await assembly.close(self._settings.grace)
        finally:
            self._assembly = None

    def _assemble(self) -> Assembly:
        """Put together what is opened: the engine of a test does so in its own way."""
        from durably.app.assembly import Assembly  # noqa: PLC0415 - brings asyncio and sqlite3

        if self._store is None:
            self._store = make_store(self._settings.store_url)
        return Assembly(self._store, self._functions, self._settings)

    @property
    def functions(self) -> Mapping[str, DurableFunction]:
        """The durable functions that may be started, by their names."""
        return self._functions

    @property
    def service(self) -> Service:
        """Everything that can be asked of executions, for what is built over an engine.

        Raises:
            InvalidStateError: it is not open, or was opened in another event loop or process.
        """
        return self._opened().service

    async def run_forever(self) -> None:
        """Work until SIGTERM or SIGINT, then give what runs its grace period: a worker.

        A second signal ends the grace period. An engine that is not open is opened, and closed.

        Raises:
            StoreError: the store cannot be used.
        """
        from durably.app.signals import StopSignals  # noqa: PLC0415 - brings asyncio

        opened = None if self._assembly is None else self._opened()
        async with StopSignals() as signals:
            if opened is not None:
                await opened.wait_for_work_to_end(signals.first)
                return
            await self.__aenter__()
            try:
                await self._opened().wait_for_work_to_end(signals.first)
            finally:
                await signals.hurry(self.__aexit__(None, None, None))

    async def start(
        self,
        function: DurableFunction | str,
        input: object = NO_INPUT,  # noqa: A002 - it is the word for it
        *,
        name: str | None = None,
        execution_timeout: timedelta | float | None = None,
        retention_days: int | None = None,
    ) -> Execution:
        """Start an execution; when this returns, it is durable and nothing loses it any more.

        Args:
            function: one of the engine's functions, or its name.
            input: what it is called with: a value of the type that it asks for, or plain JSON that
                can be read as one. It is written as JSON, at most 6 MiB.
            name: of the execution, 1 to 64 letters, digits, '-' and '_'. Given again for the same
                function and with the same input, the execution that has it is the answer, and
                nothing is started.
            execution_timeout: after how long it ends TIMED_OUT, waits included: a `timedelta` or
                seconds, from one second to 366 days, which is also the default.
            retention_days: how long it is kept after its end, 1 to 90; 14 by default. Its name
                is free after that.

        Raises:
            FunctionNotFoundError: the engine has no such function.
            ValidationError: *input* is not what the function asks for, or one of the others is not
                a legal one.
            DurableExecutionAlreadyStartedException: *name* was started with another input.
            InvalidParameterValueException: *input* breaks a limit.
            StoreError: nothing was started; where that is not certain, its text says so.
        """
        assembly = self._opened()
        execution_name = as_execution_name(name)
        found = find_function(self._functions, function)
        payload = None if input is NO_INPUT else encode_input(found, input)
        seconds = None
        if execution_timeout is not None:
            seconds = duration_seconds(execution_timeout, "execution_timeout", minimum=1)
        if retention_days is not None:
            retention_days = as_count(
                retention_days, "retention_days", minimum=1, maximum=MAX_RETENTION_DAYS
            )
        arn = await assembly.start(found.name, payload, execution_name, seconds, retention_days)
        return Execution(arn, found, self._opened)

    async def get(self, execution: str) -> Execution:
        """Find an execution by its arn, its name, or `FUNCTION/NAME`.

        Raises:
            ResourceNotFoundException: there is none.
            ValidationError: executions of several functions have that name, or none can have it.
        """
        arn = await self._arn_of(execution)
        await self._opened().service.get(arn)
        return Execution(arn, self._functions.get(function_in(arn)), self._opened)

    async def list(self, query: Query | None = None) -> Page:
        """Give one page of the executions that *query* asks for, newest first; all by default."""
        from durably.engine.store import Query  # noqa: PLC0415 - not before it is needed

        if query is None:
            query = Query()
        check_kind(query, "query", Query, 'a Query, such as Query(execution_name="order-7")')
        return await self._opened().service.list(query)

    async def describe(self, execution: str | Execution) -> Description:
        """Describe an execution as a whole.

        Raises:
            ResourceNotFoundException: there is none of this arn or name.
        """
        return await self._opened().service.get(await self._arn_of(execution))

    async def history(
        self,
        execution: str | Execution,
        *,
        max_items: int | None = None,
        marker: str | None = None,
        oldest_first: bool = True,
    ) -> HistoryPage:
        """Give one page of what has happened to an execution.

        Args:
            execution: its arn or name.
            max_items: at most so many events, 1000 at most; 100 by default.
            marker: the `next_marker` of the page before, asked for in the same order.
            oldest_first: or else the newest.

        Raises:
            ResourceNotFoundException: there is none of this arn or name.
            ValidationError: one of them is of the wrong type.
            InvalidParameterValueException: *max_items* or *marker* is not a legal one.
        """
        check_flag(oldest_first, "oldest_first")
        return await self._opened().service.history(
            await self._arn_of(execution),
            max_items=None if max_items is None else as_count(max_items, "max_items", minimum=0),
            marker=None if marker is None else as_text(marker, "marker"),
            oldest_first=oldest_first,
        )

    async def export(self, execution: str | Execution) -> History:
        """Give everything that has happened to an execution, to be written to a file or replayed.

        Raises:
            ResourceNotFoundException: there is none of this arn or name.
            ResourceConflictException: its record cannot be read.
        """
        return History(await self._opened().service.facts(await self._arn_of(execution)))

    async def why(self, execution: str | Execution) -> Why:
        """Say what an execution waits for, since when, and what would wake it.

        Raises:
            ResourceNotFoundException: there is none of this arn or name.
        """
        return await self._opened().service.why(await self._arn_of(execution))

    async def stop(
        self, execution: str | Execution, error: ErrorObject | Exception | str | None = None
    ) -> datetime:
        """End an execution, whatever it does; say when it ended. A closed one is left alone.

        A step that runs just now is not interrupted, but nothing of it is recorded.

        Args:
            execution: its arn or name.
            error: why: an exception, or a text.

        Raises:
            ResourceNotFoundException: there is none of this arn or name.
            ValidationError: *error* is neither.
        """
        said = None if error is None else as_error_object(error)
        return await self._opened().service.stop(await self._arn_of(execution), said)

    async def pause(self, execution: str | Execution, reason: str | None = None) -> None:
        """Let no further invocation of an execution run until `resume`.

        Waits go on meanwhile, callbacks are taken, and its time-out stands still.

        Raises:
            ResourceConflictException: it is closed, or paused already.
            ResourceNotFoundException: there is none of this arn or name.
        """
        said = None if reason is None else as_text(reason, "reason")
        await self._opened().service.pause(await self._arn_of(execution), reason=said)

    async def resume(self, execution: str | Execution, reason: str | None = None) -> None:
        """End a pause, or what parked an execution.

        Raises:
            ResourceConflictException: it is neither paused nor parked, and waits for no retry.
            ResourceNotFoundException: there is none of this arn or name.
        """
        said = None if reason is None else as_text(reason, "reason")
        await self._opened().service.resume(await self._arn_of(execution), reason=said)

    async def delete(self, execution: str | Execution) -> None:
        """Remove a closed execution with everything recorded of it; its name is free again.

        Raises:
            ResourceConflictException: it is not closed.
            ResourceNotFoundException: there is none of this arn or name.
        """
        await self._opened().service.delete(await self._arn_of(execution))

    async def callback_succeed(self, callback_id: str, payload: object = None) -> None:
        """Answer a callback. When this returns, the answer is durable and final (P8).

        Args:
            callback_id: what the function was given.
            payload: text is sent as it is, anything else as JSON. What the function makes of it is
                for its `CallbackConfig.serdes` to say.

        Raises:
            ValidationError: *callback_id* or *payload* is none.
            ResourceNotFoundException: there is no such callback.
            CallbackTimeoutException: it has expired, or was completed before.
        """
        answered = as_callback_id(callback_id)
        text = callback_payload(payload)
        await self._opened().service.succeed_callback(answered, text)

    async def callback_fail(self, callback_id: str, error: ErrorObject | Exception | str) -> None:
        """Report a failure to a callback; raises as `callback_succeed` does.

        Args:
            callback_id: what the function was given.
            error: an exception, or a text.
        """
        answered, said = as_callback_id(callback_id), as_error_object(error)
        await self._opened().service.fail_callback(answered, said)

    async def callback_heartbeat(self, callback_id: str) -> None:
        """Say that whoever is to answer a callback is alive; raises as `callback_succeed` does."""
        await self._opened().service.heartbeat_callback(as_callback_id(callback_id))

    async def _arn_of(self, execution: str | Execution) -> str:
        if isinstance(execution, Execution):
            return execution.arn
        return await find_arn(self._opened().service.store, execution)

    def _opened(self) -> Assembly:
        """Give the engine's insides.

        Raises:
            InvalidStateError: it is not open, or was opened in another event loop or process.
        """
        if self._assembly is None:
            raise InvalidStateError("the engine is not open: write `async with engine:` first")
        self._assembly.birthplace.check()
        if not self._assembly.is_in_its_loop:
            raise InvalidStateError("the engine was opened in another event loop; use it there")
        return self._assembly
