"""A process of the backend: a service over its view of the store, and workers in its memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

from durably.clients.embedded import EmbeddedClient
from durably.drivers.client import Listener
from durably.drivers.settings import Host
from durably.engine.commands import Target
from durably.engine.dispatcher import Dispatcher
from durably.engine.invokers import InProcessInvoker, Invoker, RemoteFunction, RemoteInvoker
from durably.engine.policy import DispatcherPolicy, ServicePolicy
from durably.engine.service import Service
from durably.engine.sessions import Session
from durably.errors import ApiError, InvalidParameterValueException, StoreError
from durably.seams import RandomIds
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.invocation import InvocationOutput
from durably.wire.update import OperationUpdate
from tests.simulator.code import Code
from tests.simulator.disk import View
from tests.simulator.loop import Place, kept_tasks
from tests.simulator.runtimes import AskingFunction
from tests.simulator.stage import Attempted, BackendClock, Stage, Visited, handed_out
from tests.simulator.worker import RemoteFunctionProxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How the processes of a world run.

    Attributes:
        functions: all that can be started.
        served: those that workers run.
        runtimes: how many runtimes ask a process for calls of a function elsewhere; `None`: it
            calls an address, as often as it likes.
    """

    policy: ServicePolicy
    worker_policy: DispatcherPolicy
    dispatchers: int
    functions: Sequence[str]
    served: Sequence[str]
    runtimes: int | None


class Process:
    """One process, from its start to its end or its death.

    Attributes:
        place: where it runs.
        service: the service half.
        is_open: it serves.
        is_ending: it is going to end, or has been told to.
    """

    def __init__(
        self,
        stage: Stage,
        place: Place,
        view: View,
        code: Code,
        remote: Mapping[str, RemoteFunctionProxy],
        setup: Setup,
    ) -> None:
        self.stage = stage
        self.place = place
        self.view = view
        self._setup = setup
        known = frozenset(setup.functions)
        self.service = Service(
            view,
            BackendClock(stage),
            RandomIds(stage.random),
            lambda name: Target(name, "$LATEST") if name in known else None,
            setup.policy,
        )
        self.service.on_wake = self._take_waker  # type: ignore[method-assign]
        elsewhere: Mapping[str, RemoteFunction] = remote
        if setup.runtimes is not None:
            asked = partial(AskingFunction, stage, count=setup.runtimes)
            elsewhere = {name: asked(one) for name, one in remote.items()}
        inner = RemoteInvoker(elsewhere, InProcessInvoker[ObservedClient](code, self._connect))
        self._invoker = ObservedInvoker(stage, place, inner, frozenset(remote))
        self.dispatchers: list[Dispatcher] = []
        self._work: list[asyncio.Task[None]] = []
        self.is_open = self.is_ending = False
        self._number = count(1)

    async def open(self) -> None:
        """Begin to work. A store that fails is asked again."""
        while True:
            try:
                await self.service.open()
            except StoreError:
                await asyncio.sleep(0.3)
            else:
                break
        for number in range(self._setup.dispatchers):
            dispatcher = Dispatcher(
                self.service,
                self._invoker,
                lambda: self._setup.served,
                f"{self.place.name}/{number}",
                self._setup.worker_policy,
            )
            self.dispatchers.append(dispatcher)
            self._work.append(asyncio.get_running_loop().create_task(dispatcher.run()))
        self.is_open = True

    async def end(self, grace: float) -> None:
        """End as it should, but for a store that fails; serve until nothing runs any more."""
        if any(dispatcher.running for dispatcher in self.dispatchers):
            self.stage.trace.reach("drained with work in flight")
        for dispatcher in self.dispatchers:
            await dispatcher.drain(timedelta(seconds=grace))
            # What it gives back may be taken by the next one, and be given back again.
            self.stage.faults.note("drain")
        await asyncio.gather(*self._work, return_exceptions=True)
        self.is_open = False
        try:
            await self.service.close()
        except StoreError:
            self.stage.trace.say(f"{self.place.name} could not write everything at its end")

    @property
    def running(self) -> int:
        """How many invocations it has under way."""
        return sum(dispatcher.running for dispatcher in self.dispatchers)

    # What is between the parts of the product

    def _take_waker(self, waker: Callable[[], None]) -> None:
        Service.on_wake(self.service, lambda: self._hint(waker))

    def _hint(self, waker: Callable[[], None]) -> None:
        faults = self.stage.faults
        if faults.hits("hint is lost"):
            return
        if faults.hits("hint comes late"):
            self.stage.loop.call_later(faults.pick(0, 3), waker)
            return
        waker()
        if faults.hits("hint comes twice"):
            self.stage.loop.call_soon(waker)

    def _connect(self, session: Session) -> ObservedClient:
        return ObservedClient(self.stage, session, next(self._number))


