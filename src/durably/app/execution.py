"""The handle of an execution."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from durably.app.failures import as_error_object
from durably.app.payloads import decode_result
from durably.errors import (
    ExecutionError,
    ExecutionFailedError,
    ExecutionParkedError,
    ExecutionStoppedError,
    ExecutionTimedOutError,
    ResourceConflictException,
)
from durably.handler import DurableFunction
from durably.limits import as_timedelta
from durably.wire.arns import title_of
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject
from durably.words import in_words

if TYPE_CHECKING:
    from datetime import datetime

    from durably.app.assembly import Assembly
    from durably.engine.arns import ExecutionArn
    from durably.engine.views import Description
    from durably.wire.history import Event


class Execution:
    """An execution, started or found by an engine.

    Attributes:
        arn: what it is called everywhere.
    """

    __slots__ = ("_engine", "_function", "arn")

    def __init__(
        self, arn: str, function: DurableFunction | None, engine: Callable[[], Assembly]
    ) -> None:
        self.arn = arn
        self._function = function
        self._engine = engine

    def __repr__(self) -> str:
        return f"<Execution {self.function_name}/{self.name}>"

    @property
    def name(self) -> str:
        """What it is called among those of its function."""
        return name_in(self.arn)

    @property
    def function_name(self) -> str:
        """The function that it is of."""
        return function_in(self.arn)

    async def result(
        self,
        timeout: timedelta | float | None = None,  # noqa: ASYNC109 - ends no work, only the wait
    ) -> Any:
        """Wait for what the function returns, read by its annotation.

        Args:
            timeout: how long to wait, for ever by default; 0 looks once. The execution does not
                end with it.

        Raises:
            ExecutionFailedError: the function raised.
            ExecutionTimedOutError: the execution ran past its time-out.
            ExecutionStoppedError: somebody stopped it.
            ExecutionParkedError: too many of its invocations failed in a row; `resume` lets it
                try again.
            TimeoutError: it has not ended yet.
            InvalidStateError: the engine was closed before it had.
            ResourceConflictException: it succeeded, but its record cannot be read any more.
        """
        import asyncio  # noqa: PLC0415 - importing durably must not bring it

        seconds = None if timeout is None else as_timedelta(timeout, "timeout").total_seconds()
        service = self._engine().service
        try:
            async with asyncio.timeout(seconds):
                found = await service.wait_closed(self.arn)
        except TimeoutError:
            found = await self.describe()  # it may have ended just now, or long ago
            if not found.is_closed and found.parked_reason is None:
                assert seconds is not None, "nothing else times out"
                raise TimeoutError(
                    f"{title_of(self.arn)} has not ended in {in_words(seconds)}"
                ) from None
        from durably.app.operations import origin_of  # noqa: PLC0415 - not before it is needed

        origin = await origin_of(self._engine().service, found)
        return result_of(found, self._function, origin)

    async def describe(self) -> Description:
        """Describe it as a whole."""
        return await self._engine().service.get(self.arn)

    async def status(self) -> ExecutionStatus:
        """Say where it stands."""
        return (await self.describe()).status

    async def history(self) -> tuple[Event, ...]:
        """Give everything that has happened to it, oldest first."""
        events: tuple[Event, ...] = ()
        marker: str | None = None
        while True:
            page = await self._engine().service.history(self.arn, max_items=1000, marker=marker)
            events += page.events
            if page.next_marker is None:
                return events
            marker = page.next_marker

    async def stop(self, error: ErrorObject | Exception | str | None = None) -> datetime:
        """End it, whatever it does, and say when it ended; see `Engine.stop`."""
        said = None if error is None else as_error_object(error)
        return await self._engine().service.stop(self.arn, said)


def result_of(
    found: Description, function: DurableFunction | None, origin: str | None = None
) -> Any:
    """Give the result of a closed or parked execution; *origin* is what `origin_of` says.

    Raises:
        ExecutionError: it has none; the class says why.
        ResourceConflictException: it had one, and its record cannot be read any more.
    """
    if found.status is ExecutionStatus.SUCCEEDED and found.damage is not None:
        raise ResourceConflictException(f"{found.execution_name}: {found.damage}.")
    if found.status is ExecutionStatus.SUCCEEDED:
        return decode_result(function, found.result)
    raise error_of(found, origin)


def error_of(found: Description, origin: str | None = None) -> ExecutionError:
    """Say why a closed or parked execution has no result."""
    if not found.is_closed:
        return ExecutionParkedError(found.arn, ErrorObject(error_message=found.parked_reason))
    return _ERRORS.get(found.status, ExecutionError)(found.arn, found.error, origin)


_ERRORS: dict[ExecutionStatus, type[ExecutionError]] = {
    ExecutionStatus.FAILED: ExecutionFailedError,
    ExecutionStatus.TIMED_OUT: ExecutionTimedOutError,
    ExecutionStatus.STOPPED: ExecutionStoppedError,
}


def name_in(arn: str) -> str:
    """Give the execution's name in *arn*."""
    return _parts_of(arn).execution_name


def function_in(arn: str) -> str:
    """Give the function's name in *arn*."""
    return _parts_of(arn).function_name


def _parts_of(arn: str) -> ExecutionArn:
    from durably.engine.arns import parse_execution_arn  # noqa: PLC0415 - not before it is needed

    return parse_execution_arn(arn)
