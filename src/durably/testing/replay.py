"""One replay: the state that a history had at some time, and what today's code makes of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from durably.clock import SystemClock
from durably.context import DurableContext
from durably.core.journal import Journal
from durably.core.scope import Scope
from durably.drivers.futures import Ending
from durably.drivers.outputs import read_input, root_operation
from durably.drivers.settings import RunSettings
from durably.drivers.tasks import TaskRun
from durably.drivers.thread_backends import Wait
from durably.drivers.threads import ThreadRun
from durably.handler import DurableFunction
from durably.seams import RandomIds
from durably.sync_context import SyncDurableContext
from durably.testing.recorded import RecordedJournal, RecordedLauncher, Trace
from durably.wire.operation import Operation

_COOLDOWN_SECONDS = 0.002
"""How long code may do something of its own between two operations before the replay ends."""

_quiet = logging.Logger("durably.replay")  # noqa: LOG001 - nobody shall find it
_quiet.disabled = True


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay that has ended.

    Attributes:
        journal: what was recorded.
        trace: what the code asked for.
        ending: how the handler ended; suspended where it asked for something new.
    """

    function: DurableFunction
    journal: Journal
    trace: Trace
    ending: Ending


def replay(
    function: DurableFunction, arn: str, operations: Sequence[Operation], trace: Trace
) -> Replay:
    """Replay *operations* against a `def` handler, blocking this thread."""
    journal = RecordedJournal(arn, operations, trace)
    run = ThreadRun(journal, _settings(function, journal, trace), lambda _: _NoThreadBackend())

    def body(ctx: SyncDurableContext) -> Any:
        return function.handler(read_input(journal, function.input_type), ctx)

    try:
        return Replay(function, journal, trace, run.run(body))
    finally:
        run.close()


async def replay_in_loop(
    function: DurableFunction, arn: str, operations: Sequence[Operation], trace: Trace
) -> Replay:
    """Replay *operations* against an `async def` handler, in the running event loop."""
    journal = RecordedJournal(arn, operations, trace)
    run = TaskRun(journal, "", _NoClient(), _settings(function, journal, trace))

    async def body(ctx: DurableContext) -> Any:
        handled: Awaitable[Any] = function.handler(read_input(journal, function.input_type), ctx)
        return await handled

    return Replay(function, journal, trace, await run.run(body))


def _settings(function: DurableFunction, journal: Journal, trace: Trace) -> RunSettings:
    root = root_operation(journal)
    assert root is not None, "a history begins with the start of its execution"
    assert root.start_timestamp is not None, "and says when that was"

    def make_context(scope: Scope, run: Any) -> DurableContext | SyncDurableContext:
        return function.make_context(scope, RecordedLauncher(run, trace), _quiet)

    return RunSettings(
        make_context=make_context,
        started_at=root.start_timestamp,
        clock=SystemClock(),
        ids=RandomIds(),
        logger=_quiet,
        cooldown_seconds=_COOLDOWN_SECONDS,
    )


def _refuse(*_: object) -> NoReturn:
    raise AssertionError("a replay sends nothing")


class _NoClient:
    """A backend of which nothing is asked."""

    request_id = ""
    post: Callable[..., None] = staticmethod(_refuse)

    async def checkpoint(self, request: object) -> NoReturn:
        """Refuse."""
        _refuse(request)

    async def get_execution_state(self, request: object) -> NoReturn:
        """Refuse."""
        _refuse(request)

    def listen(self, listener: object) -> None:
        """Tell nothing: nothing changes."""


class _NoThreadBackend:
    """The same for threads."""

    pushes = True
    post: Callable[..., None] = staticmethod(_refuse)
    persist: Callable[..., Wait] = staticmethod(_refuse)
    persist_last: Callable[..., None] = staticmethod(_refuse)

    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return True

    def poll(self) -> None:
        """Ask nothing: nothing changes."""

    def drain(self) -> bool:
        """Wait for nothing."""
        return True

    def close(self) -> None:
        """Hold nothing."""
