"""Everything that an engine waits for by itself goes by the clock that it was given."""

import asyncio
from datetime import timedelta

from durably import ExecutionStatus
from durably.clients.embedded import EmbeddedClient
from durably.engine.commands import Target
from durably.engine.dispatcher import Dispatcher
from durably.engine.invokers import InProcessInvoker
from durably.engine.policy import DispatcherPolicy
from durably.engine.service import Service
from durably.seams import RandomIds
from durably.stores.memory import MemoryStore
from durably.testing.clock import EPOCH, VirtualClock
from durably.wire.invocation import InvocationInput, InvocationOutput, InvocationStatus
from tests.unit.engine.shell import Function

LEASE = timedelta(seconds=30)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Worker:
    """A worker on a virtual clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = MemoryStore()
        self.service = Service(
            self.store, self.clock, RandomIds(), lambda name: Target(name, "$LATEST")
        )
        self.dispatcher = Dispatcher(
            self.service,
            InProcessInvoker({"stuck": Function(stuck), "done": Function(done)}, EmbeddedClient),
            lambda: ("stuck", "done"),
            "worker",
            DispatcherPolicy(lease=LEASE),
        )

    async def begin(self) -> asyncio.Task[None]:
        await self.service.open()
        return asyncio.ensure_future(self.dispatcher.run())

    async def let_pass(self, duration: timedelta) -> None:
        self.clock.advance(duration)
        await turns()


async def stuck(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    await asyncio.Event().wait()
    raise AssertionError


async def done(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    return InvocationOutput(status=InvocationStatus.SUCCEEDED, result="1")


async def test_leases_are_kept_and_what_is_old_is_removed_on_the_clock_of_the_engine() -> None:
    worker = Worker()
    work = await worker.begin()
    claimed = await worker.service.start("stuck", "1")
    closed = await worker.service.start("done", "1")
    await turns()
    status = (await worker.service.get(closed)).status

    await worker.let_pass(LEASE / 3)
    stored = await worker.store.find(claimed)
    await worker.let_pass(timedelta(days=15))
    gone = await worker.store.find(closed)
    await worker.dispatcher.drain(timedelta(0))
    await asyncio.gather(work, return_exceptions=True)
    await worker.service.close()

    assert stored is not None
    assert stored.wake_at == EPOCH + LEASE / 3 + LEASE
    assert status is ExecutionStatus.SUCCEEDED
    assert gone is None
