"""A service on a store in memory, in an event loop whose time jumps to whatever is next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from selectors import DefaultSelector, SelectorKey
from typing import Self, TypeVar

from durably.clients.embedded import EmbeddedClient
from durably.clock import SystemClock
from durably.engine.commands import Target
from durably.engine.dispatcher import Dispatcher
from durably.engine.invokers import InProcessInvoker
from durably.engine.policy import DispatcherPolicy, ServicePolicy
from durably.engine.service import Service
from durably.engine.sessions import Session
from durably.engine.store import Change, Claim, VersionConflict
from durably.errors import StoreError
from durably.seams import RandomIds
from durably.stores.memory import MemoryStore
from durably.wire.api import CheckpointRequest
from durably.wire.invocation import InvocationInput, InvocationOutput
from durably.wire.operation import Operation
from durably.wire.update import OperationUpdate
from tests.unit.engine.support import BEGIN

T = TypeVar("T")
LEASE = timedelta(seconds=30)


class _JumpingSelector(DefaultSelector):
    """Never waits: what would be waited for is let pass."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("nothing is going to happen any more")
            self.skipped += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that keeps a time of its own."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.skipped

    def block(self, seconds: float) -> None:
        """Let time pass in which nothing can run, as user code does that keeps the loop."""
        self._jumping.skipped += seconds


class LoopClock(SystemClock):
    """The time of the virtual loop that runs."""

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run *main* in a virtual loop."""

    async def body() -> T:
        return await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(body())


class FailingStore(MemoryStore):
    """Fails as often as it is told to, before or after what it is asked was done."""

    fail_before = 0
    fail_after = 0
    conflicts = 0

    async def append(self, changes: Sequence[Change]) -> None:
        if self.conflicts:
            self.conflicts -= 1
            raise VersionConflict(changes[0].arn)
        if self.fail_before:
            self.fail_before -= 1
            raise StoreError("the disk is on fire")
        await super().append(changes)
        if self.fail_after:
            self.fail_after -= 1
            raise StoreError("the disk is on fire")


class GatedStore(FailingStore):
    """Writes when its gate is open. What waits meanwhile keeps its order."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, changes: Sequence[Change]) -> None:
        await self.gate.wait()
        await super().append(changes)


class SteppedStore(FailingStore):
    """Once it has *gates*, each write waits for one of its own, which is added to them."""

    gates: list[asyncio.Future[None]] | None = None

    async def append(self, changes: Sequence[Change]) -> None:
        if self.gates is not None and changes:
            gate = asyncio.get_running_loop().create_future()
            self.gates.append(gate)
            await gate
        await super().append(changes)


Handler = Callable[[InvocationInput, EmbeddedClient], Awaitable[InvocationOutput]]


class Function:
    """A function that is a handler of the protocol, without an SDK."""

    def __init__(self, handler: Handler, *, is_async: bool = True) -> None:
        self._handler = handler
        self.is_async = is_async

    async def invoke(
        self, invocation: InvocationInput, client: EmbeddedClient, /
    ) -> InvocationOutput:
        return await self._handler(invocation, client)


class Bench:
    """A service, and everything around it that a test may want."""

    def __init__(
        self,
        functions: Mapping[str, Handler] | None = None,
        *,
        store: MemoryStore | None = None,
        policy: ServicePolicy | None = None,
        worker_policy: DispatcherPolicy | None = None,
    ) -> None:
        self.store = store or FailingStore()
        self.clock = LoopClock()
        self.functions = {name: Function(one) for name, one in (functions or {}).items()}
        known = {"f", "g", *self.functions}
        self.service = Service(
            self.store,
            self.clock,
            RandomIds(),
            lambda name: Target(name, "$LATEST") if name in known else None,
            policy,
        )
        self.worker_policy = worker_policy

    async def __aenter__(self) -> Self:
        await self.service.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.service.close()

    async def start(self, payload: str | None = "1", name: str | None = None) -> str:
        return await self.service.start("f", payload, name=name)

    def remembered(self, arns: Sequence[str]) -> list[str]:
        """Give those that are known to be open without a look into the store."""
        return [arn for arn in arns if self.service._journals.is_known_open(arn)]

    async def claim(self, function: str = "f") -> Claim | None:
        now = self.clock.now()
        claims = await self.store.claim("w", [function], now, LEASE, 1)
        return claims[0] if claims else None

    async def begin(self, function: str = "f") -> Session:
        claim = await self.claim(function)
        assert claim is not None, "something is due"
        session = await self.service.begin(claim)
        assert session is not None, "an invocation is owed"
        return session

    async def running(self, *updates: OperationUpdate) -> tuple[str, Session]:
        arn = await self.start()
        session = await self.begin()
        if updates:
            await session.checkpoint(updates)
        return arn, session

    def work(self) -> tuple[Dispatcher, asyncio.Task[None]]:
        """Set a worker to work."""
        dispatcher = Dispatcher(
            self.service,
            InProcessInvoker(self.functions, EmbeddedClient),
            lambda: tuple(self.functions),
            "worker",
            self.worker_policy,
        )
        return dispatcher, asyncio.get_running_loop().create_task(dispatcher.run())

    async def story(self, arn: str) -> list[str]:
        page = await self.service.history(arn, max_items=1000)
        return [event.event_type.value for event in page.events]

    async def operation(self, arn: str, operation_id: str) -> Operation:
        found = {one.id: one for one in await self.service.operations(arn)}
        return found[operation_id]


async def send(client: EmbeddedClient, *updates: OperationUpdate) -> tuple[Operation, ...]:
    """Checkpoint as a function does."""
    request = CheckpointRequest(durable_execution_arn="", checkpoint_token="", updates=updates)
    response = await client.checkpoint(request)
    return response.new_execution_state.operations
