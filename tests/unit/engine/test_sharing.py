"""Workers that share a store: who has which functions, and who works on what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.engine.policy import DispatcherPolicy, ServicePolicy
from durably.engine.roster import Backlog, Presence, Roster, Seen
from durably.engine.shared_store import NEXT_KEY_AFTER, Outline
from durably.engine.store import Change, VersionConflict
from durably.errors import ResourceNotFoundException, StoreError
from durably.stores.admission import break_lines
from durably.stores.memory import MemoryStore
from durably.wire.invocation import InvocationInput, InvocationOutput
from durably.wire.operation import OperationStatus
from tests.unit.engine.shell import LEASE, Bench, Handler, LoopClock, run, send
from tests.unit.engine.support import BEGIN, callback, invoke, step, succeeded
from tests.unit.engine.test_sessions import answer as complete
from tests.unit.engine.test_sessions import noting
from tests.unit.engine.test_shared import two_services

SHARED = ServicePolicy(is_shared=True)


class SharedMemoryStore(MemoryStore):
    """A store that services of one process share as if they were several."""

    is_shared = True

    def __init__(self) -> None:
        super().__init__()
        self.clock = LoopClock()
        self.seen: dict[str, tuple[Presence, datetime]] = {}
        self.offered: list[str] = []
        self.fails = 0
        self.announced = asyncio.Event()
        self.keyed_at = BEGIN - NEXT_KEY_AFTER

    async def open(self) -> None:
        """Leave the claims of the others."""

    async def add_key(self, key: bytes) -> bool:
        now = self.clock.now()
        if now < self.keyed_at + NEXT_KEY_AFTER:
            return False
        self.keyed_at = now
        return await super().add_key(key)

    async def outlines(self, arns: Sequence[str]) -> Mapping[str, Outline]:
        found = [await MemoryStore.find(self, arn) for arn in arns]
        return {one.arn: Outline.of(one) for one in found if one is not None}

    def on_hint(self, listener: Callable[[str], None]) -> None:
        """Give none."""

    async def announce(self, presence: Presence) -> None:
        if self.fails:
            self.fails -= 1
            raise StoreError("nobody is there")
        self.seen[presence.worker] = (presence, self.clock.now())
        self.announced.set()
        self.offered += [name for name in presence.functions if name not in self.offered]

    async def withdraw(self, worker: str) -> None:
        self.seen.pop(worker, None)
        self.announced.clear()

    async def offers(self) -> Sequence[str]:
        return tuple(self.offered)

    async def roster(self) -> Roster:
        now = self.clock.now()
        workers = [
            Seen(presence=one, seen_at=at, is_alive=at + one.lease >= now, held=0)
            for one, at in self.seen.values()
        ]
        return Roster(tuple(workers), ())


async def answer(invocation: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    return succeeded("1")


@asynccontextmanager
async def at_work(
    store: MemoryStore,
    version: str = "$LATEST",
    handlers: Mapping[str, Handler] | None = None,
    **policy: Any,
) -> AsyncGenerator[Bench]:
    """Set a worker to work on *store*."""
    bench = Bench(
        {"f": answer} if handlers is None else handlers,
        store=store,
        policy=ServicePolicy(is_shared=True, version=version),
        worker_policy=DispatcherPolicy(lease=LEASE, version=version, **policy),
    )
    async with bench:
        dispatcher, work = bench.work()
        yield bench
        await dispatcher.drain(timedelta(0))
        await work


# Who is there


def test_a_worker_is_seen_as_long_as_it_works_and_then_gone() -> None:
    async def main() -> None:
        store = SharedMemoryStore()
        async with at_work(store, version="7") as _:
            await store.announced.wait()
            [(presence, _)] = store.seen.values()
            assert (presence.functions, presence.is_draining) == (("f:7",), False)
            assert (await store.roster()).has_worker_for("f:7")
            assert not (await store.roster()).has_worker_for("f")
        assert not store.seen

    run(main)


def test_a_worker_that_cannot_say_that_it_is_there_says_it_later() -> None:
    async def main() -> None:
        store = SharedMemoryStore()
        store.fails = 2
        async with at_work(store):
            await store.announced.wait()

    run(main)


@pytest.mark.parametrize(
    ("is_alive", "is_draining", "expected"),
    [(True, False, True), (False, False, False), (True, True, False)],
)
def test_only_who_is_alive_and_stays_goes_on_with_anything(
    is_alive: bool,  # noqa: FBT001 - a parameter of the test
    is_draining: bool,  # noqa: FBT001 - a parameter of the test
    expected: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    at = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    presence = Presence(
        worker="w",
        functions=("f",),
        max_concurrency=1,
        started_at=at,
        lease=LEASE,
        is_draining=is_draining,
    )
    seen = Seen(presence=presence, seen_at=at, is_alive=is_alive, held=0)
    backlog = Backlog(name="f", due=1, due_since=at)

    assert Roster((seen,), (backlog,)).has_worker_for("f") is expected


# Which functions there are


def test_a_function_of_another_worker_is_started_in_its_highest_version() -> None:
    async def main() -> None:
        store = SharedMemoryStore()
        store.offered = ["h:9", "h:10", "h", "k"]
        async with Bench(store=store, policy=SHARED) as bench:
            for name, version in (("h", "10"), ("h:9", "9"), ("h:$LATEST", "$LATEST"), ("k", None)):
                arn = await bench.service.start(name, "1")
                assert (await bench.service.get(arn)).version == (version or "$LATEST")
            for name in ("h:11", "nobody", "k:1"):
                with pytest.raises(ResourceNotFoundException):
                    await bench.service.start(name, "1")

    run(main)


def test_a_function_that_another_worker_has_by_now_is_invoked() -> None:
    async def main() -> None:
        store = SharedMemoryStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running()
            store.offered = ["late"]

            client = EmbeddedClient(session)
            await send(client, invoke(target="late"))

            assert (await bench.operation(arn, "i")).status is OperationStatus.STARTED

    run(main)


def test_a_function_that_nobody_ever_had_is_not_invoked() -> None:
    async def main() -> None:
        store = SharedMemoryStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running()

            client = EmbeddedClient(session)
            await send(client, invoke(target="nobody"))

            assert (await bench.operation(arn, "i")).status is OperationStatus.FAILED

    run(main)


# Versions


def test_an_execution_goes_on_in_the_version_that_it_began_with() -> None:
    async def main() -> None:
        store = SharedMemoryStore()
        began = ServicePolicy(is_shared=True, version="1")
        async with Bench(store=store, policy=began) as bench:
            store.offered = ["h:1"]
            arn = await bench.service.start("h", "1")
        async with at_work(store, "2", {"h": answer}):
            await store.announced.wait()
            assert await store.next_wake_at(["h:2"]) is None
        async with at_work(store, "1", {"h": answer}) as bench:
            done = await bench.service.wait_closed(arn)
            assert (done.version, done.result) == ("1", "1")

    run(main)


class Busy(SharedMemoryStore):
    """Takes what nobody waits for only when it is asked for something."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[Change] = []

    def append_soon(self, change: Change) -> None:
        self.posted.append(change)

    async def outlines(self, arns: Sequence[str]) -> Mapping[str, Outline]:
        for change in self.posted:
            try:
                await super().append((change,))
            except VersionConflict:
                break_lines((change,))
        self.posted.clear()
        return await super().outlines(arns)


def test_what_others_did_is_heard_of_though_as_much_was_posted_here_in_vain() -> None:
    async def main() -> None:
        async with two_services(Busy()) as (here, there):
            arn, session = await here.running(callback())
            told: list[list[str]] = []
            session.listen(noting(told))

            session.post(step())
            await complete(there, arn, "cb")
            assert here.service.sharing is not None
            await here.service.sharing.refresh()
            await asyncio.sleep(1)

            assert "cb" in [one for some in told for one in some]
            assert (await there.story(arn)).count("StepStarted") == 1

    run(main)
