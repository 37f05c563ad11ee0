"""SyncEngine: the engine for programs without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from durably.app.engine import NO_INPUT, Engine
from durably.app.settings import DEFAULT_GRACE, DEFAULT_URL
from durably.engine.arns import LATEST
from durably.engine.roster import DEFAULT_LEASE
from durably.errors import InvalidStateError
from durably.handler import DurableFunction
from durably.limits import as_timedelta

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from durably.app.execution import Execution
    from durably.app.histories import History
    from durably.app.loop_thread import LoopThread
    from durably.engine.store import Page, Query
    from durably.engine.views import Description, Why
    from durably.wire.execution import ExecutionStatus
    from durably.wire.history import Event, HistoryPage
    from durably.wire.operation import ErrorObject

T = TypeVar("T")

_LEAVING_SECONDS = 10.0
"""How long closing may take beyond the grace period."""


class SyncEngine:
    """An `Engine` whose methods block, working in an event loop in a thread of its own.

    `with SyncEngine("sqlite:orders.db", functions=[fulfil]) as engine:` opens it. Its methods may
    be called from any thread, but not from a durable function in `async def`, which would wait for
    itself.

    Args:
        url: see `Engine`, as for all others.
        functions: the durable functions that may be started.
        max_concurrency: how many invocations may run at once.
        park_after: an execution with so many failed invocations in a row is parked.
        region: what the arns of executions name as their region.
        account: likewise, the account.
        grace: how long running invocations may go on once the engine is left.
        lease: how long this process may be silent before its executions go to another one.
        version: of the functions.
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
        self._engine = Engine(
            url,
            functions,
            max_concurrency=max_concurrency,
            park_after=park_after,
            region=region,
            account=account,
            grace=grace,
            lease=lease,
            version=version,
        )
        self._closing_seconds = as_timedelta(grace, "grace").total_seconds() + _LEAVING_SECONDS
        self._thread: LoopThread | None = None

    def __enter__(self) -> Self:
        """Open the engine; see `Engine.__aenter__`."""
        from durably.app.loop_thread import LoopThread  # noqa: PLC0415 - brings asyncio

        if self._thread is not None:
            self._thread.birthplace.check()
            raise InvalidStateError("the engine is open already")
        thread = LoopThread("durably engine")
        try:
            thread.run(self._engine.__aenter__())
        except BaseException:
            thread.close(_nothing(), _LEAVING_SECONDS)
            raise
        self._thread = thread
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the engine; see `Engine.__aexit__`.

        It is left behind, and this logged, if user code keeps its event loop from closing it. In
        a process that was forked while it was open there is nothing to close.
        """
        thread, self._thread = self._thread, None
        if thread is None or thread.birthplace.is_elsewhere:
            return
        thread.close(self._engine.__aexit__(kind, error, traceback), self._closing_seconds)

    def run_forever(self) -> None:
        """Work until SIGTERM or SIGINT, in the main thread; see `Engine.run_forever`.

        Raises:
            InvalidStateError: the engine is open already.
        """
        from durably.app.loops import run_loop  # noqa: PLC0415 - brings asyncio

        if self._thread is not None:
            self._thread.birthplace.check()
            raise InvalidStateError("the engine is open already: call this without `with`")
        run_loop(self._engine.run_forever())

    def start(
        self,
        function: DurableFunction | str,
        input: object = NO_INPUT,  # noqa: A002 - it is the word for it
        *,
        name: str | None = None,
        execution_timeout: timedelta | float | None = None,
        retention_days: int | None = None,
    ) -> SyncExecution:
        """Start an execution; see `Engine.start`."""
        started = self._engine.start(
            function,
            input,
            name=name,
            execution_timeout=execution_timeout,
            retention_days=retention_days,
        )
        return self._handle(self._wait(started))

    def get(self, execution: str) -> SyncExecution:
        """Find an execution; see `Engine.get`."""
        return self._handle(self._wait(self._engine.get(execution)))

    def list(self, query: Query | None = None) -> Page:
        """Give one page of executions; see `Engine.list`."""
        return self._wait(self._engine.list(query))

    def describe(self, execution: str | SyncExecution) -> Description:
        """Describe an execution as a whole; see `Engine.describe`."""
        return self._wait(self._engine.describe(_named(execution)))

    def history(
        self,
        execution: str | SyncExecution,
        *,
        max_items: int | None = None,
        marker: str | None = None,
        oldest_first: bool = True,
    ) -> HistoryPage:
        """Give one page of what has happened to an execution; see `Engine.history`."""
        return self._wait(
            self._engine.history(
                _named(execution), max_items=max_items, marker=marker, oldest_first=oldest_first
            )
        )

    def export(self, execution: str | SyncExecution) -> History:
        """Give everything that has happened to an execution; see `Engine.export`."""
        return self._wait(self._engine.export(_named(execution)))

    def why(self, execution: str | SyncExecution) -> Why:
        """Say what an execution waits for; see `Engine.why`."""
        return self._wait(self._engine.why(_named(execution)))

    def stop(
        self, execution: str | SyncExecution, error: ErrorObject | Exception | str | None = None
    ) -> datetime:
        """End an execution; see `Engine.stop`."""
        return self._wait(self._engine.stop(_named(execution), error))

    def pause(self, execution: str | SyncExecution, reason: str | None = None) -> None:
        """Let no further invocation run; see `Engine.pause`."""
        self._wait(self._engine.pause(_named(execution), reason))

    def resume(self, execution: str | SyncExecution, reason: str | None = None) -> None:
        """End a pause, or what parked an execution; see `Engine.resume`."""
        self._wait(self._engine.resume(_named(execution), reason))

    def delete(self, execution: str | SyncExecution) -> None:
        """Remove a closed execution; see `Engine.delete`."""
        self._wait(self._engine.delete(_named(execution)))

    def callback_succeed(self, callback_id: str, payload: object = None) -> None:
        """Answer a callback; see `Engine.callback_succeed`."""
        self._wait(self._engine.callback_succeed(callback_id, payload))

    def callback_fail(self, callback_id: str, error: ErrorObject | Exception | str) -> None:
        """Report a failure to a callback; see `Engine.callback_fail`."""
        self._wait(self._engine.callback_fail(callback_id, error))

    def callback_heartbeat(self, callback_id: str) -> None:
        """Say that whoever is to answer is alive; see `Engine.callback_heartbeat`."""
        self._wait(self._engine.callback_heartbeat(callback_id))

    def _handle(self, execution: Execution) -> SyncExecution:
        return SyncExecution(execution, self._wait)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            work.close()
            raise InvalidStateError("the engine is not open: write `with engine:` first")
        return self._thread.run(work)


class SyncExecution:
    """An `Execution` whose methods block."""

    __slots__ = ("_execution", "_wait")

    def __init__(
        self, execution: Execution, wait: Callable[[Coroutine[Any, Any, Any]], Any]
    ) -> None:
        self._execution = execution
        self._wait = wait

    def __repr__(self) -> str:
        return f"<SyncExecution {self.function_name}/{self.name}>"

    @property
    def arn(self) -> str:
        """What it is called everywhere."""
        return self._execution.arn

    @property
    def name(self) -> str:
        """What it is called among those of its function."""
        return self._execution.name

    @property
    def function_name(self) -> str:
        """The function that it is of."""
        return self._execution.function_name

    def result(self, timeout: timedelta | float | None = None) -> Any:
        """Wait for what the function returns; see `Execution.result`."""
        return self._wait(self._execution.result(timeout))

    def describe(self) -> Description:
        """Describe it as a whole."""
        found: Description = self._wait(self._execution.describe())
        return found

    def status(self) -> ExecutionStatus:
        """Say where it stands."""
        status: ExecutionStatus = self._wait(self._execution.status())
        return status

    def history(self) -> tuple[Event, ...]:
        """Give everything that has happened to it, oldest first."""
        events: tuple[Event, ...] = self._wait(self._execution.history())
        return events

    def stop(self, error: ErrorObject | Exception | str | None = None) -> datetime:
        """End it, whatever it does, and say when it ended; see `Engine.stop`."""
        ended_at: datetime = self._wait(self._execution.stop(error))
        return ended_at


async def _nothing() -> None:
    pass


def _named(execution: str | SyncExecution) -> str:
    return execution.arn if isinstance(execution, SyncExecution) else execution
