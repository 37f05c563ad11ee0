"""The worker and its store when the store fails: nothing waits longer than it has to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.engine.dispatcher import Dispatcher
from durably.engine.policy import FailurePolicy, ServicePolicy
from durably.engine.store import Change, Claim, Stored
from durably.errors import StoreError
from durably.wire.invocation import InvocationInput, InvocationOutput
from durably.wire.operation import Operation
from durably.wire.update import OperationAction
from tests.unit.engine.shell import LEASE, Bench, FailingStore, Handler, run, send
from tests.unit.engine.support import ERROR, step, succeeded

SUCCEED = OperationAction.SUCCEED


def known(given: InvocationInput) -> dict[str, Operation]:
    return {one.id: one for one in given.initial_execution_state.operations}


async def at_once(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    return succeeded("1")


async def stop_work(dispatcher: Dispatcher, work: asyncio.Task[None]) -> None:
    await dispatcher.drain(timedelta(0))
    await work


class Outage(FailingStore):
    """Fails whatever it is asked as long as it is out of order."""

    is_out = False

    def _check(self) -> None:
        if self.is_out:
            raise StoreError("the disk is full")

    async def append(self, changes: Sequence[Change]) -> None:
        self._check()
        await super().append(changes)

    async def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        self._check()
        return await super().claim(worker, functions, now, lease, limit)

    async def extend(
        self, worker: str, epochs: Sequence[tuple[str, int]], until: datetime
    ) -> Sequence[str]:
        self._check()
        return await super().extend(worker, epochs, until)

    async def find(self, arn: str) -> Stored | None:
        self._check()
        return await super().find(arn)


def test_a_store_that_fails_is_asked_again_however_long_it_takes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        store = Outage()
        async with Bench({"f": at_once}, store=store) as bench:
            arn = await bench.start()
            store.is_out = True
            dispatcher, work = bench.work()
            await asyncio.sleep(6 * 3600)
            store.is_out = False

            assert (await bench.service.wait_closed(arn)).result == "1"
            assert bench.clock.monotonic() < 6 * 3600 + 6
            await stop_work(dispatcher, work)

    run(main)
    assert caplog.text.count("the store failed") == 1


def test_a_store_that_fails_again_is_told_of_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        store = Outage()
        async with Bench({"f": at_once}, store=store) as bench:
            dispatcher, work = bench.work()
            for _ in range(2):
                store.is_out = True
                await asyncio.sleep(60)
                store.is_out = False
                assert (await bench.service.wait_closed(await bench.start())).result == "1"
            await stop_work(dispatcher, work)

    run(main)
    assert caplog.text.count("the store failed") == 2


def test_leases_that_cannot_be_extended_in_time_are_extended_later() -> None:
    async def main() -> None:
        store = Outage()

        async def slow(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
            await asyncio.sleep(2 * LEASE.total_seconds())
            return succeeded("1")

        async with Bench({"f": slow}, store=store) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            await asyncio.sleep(LEASE.total_seconds() / 3 - 1)
            store.is_out = True
            await asyncio.sleep(2)
            store.is_out = False

            assert (await bench.service.wait_closed(arn)).result == "1"
            assert (await bench.story(arn)).count("InvocationCompleted") == 1
            await stop_work(dispatcher, work)

    run(main)


def test_an_end_that_could_not_be_written_goes_on_as_soon_as_the_store_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        store = Outage()
        ended = asyncio.Event()

        async def handler(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
            if not known(given).get("s"):
                await send(client, step(), step(action=SUCCEED))
                store.is_out = True
                ended.set()
            return succeeded("1")

        async with Bench({"f": handler}, store=store) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            await ended.wait()
            await asyncio.sleep(LEASE.total_seconds() / 2)
            store.is_out = False
            began = bench.clock.monotonic()

            found = await bench.service.wait_closed(arn)

            assert (found.result, found.failures) == ("1", 0)
            assert bench.clock.monotonic() - began <= 5
            assert (await bench.story(arn)).count("InvocationCompleted") == 2
            await stop_work(dispatcher, work)

    run(main)
    assert "could not be recorded" in caplog.text


@pytest.mark.parametrize("is_shared", [False, True])
def test_an_end_after_a_failed_write_is_recorded_and_the_claim_given_up(
    is_shared: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store, policy=ServicePolicy(is_shared=is_shared)) as bench:
            arn, session = await bench.running(step())
            store.fail_before = 1
            with pytest.raises(StoreError):
                await session.checkpoint((step("t"),))

            await session.fail(ERROR)

            assert (await bench.story(arn))[-1] == "InvocationCompleted"
            assert await bench.claim() is not None

    run(main)


def test_an_invocation_that_could_not_be_begun_is_begun_as_soon_as_the_store_works() -> None:
    async def main() -> None:
        store = Outage()

        class Forgetful(Outage):
            """Fails once, after the claim."""

            async def claim(self, *given, **named):  # type: ignore[no-untyped-def]  # as above
                claims = await super().claim(*given, **named)
                self.is_out = bool(claims) and not self.had_trouble
                return claims

            had_trouble = False

        store = Forgetful()
        # Shared: so the execution has to be loaded.
        async with Bench(
            {"f": at_once}, store=store, policy=ServicePolicy(is_shared=True)
        ) as bench:
            arn = await bench.start()
            assert await bench.claim() is not None  # and this claimant dies
            store.is_out = False
            await asyncio.sleep(LEASE.total_seconds())
            dispatcher, work = bench.work()
            await asyncio.sleep(1)
            store.had_trouble, store.is_out = True, False
            began = bench.clock.monotonic()

            assert (await bench.service.wait_closed(arn)).result == "1"
            assert bench.clock.monotonic() - began <= 5
            await stop_work(dispatcher, work)

    run(main)


def test_a_claim_given_back_under_which_an_older_invocation_is_lost_is_due_at_once() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, _ = await bench.running(step())
            await asyncio.sleep(LEASE.total_seconds())
            claim = await bench.claim()
            assert claim is not None

            await bench.service.give_back(claim)

            assert (await bench.begin()).arn == arn
            assert "InvocationCompleted" in await bench.story(arn)

    run(main)


def test_a_claim_that_is_none_any_more_is_given_back_to_nobodys_harm() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start()
            older = await bench.claim()
            assert older is not None
            await asyncio.sleep(LEASE.total_seconds())
            session = await bench.begin()
            await session.checkpoint((step(),))

            await bench.service.give_back(older)

            await session.checkpoint((step(action=SUCCEED),))
            await session.end(succeeded("1"))
            assert (await bench.service.get(arn)).result == "1"

    run(main)


def test_what_is_lost_again_and_again_counts_as_failed_and_is_parked_in_the_end() -> None:
    async def main() -> None:
        store = FailingStore()
        calls = 0

        async def handler(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
            nonlocal calls
            calls += 1
            store.fail_before = calls < 20
            await send(client, step())
            raise AssertionError("it is refused")

        policy = ServicePolicy(failures=FailurePolicy(park_after=3))
        async with Bench({"f": handler}, store=store, policy=policy) as bench:
            dispatcher, work = bench.work()
            found = await bench.service.wait_closed(await bench.start())

            assert calls == 1 + 3
            assert found.parked_reason is not None
            assert bench.clock.monotonic() == pytest.approx(1 + 2, abs=0.5)
            await stop_work(dispatcher, work)

    run(main)


class Lossy(FailingStore):
    """Loses what is handed in for soon, and all with it that rests on that, so many times."""

    losses = 0
    _lost: str | None = None

    def append_soon(self, change: Change) -> None:
        if self.losses and self._lost is None:
            self.losses -= 1
            self._lost = change.arn
        if self._lost != change.arn:
            super().append_soon(change)

    async def append(self, changes: Sequence[Change]) -> None:
        if self._lost is not None and changes and changes[0].arn == self._lost:
            self._lost = None
            raise StoreError("the disk is on fire")
        await super().append(changes)


async def after_a_step(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    await send(client, step(), step(action=SUCCEED))
    return succeeded("1")


@pytest.mark.parametrize("handler", [at_once, after_a_step])
def test_an_invocation_of_which_nothing_was_written_is_told_of_all_the_same(
    handler: Handler,
) -> None:
    async def main() -> None:
        store = Lossy()
        store.losses = 1

        async with Bench({"f": handler}, store=store) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            found = await bench.service.wait_closed(arn)

            assert (found.result, found.failures) == ("1", 0)
            assert (await bench.story(arn)).count("InvocationCompleted") == 2
            await stop_work(dispatcher, work)

    run(main)


def test_one_of_which_nothing_can_ever_be_written_is_parked_in_the_end() -> None:
    async def main() -> None:
        store = Lossy()
        store.losses = 20
        calls = 0

        async def handler(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
            nonlocal calls
            calls += 1
            await send(client, step())
            raise AssertionError("it is refused")

        policy = ServicePolicy(failures=FailurePolicy(park_after=3))
        async with Bench({"f": handler}, store=store, policy=policy) as bench:
            dispatcher, work = bench.work()
            found = await bench.service.wait_closed(await bench.start())

            assert calls == 1 + 3
            assert found.parked_reason is not None
            await stop_work(dispatcher, work)

    run(main)


def test_a_worker_drains_at_once_though_the_store_fails() -> None:
    async def main() -> None:
        store = Outage()
        async with Bench({"f": at_once}, store=store) as bench:
            store.is_out = True
            dispatcher, work = bench.work()
            await asyncio.sleep(60)
            began = bench.clock.monotonic()

            await stop_work(dispatcher, work)

            assert bench.clock.monotonic() == began

    run(main)


def test_a_worker_that_drains_tries_once_more_to_give_back_what_it_could_not_record() -> None:
    async def main() -> None:
        store = Outage()

        async def handler(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
            store.is_out = True
            return succeeded("1")

        async with Bench({"f": handler}, store=store) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            await asyncio.sleep(60)
            began = bench.clock.monotonic()

            await dispatcher.drain()
            await work

            assert bench.clock.monotonic() == began
            store.is_out = False
            stored = await store.find(arn)
            assert stored is not None
            assert stored.claim_epoch is not None

    run(main)


def test_a_defect_in_what_keeps_the_leases_is_logged_and_it_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Defective(FailingStore):
        defects = 1

        async def extend(self, *given, **named):  # type: ignore[no-untyped-def]  # as above
            if self.defects:
                self.defects -= 1
                raise RuntimeError("a defect")
            return await super().extend(*given, **named)

    async def long(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        await asyncio.sleep(3 * LEASE.total_seconds())
        return succeeded("1")

    async def main() -> None:
        async with Bench({"f": long}, store=Defective()) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()

            assert (await bench.service.wait_closed(arn)).result == "1"
            assert (await bench.story(arn)).count("InvocationCompleted") == 1
            await stop_work(dispatcher, work)

    run(main)
    assert "what keeps the leases broke" in caplog.text
    assert "a defect" in caplog.text


def test_a_write_whose_outcome_nobody_can_find_out_is_not_built_upon() -> None:
    class Gated(Outage):
        def __init__(self) -> None:
            super().__init__()
            self.gate = asyncio.Event()
            self.finds_to_fail = 0

        async def find(self, arn: str) -> Stored | None:
            if self.finds_to_fail:
                self.finds_to_fail -= 1
                raise StoreError("busy")
            return await super().find(arn)

        async def append(self, changes: Sequence[Change]) -> None:
            await super().append(changes)
            if changes:
                await self.gate.wait()

    async def main() -> None:
        store = Gated()
        store.gate.set()
        async with Bench(store=store) as bench:
            arn = await bench.start()
            waiting = asyncio.ensure_future(bench.service.wait_closed(arn))
            tip = await bench.service._journals.pin(arn)
            store.gate.clear()
            stopping = asyncio.ensure_future(bench.service.stop(arn))
            await asyncio.sleep(1)
            store.finds_to_fail = 1
            stopping.cancel()
            await asyncio.sleep(1)

            assert isinstance(tip.failure, StoreError)
            assert (await waiting).is_closed
            bench.service._journals.unpin(tip)

    run(main)
