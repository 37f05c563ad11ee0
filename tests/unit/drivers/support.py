"""One execution under a driver, against a backend in memory by the rules of the engine."""

import asyncio
import inspect
import logging
import selectors
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any, Self

from durably.clients.in_memory import ARN, InMemoryClient
from durably.context import DurableContext
from durably.core.calls import Calls
from durably.core.effects import Err, Ok, Outcome
from durably.core.journal import Journal, due_at, is_outstanding
from durably.core.observer import Observers
from durably.core.scope import Scope
from durably.drivers.client import AnyClient, Listener
from durably.drivers.futures import Ending, Suspended
from durably.drivers.logs import DurableLogger
from durably.drivers.settings import Host, RunSettings
from durably.drivers.simulated import SimulatedRun
from durably.drivers.tasks import TaskRun
from durably.drivers.thread_backends import backend_for
from durably.drivers.threads import ThreadRun
from durably.seams import RandomIds
from durably.sync_context import SyncDurableContext
from durably.testing.clock import EPOCH, ManualClock
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.invocation import ExecutionState
from durably.wire.operation import Operation
from durably.wire.update import OperationUpdate

MAX_INVOCATIONS = 50


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time leaps to the next timer when there is nothing else to do."""

    def __init__(self) -> None:
        self.leapt = 0.0
        super().__init__(LeapingSelector(self))

    def time(self) -> float:
        return self.leapt

    async def shutdown_default_executor(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the name is asyncio's
    ) -> None:
        """Join the threads, however long that takes.

        Since Python 3.12 they get *timeout* seconds of the loop's time, which may leap meanwhile.
        """
        await super().shutdown_default_executor()


class LeapingSelector(selectors.DefaultSelector):
    def __init__(self, loop: LeapingLoop) -> None:
        super().__init__()
        self.loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return super().select(5)  # a thread is at work; nothing takes so long here
        events = super().select(0)
        if not events:
            self.loop.leapt += timeout
        return events


class Backend:
    """The backend, and what was asked of it.

    Attributes:
        memory: the execution.
        requests: every checkpoint that was accepted.
        before: called with every request; what it raises, the driver gets instead of a reply.
        after: makes the reply that the driver gets.
    """

    def __init__(self, payload: object = None) -> None:
        self.clock = ManualClock()
        self.memory = InMemoryClient(payload, clock=self.clock)
        self.requests: list[CheckpointRequest] = []
        self.before: Callable[[CheckpointRequest], None] = lambda request: None
        self.after: Callable[[CheckpointResponse], CheckpointResponse] = lambda response: response

    def answer(self, request: CheckpointRequest) -> CheckpointResponse:
        """Accept *request*, and say what has become of the operations it is about."""
        self.before(request)
        response = self.memory.checkpoint(request)
        self.requests.append(request)
        return self.after(response)

    @property
    def updates(self) -> list[OperationUpdate]:
        """Every update that was accepted, in order."""
        return [update for request in self.requests for update in request.updates]

    @property
    def sent(self) -> list[str]:
        """The updates in words: `START a`, `SUCCEED a`."""
        return [f"{update.action} {update.name}" for update in self.updates]

    def operation(self, name: str) -> Operation:
        """Give the operation of a name."""
        found = [one for one in self.memory.operations() if one.name == name]
        assert len(found) == 1, found
        return found[0]

    def pass_time(self) -> None:
        """Let the earliest thing that is waited for happen."""
        due = [due_at(one) for one in self.memory.operations() if is_outstanding(one)]
        times: list[datetime] = [at for at in due if at is not None]
        self.clock.advance(max(timedelta(0), min(times) - self.clock.now()))


class AtOnce:
    """The way to it of a client that blocks, but not for long."""

    answers_at_once = True

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        return self.backend.answer(request)

    def get_execution_state(self, request: GetExecutionStateRequest) -> GetExecutionStateResponse:
        return self.backend.memory.get_execution_state(request)


class Blocking(AtOnce):
    """The way to it of a client that blocks."""

    answers_at_once = False


class Awaited:
    """The way to it of a client that is awaited."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        for _ in range(3):
            await asyncio.sleep(0)
        return self.backend.answer(request)

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        return self.backend.memory.get_execution_state(request)


class Pushing(Awaited):
    """The way to it of a client in this process, which tells by itself what changes."""

    request_id = "request"
    host = Host()
    listener: Listener | None = None

    def post(self, update: OperationUpdate) -> None:
        self.backend.answer(_request(update))

    def listen(self, listener: Listener) -> None:
        self.listener = listener

    def push(self, *names: str) -> bool:
        """Tell of the operations as they are now."""
        assert self.listener is not None
        return self.listener([self.backend.operation(name) for name in names])


def _request(*updates: OperationUpdate) -> CheckpointRequest:
    return CheckpointRequest(durable_execution_arn=ARN, checkpoint_token="", updates=updates)


CLIENTS: dict[str, Callable[[Backend], Any]] = {
    "at once": AtOnce,
    "blocking": Blocking,
    "awaited": Awaited,
    "pushing": Pushing,
}


def only(*operations: Operation) -> Callable[[CheckpointResponse], CheckpointResponse]:
    """Make a reply that tells of nothing else."""
    state = ExecutionState(operations=operations)
    return lambda response: CheckpointResponse(
        checkpoint_token=response.checkpoint_token, new_execution_state=state
    )


