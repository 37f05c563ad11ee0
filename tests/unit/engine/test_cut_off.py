"""Whoever said something may wait for it no more: what becomes of it is found out all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from durably import DurableContext, StepConfig, durable_execution
from durably.engine.sessions import Session
from durably.engine.store import Change, VersionConflict
from durably.errors import InvalidParameterValueException, StoreUnavailableError
from durably.retries import RetryDecision
from durably.stores.memory import MemoryStore
from durably.wire.invocation import InvocationOutput, InvocationStatus
from durably.wire.operation import OperationStatus
from tests.unit.engine.shell import Bench, GatedStore, SteppedStore, run
from tests.unit.engine.support import ERROR, callback, context, retry, step
from tests.unit.engine.test_overtaken import LateStore, _open_all, _refuse, _until
from tests.unit.engine.test_sessions import answer, noting
from tests.unit.engine.test_shared import SHARED, two_services

STARTED = OperationStatus.STARTED
PENDING = InvocationOutput(status=InvocationStatus.PENDING)


AGAIN = RetryDecision(should_retry=True, delay=timedelta(seconds=5))


class SharedLateStore(LateStore):
    """Opened by several: the claims of the others stand."""

    async def open(self) -> None:
        """Leave everything as it is."""


async def cut_off(bench: Bench, session: Session) -> None:
    """Have a failed attempt written; the answer is late, and whoever waits for it gives up."""
    store = bench.store
    assert isinstance(store, LateStore)
    store.late = asyncio.get_running_loop().create_future()
    saying = asyncio.create_task(session.checkpoint((retry(error=ERROR),)))
    await _until(lambda: store.late is None)
    saying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saying


@pytest.mark.parametrize("is_followed", [False, True])
def test_what_was_written_after_its_caller_gave_up_is_not_said_again(
    is_followed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def main() -> None:
        store = SharedLateStore()
        async with two_services(store) as (here, there):
            arn, session = await here.running(step(), callback())
            await cut_off(here, session)
            await asyncio.sleep(30)  # the next attempt is due
            if is_followed:
                await session.checkpoint((step(),))

            await answer(there, arn, "cb")
            await session.checkpoint((step("other"),))

            assert (await there.story(arn)).count("StepFailed") == 1
            expected = STARTED if is_followed else OperationStatus.READY
            assert (await there.operation(arn, "s")).status is expected

    run(main)


def test_what_was_posted_before_what_is_written_is_not_said_again() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running(callback())
            session.post(step("t"))
            await session.checkpoint((retry("t", error=ERROR),))
            await asyncio.sleep(30)  # the next attempt is due, so that it could begin
            await answer(there, arn, "cb")
            await session.checkpoint((step("other"),))

            assert (await there.operation(arn, "t")).status is OperationStatus.READY

    run(main)


class SharedBrokenStore(SharedLateStore):
    """It can also fail once, before anything is written."""

    is_broken = False

    async def append(self, changes: Sequence[Change]) -> None:
        """Fail, if so."""
        is_broken, self.is_broken = self.is_broken, False
        if is_broken:
            raise StoreUnavailableError("there is no connection")
        await super().append(changes)


def test_what_may_be_written_is_not_said_again_though_somebody_else_was_first() -> None:
    async def main() -> None:
        store = SharedBrokenStore()
        async with two_services(store) as (here, there):
            arn, session = await here.running(step(), callback())
            store.late = asyncio.get_running_loop().create_future()
            saying = asyncio.create_task(session.checkpoint((retry(error=ERROR),)))
            await _until(lambda: store.late is None)
            await answer(there, arn, "cb")
            await here.service.pause(arn)  # refused at first, so what was said is to be said again
            await there.service.resume(arn)
            await asyncio.sleep(30)  # the next attempt is due
            store.is_broken = True
            saying.cancel()
            await asyncio.sleep(1)

            with pytest.raises(InvalidParameterValueException):
                await session.checkpoint((step("other"),))
            await session.fail(ERROR)
            assert (await there.story(arn)).count("StepFailed") == 1

    run(main)


@pytest.mark.parametrize("is_error_first", [False, True])
def test_an_end_beside_what_may_be_written_is_not_called_recorded(
    is_error_first: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def main() -> None:
        store = SharedSteppedStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running(step(), callback())
            gates = store.gates = []
            pausing = asyncio.create_task(bench.service.pause(arn))
            await _until(lambda: len(gates) == 1)
            ending = asyncio.create_task(session.end(PENDING))
            await _until(lambda: len(gates) == 2)
            store.gates = None
            for place in (0, 1) if is_error_first else (1, 0):
                error = VersionConflict(arn) if place else StoreUnavailableError("no answer")
                gates[place].set_exception(error)

            with pytest.raises(StoreUnavailableError):
                await pausing
            with pytest.raises(StoreUnavailableError):
                await ending

    run(main)


def test_what_is_deleted_here_is_handed_out_to_nobody() -> None:
    async def main() -> None:
        store = SharedLateStore()
        async with two_services(store) as (here, there):
            arn, session = await here.running(step())
            await there.service.stop(arn)
            await here.service.delete(arn)
            await asyncio.sleep(1)

            assert session.hand_out() is None

    run(main)


def test_an_attempt_that_never_ran_is_not_recorded() -> None:
    store = SharedLateStore()
    attempts: list[int] = []
    callback_ids: list[str] = []

    async def failing() -> None:
        attempts.append(1)
        store.late = asyncio.get_running_loop().create_future()  # the answer never comes
        raise ValueError("no")

    @durable_execution
    async def handler(event: object, ctx: DurableContext) -> None:
        callback_ids.append((await ctx.create_callback("cb")).callback_id)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(
                ctx.step("s", failing, config=StepConfig(retry_strategy=lambda _, __: AGAIN)), 1
            )
        await ctx.step("idle", idle)

    async def main() -> None:
        async with two_services(store) as (here, there):
            here.functions["f"] = handler  # type: ignore[assignment]  # it is one, too
            dispatcher, work = here.work()
            arn = await here.start()
            await asyncio.sleep(10)
            await there.service.succeed_callback(callback_ids[0], "1")
            await here.service.wait_closed(arn)
            await dispatcher.drain()
            await work

            assert len(attempts) == (await there.story(arn)).count("StepFailed") == 1

    run(main)


async def idle() -> None:
    await asyncio.sleep(20)


def test_what_somebody_else_wrote_in_its_place_is_not_taken_for_it() -> None:
    async def main() -> None:
        store = SharedSteppedStore()
        async with two_services(store) as (here, there):
            arn, session = await here.running(callback(), step())
            told: list[list[str]] = []
            session.listen(noting(told))
            here_id = (await here.operation(arn, "cb")).callback_details
            assert here_id is not None
            assert here_id.callback_id is not None
            gates = store.gates = []
            mine = asyncio.create_task(here.service.succeed_callback(here_id.callback_id, "1"))
            await _until(lambda: len(gates) == 1)
            store.gates = None
            await there.service.pause(arn)
            mine.cancel()
            with pytest.raises(asyncio.CancelledError):
                await mine
            await asyncio.sleep(1)

            assert told == []
            assert (await there.operation(arn, "cb")).status is STARTED

    run(main)


class SharedSteppedStore(SteppedStore):
    """As above."""

    async def open(self) -> None:
        """Leave everything as it is."""


class QueuedStore(MemoryStore):
    """Once it has a *gate*, it writes when that is open, whoever has given up meanwhile."""

    gate: asyncio.Event | None = None

    def __init__(self) -> None:
        super().__init__()
        self._last: asyncio.Task[None] | None = None

    async def append(self, changes):  # type: ignore[no-untyped-def]  # as the store does
        before, gate = self._last, self.gate

        async def write() -> None:
            if before is not None:
                await asyncio.wait([before])
            if gate is not None:
                await gate.wait()
            await super(QueuedStore, self).append(changes)

        self._last = asyncio.get_running_loop().create_task(write())
        await asyncio.shield(self._last)


def test_what_is_on_its_way_yet_is_not_taken_for_lost() -> None:
    async def main() -> None:
        store = QueuedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running()
            gate = store.gate = asyncio.Event()
            saying = asyncio.create_task(session.checkpoint((step(),)))
            await asyncio.sleep(1)
            saying.cancel()
            store.gate = None
            await asyncio.sleep(1)
            gate.set()
            await session.checkpoint((step("t"),))

            story = await bench.story(arn)
            assert story.count("StepStarted") == 2
            assert not session.is_over

    run(main)


def test_a_refusal_does_not_take_what_was_said_before_for_written() -> None:
    async def main() -> None:
        store = SteppedStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running()
            gates = store.gates = []
            first = asyncio.create_task(session.checkpoint((step("t"),)))
            await _until(lambda: len(gates) == 1)
            session.post(context())
            with pytest.raises(InvalidParameterValueException):
                await session.checkpoint((step("t"),))
            await _refuse(store, gates, 0)
            await _open_all(gates, first)
            await _open_all(gates, asyncio.create_task(session.checkpoint((step("v"),))))

            assert (await bench.operation(arn, "c")).status is STARTED

    run(main)


# At the end


def test_nothing_runs_in_the_background_after_the_close() -> None:
    async def main() -> None:
        store = SharedSteppedStore()
        async with Bench(store=store, policy=SHARED) as there:
            async with Bench(store=store, policy=SHARED) as here:
                arn, session = await here.running(step())
                await there.service.pause(arn)
                session.post(context())
                gates = store.gates = []
                here.service._journals.note_version(arn, 1000)
                await _until(lambda: len(gates) == 1)  # what was posted is being said again

            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)


@pytest.mark.parametrize("is_closed", [False, True])
def test_whoever_waits_for_the_writes_of_one_who_is_cut_off_does_not_wait_for_ever(
    is_closed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(step())
            journals = bench.service._journals
            tip = await journals.pin(arn)
            store.gate.clear()
            saying = asyncio.create_task(session.checkpoint((step("t"),)))
            waiting = asyncio.create_task(tip.settle())
            await asyncio.sleep(1)
            if is_closed:
                await journals.close()
            saying.cancel()
            await asyncio.sleep(1)
            await journals.close()

            with pytest.raises(VersionConflict):
                await waiting
            store.gate.set()

    run(main)
