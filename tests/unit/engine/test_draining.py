"""The worker when something goes wrong, or comes to an end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.engine.dispatcher import Dispatcher
from durably.engine.views import Standing
from durably.errors import StoreError
from durably.wire.invocation import InvocationInput, InvocationOutput
from tests.unit.engine.shell import LEASE, Bench, FailingStore, VirtualLoop, run
from tests.unit.engine.support import succeeded


async def at_once(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    return succeeded("1")


async def never(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    await asyncio.Event().wait()
    raise AssertionError("nobody lets it")


async def stop_work(dispatcher: Dispatcher, work: asyncio.Task[None]) -> None:
    await dispatcher.drain(timedelta(0))
    await work


def test_draining_waits_for_what_runs_and_claims_nothing_more() -> None:
    async def slow(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        await asyncio.sleep(5)
        return succeeded("1")

    async def main() -> None:
        async with Bench({"f": slow}) as bench:
            dispatcher, work = bench.work()
            running = await bench.start()
            await asyncio.sleep(1)
            assert dispatcher.running == 1

            draining = asyncio.ensure_future(dispatcher.drain())
            await asyncio.sleep(0)
            waiting = await bench.start()
            await draining
            await work

            assert (await bench.service.get(running)).is_closed
            assert (await bench.service.why(waiting)).standing is Standing.QUEUED

    run(main)


def test_leases_are_kept_while_what_runs_is_waited_for() -> None:
    async def long(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        await asyncio.sleep(3 * LEASE.total_seconds())
        return succeeded("1")

    async def main() -> None:
        async with Bench({"f": long}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            await asyncio.sleep(1)
            draining = asyncio.ensure_future(dispatcher.drain(10 * LEASE))

            await asyncio.sleep(2 * LEASE.total_seconds())
            assert await bench.claim() is None
            await draining
            await work

            assert (await bench.service.get(arn)).result == "1"

    run(main)


def test_what_is_cut_off_is_not_counted_and_goes_on_at_once_elsewhere() -> None:
    async def main() -> None:
        async with Bench({"f": never}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            await asyncio.sleep(1)

            await dispatcher.drain(timedelta(seconds=2))
            await work

            assert bench.clock.monotonic() == pytest.approx(3, abs=0.1)
            told = await bench.service.why(arn)
            assert (told.failures, told.standing) == (0, Standing.QUEUED)
            assert (await bench.begin()).arn == arn

    run(main)


def test_what_does_not_end_when_it_is_cut_off_is_left_behind() -> None:
    async def stubborn(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(60)
        return succeeded("1")

    async def main() -> None:
        async with Bench({"f": stubborn}) as bench:
            dispatcher, work = bench.work()
            await bench.start()
            await asyncio.sleep(1)

            await dispatcher.drain(timedelta(seconds=2))
            await work

            assert bench.clock.monotonic() == pytest.approx(8, abs=0.1)
            assert dispatcher.running == 0
            await asyncio.sleep(60)

    run(main)


def test_a_restart_goes_on_with_everything_by_itself() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench({"f": never}, store=store) as first:
            dispatcher, work = first.work()
            cut = await first.start()
            await asyncio.sleep(1)
            await stop_work(dispatcher, work)
            lost = await first.start()
            assert await first.claim() is not None
            assert await first.claim() is not None

        async with Bench({"f": at_once}, store=store) as second:
            dispatcher, work = second.work()
            for arn in (cut, lost):
                assert (await second.service.wait_closed(arn)).result == "1"
            assert second.clock.monotonic() < 2
            await stop_work(dispatcher, work)

    run(main)


def test_what_is_claimed_while_draining_is_given_back_at_once() -> None:
    async def main() -> None:
        class SlowStore(FailingStore):
            async def claim(self, *given, **named):  # type: ignore[no-untyped-def]  # as above
                claims = await super().claim(*given, **named)
                await asyncio.sleep(1)
                return claims

        async with Bench({"f": at_once}, store=SlowStore()) as bench:
            arn = await bench.start()
            dispatcher, work = bench.work()
            await asyncio.sleep(0.5)

            await dispatcher.drain()
            await work

            stored = await bench.store.find(arn)
            assert stored is not None
            assert stored.claim_epoch is None
            assert await bench.story(arn) == ["ExecutionStarted"]

    run(main)


def test_a_claim_that_is_lost_under_way_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Bench({"f": never}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            await asyncio.sleep(1)
            await bench.service.stop(arn)
            await asyncio.sleep(LEASE.total_seconds())

            assert "a claim was lost" in caplog.text
            await stop_work(dispatcher, work)

    run(main)


def test_a_claim_that_is_given_up_while_the_leases_are_extended_is_not_called_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        class LateStore(FailingStore):
            missing: int = 0

            async def append(self, *given, **named):  # type: ignore[no-untyped-def]  # as above
                await super().append(*given, **named)
                await asyncio.sleep(LEASE.total_seconds() / 2)

            async def extend(self, *given, **named):  # type: ignore[no-untyped-def]  # as above
                lost = await super().extend(*given, **named)
                self.missing += len(lost)
                return lost

        store = LateStore()
        async with Bench({"f": at_once}, store=store) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            assert (await bench.service.wait_closed(arn)).result == "1"
            await asyncio.sleep(LEASE.total_seconds())

            assert store.missing, "it was extended while its end was being told"
            assert "a claim was lost" not in caplog.text
            await stop_work(dispatcher, work)

    run(main)


def test_a_claim_that_is_given_up_is_not_called_lost_when_the_loop_was_blocked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        class LateStore(FailingStore):
            missing = 0

            async def append(self, *given, **named):  # type: ignore[no-untyped-def]  # as above
                await super().append(*given, **named)
                written.set()
                await answered.wait()

            async def extend(self, *given, **named):  # type: ignore[no-untyped-def]  # as above
                lost = await super().extend(*given, **named)
                self.missing += len(lost)
                return lost

        written, answered = asyncio.Event(), asyncio.Event()
        answered.set()
        store = LateStore()
        async with Bench({"f": at_once}, store=store) as bench:
            await bench.start()
            written.clear()
            answered.clear()
            dispatcher, work = bench.work()
            await written.wait()
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)

            loop.block(LEASE.total_seconds() / 2)
            await asyncio.sleep(0.5)

            assert store.missing == 2, "the worker was late, and so was who keeps its leases"
            assert "a claim was lost" not in caplog.text
            answered.set()
            await stop_work(dispatcher, work)

    run(main)


def test_nothing_is_claimed_while_the_leases_of_what_runs_cannot_be_extended() -> None:
    begun: list[str] = []

    async def long(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        begun.append(given.durable_execution_arn)
        await asyncio.sleep(3 * LEASE.total_seconds())
        return succeeded("1")

    async def main() -> None:
        class NeverExtends(FailingStore):
            is_broken = True

            async def extend(self, *given, **named):  # type: ignore[no-untyped-def]  # as above
                if self.is_broken:
                    raise StoreError("the disk is on fire")
                return await super().extend(*given, **named)

        store = NeverExtends()
        async with Bench({"f": long}, store=store) as bench:
            dispatcher, work = bench.work()
            first = await bench.start()
            await asyncio.sleep(1.4 * LEASE.total_seconds())
            second = await bench.start()
            await asyncio.sleep(1)
            assert begun == [first]

            store.is_broken = False
            assert (await bench.service.wait_closed(second)).result == "1"
            assert begun == [first, second]
            await stop_work(dispatcher, work)

    run(main)