def without_token(response: CheckpointResponse) -> CheckpointResponse:
    """Make the reply to an invocation that has no authority any more."""
    return CheckpointResponse(new_execution_state=response.new_execution_state)


class Trial:
    """One execution of *handler*.

    Args:
        client: the name of one of `CLIENTS`.
        seed: runs a plain function by the simulated driver, and not in threads.
        settings: changes of the settings.
    """

    def __init__(
        self,
        handler: Callable[..., Any],
        client: str = "at once",
        *,
        backend: Backend | None = None,
        observers: Callable[[Journal], Observers] | None = None,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        self.handler = handler
        self.backend = backend or Backend()
        self.client = CLIENTS[client](self.backend)
        self.observers = observers
        self.seed = seed
        self.changes = settings
        self.on_run: Callable[[ThreadRun], None] = lambda run: None
        self.after_run: Callable[[ThreadRun], None] = lambda run: None
        self.ending: Ending | None = None
        self.invocations = 0

    def journal(self) -> Journal:
        return Journal(ARN, self.backend.memory.operations())

    def settings(self, journal: Journal) -> RunSettings:
        kind = DurableContext if inspect.iscoroutinefunction(self.handler) else SyncDurableContext
        logger = logging.getLogger("the handler")

        def make_context(scope: Scope, run: Any) -> Any:
            return kind(Calls(scope, run), DurableLogger(logger, scope))

        known: dict[str, Any] = {
            "make_context": make_context,
            "started_at": EPOCH,
            "clock": self.backend.clock,
            "ids": RandomIds(Random(1)),  # noqa: S311 - a test is to be repeated
            "logger": logger,
            "observers": None if self.observers is None else self.observers(journal),
        }
        return RunSettings(**(known | self.changes))

    def run_in_tasks(self, journal: Journal) -> TaskRun:
        """Make one invocation; call it in an event loop."""
        return TaskRun(journal, "token", self.client, self.settings(journal))

    async def invoke_in_tasks(self) -> Ending:
        """Make one invocation of a coroutine, and see that it leaves nothing behind."""
        self.invocations += 1
        before = asyncio.all_tasks()
        ending = await self.run_in_tasks(self.journal()).run(self.handler)
        assert asyncio.all_tasks() == before
        return ending

    def invoke_in_threads(self, client: AnyClient | None = None, loop: Any = None) -> Ending:
        """Make one invocation of a plain function, and see that it leaves nothing behind."""
        self.invocations += 1
        before = set(threading.enumerate())
        journal = self.journal()
        make_backend = backend_for(ARN, "token", client or self.client, loop, RandomIds())
        run = ThreadRun(journal, self.settings(journal), make_backend)
        self.on_run(run)
        try:
            self.ending = run.run(self.handler)
            self.after_run(run)
        finally:
            run.close()
        assert set(threading.enumerate()) <= before
        return self.ending

    def invoke_simulated(self, seed: int) -> Ending:
        """Make one invocation of a plain function in this thread, in an order from *seed*."""
        self.invocations += 1
        journal = self.journal()
        random = Random(seed)  # noqa: S311 - a test is to be repeated
        exchange = SimulatedRun(journal, "token", self.settings(journal), random).run(self.handler)
        try:
            request = next(exchange)
            while True:
                request = exchange.send(self._sent(request))
        except StopIteration as end:
            ending: Ending = end.value
            return ending

    def _sent(self, request: CheckpointRequest) -> Outcome[CheckpointResponse]:
        try:
            return Ok(self.client.checkpoint(request))
        except Exception as error:  # noqa: BLE001 - the driver classifies it
            return Err(error)

    def invoke_in_real_time(self) -> Ending:
        """Make one invocation of a coroutine in an ordinary event loop."""
        return asyncio.run(self.invoke_in_tasks())

    def invoke(self) -> Ending:
        """Make one invocation."""
        if self.seed is not None:
            return self.invoke_simulated(self.seed)
        if not inspect.iscoroutinefunction(self.handler):
            return self.invoke_in_threads()
        ending: Ending = in_loop(self.invoke_in_tasks)
        return ending

    def timed(self) -> tuple[Ending, float]:
        """Make one invocation of a coroutine, and tell how long it took in the loop's time."""

        async def timed() -> tuple[Ending, float]:
            return await self.invoke_in_tasks(), asyncio.get_running_loop().time()

        ending, seconds = in_loop(timed)
        return ending, seconds

    def to_end(self) -> Ending:
        """Invoke it until it is over; in between, let time pass."""
        for _ in range(MAX_INVOCATIONS):
            ending = self.invoke()
            if not isinstance(ending, Suspended):
                return ending
            self.backend.pass_time()
        raise AssertionError("it does not end")


def in_loop(work: Callable[[], Any]) -> Any:
    """Run *work* in an event loop of its own, with its own time."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(work())


class Messages(logging.Handler):
    """Collects log records.

    Attributes:
        records: all of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.message = record.getMessage()
        self.records.append(record)

    @classmethod
    @contextmanager
    def of(cls, name: str) -> Iterator[Self]:
        """Collect what a logger is told."""
        messages = cls()
        logger = logging.getLogger(name)
        logger.addHandler(messages)
        yield messages
        logger.removeHandler(messages)

    def operations(self) -> list[Sequence[str]]:
        """Give what each record names as operations."""
        return [getattr(record, "operations", ()) for record in self.records]