def is_left_open(task: asyncio.Task[Any]) -> bool:
    """Whether a task of an invocation lives on, and is not the service's."""
    code = getattr(task.get_coro(), "cr_code", None)
    is_services = code is not None and "/durably/engine/" in code.co_filename
    return not (task.done() or is_services)


class ObservedInvoker:
    """Calls functions, and writes down what comes of it."""

    def __init__(
        self, stage: Stage, place: Place, inner: Invoker, elsewhere: frozenset[str]
    ) -> None:
        self._stage = stage
        self._place = place
        self._inner = inner
        self._elsewhere = elsewhere

    def holds_thread(self, function_name: str) -> bool:
        return False  # plain functions are simulated elsewhere

    def capacity(self, function_name: str) -> int | None:
        return self._inner.capacity(function_name)

    def on_room(self, listener: Callable[[], None]) -> None:
        self._inner.on_room(listener)

    async def invoke(self, session: Session) -> InvocationOutput:
        is_elsewhere = session.function_name in self._elsewhere
        visit = self._stage.visits[session.request_id] = Visited(
            id=session.request_id,
            execution=session.arn,
            node=self._place.name,
            epoch=session.epoch,
            token=session.token if is_elsewhere else "",
            began=self._stage.trace.tick(),
            at=self._stage.loop.now,
        )
        self._stage.trace.say(f"invocation {visit.id[:8]} of {visit.execution} begins")
        if is_elsewhere:
            return await self._inner.invoke(session)
        tasks: list[asyncio.Task[Any]] = []
        handed_out.set(visit.began)
        token = kept_tasks.set(tasks)
        answer = "RAISED"
        try:
            output = await self._inner.invoke(session)
            answer = output.status.value
            return output
        finally:
            kept_tasks.reset(token)
            visit.ended = self._stage.trace.tick()
            visit.answer = answer
            visit.tasks = sum(map(is_left_open, tasks))


class ObservedClient:
    """A `PushingClient` that writes down what it carries."""

    def __init__(self, stage: Stage, session: Session, number: int) -> None:
        self._stage = stage
        self._session = session
        self._inner = EmbeddedClient(session)
        self._number = number
        self.host = Host(clock=BackendClock(stage), ids=RandomIds(stage.random))
        self._sent = count(1)

    @property
    def request_id(self) -> str:
        return self._inner.request_id

    def end(self) -> None:
        self._inner.end()

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        write = Attempted(
            kind="checkpoint",
            execution=self._session.arn,
            invocation=self.request_id,
            node=self._stage.loop.here.name,
            epoch=self._session.epoch,
            sent=self._stage.trace.tick(),
            updates=request.updates,
            client_token=f"{self.request_id} {next(self._sent)}",
        )
        self._stage.ask(write)
        try:
            response = await self._inner.checkpoint(request)
        except ApiError as error:
            self._stage.answer(write, is_accepted=False)
            if isinstance(error, InvalidParameterValueException) and self._session.is_over:
                self._stage.trace.reach("zombie refused")
            raise
        except asyncio.CancelledError:
            write.is_given_up = True
            raise
        self._stage.answer(write, is_accepted=True)
        write.acknowledged = True
        if response.checkpoint_token is None:
            self._stage.visits[self.request_id].is_dismissed = True
        return response

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        return await self._inner.get_execution_state(request)

    def post(self, update: OperationUpdate) -> None:
        self._inner.post(update)

    def listen(self, listener: Listener) -> None:
        self._inner.listen(listener)
