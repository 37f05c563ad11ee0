"""Several who work on one execution at once, in one process or in two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.engine.commands import Pause, Stop
from durably.engine.policy import ServicePolicy
from durably.engine.store import Change, VersionConflict
from durably.engine.views import Standing
from durably.errors import InvalidParameterValueException, StoreError
from durably.wire.operation import OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.shell import LEASE, Bench, FailingStore, GatedStore, run, send
from tests.unit.engine.support import ERROR, PENDING, callback, invoke, step, succeeded, wait


async def callback_id(bench: Bench, arn: str, operation_id: str = "cb") -> str:
    details = (await bench.operation(arn, operation_id)).callback_details
    assert details is not None
    assert details.callback_id is not None
    return details.callback_id


def test_an_answer_to_an_execution_claimed_elsewhere_leaves_the_claim_alone() -> None:
    async def main() -> None:
        store = FailingStore()
        shared = ServicePolicy(is_shared=True)
        async with Bench(store=store) as bench, Bench(store=store, policy=shared) as other:
            arn, session = await bench.running(callback(), wait(seconds=1))
            await session.end(PENDING)
            await asyncio.sleep(1)
            claim = await bench.claim()
            assert claim is not None

            await other.service.succeed_callback(await callback_id(other, arn), "1")

            stored = await store.find(arn)
            assert stored is not None
            assert stored.claim_epoch == claim.epoch
            await other.service.stop(arn)
            stored = await store.find(arn)
            assert stored is not None
            assert stored.claim_epoch is None

    run(main)


def test_an_end_that_was_overtaken_is_decided_anew_under_the_same_claim() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running()
            await session.checkpoint((step(),))
            store.conflicts = 1

            await session.end(succeeded("1"))

            assert (await bench.service.get(arn)).result == "1"

    run(main)


def test_after_an_end_that_was_overtaken_outside_answers_still_wake() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(callback())
            store.conflicts = 1
            await session.end(PENDING)

            await bench.service.succeed_callback(await callback_id(bench, arn), "1")

            assert await bench.claim() is not None

    run(main)


def test_a_suspension_that_was_overtaken_misses_no_change_made_elsewhere() -> None:
    async def main() -> None:
        store = FailingStore()
        shared = ServicePolicy(is_shared=True)
        async with Bench(store=store) as bench, Bench(store=store, policy=shared) as other:
            arn, session = await bench.running(callback(), callback("b"))
            session.listen(lambda operations: True)
            await other.service.succeed_callback(await callback_id(other, arn), "1")

            await session.end(PENDING)

            assert (await bench.service.why(arn)).owed_invocations == 1

    run(main)


def test_an_end_without_a_claim_is_not_heard() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running()
            await session.checkpoint((step(),))
            await asyncio.sleep(LEASE.total_seconds())
            assert await bench.claim() is not None

            await session.end(succeeded("1"))

            assert not (await bench.service.get(arn)).is_closed

    run(main)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_claim_given_up_is_given_up_whoever_comes_between(*, is_lost: bool) -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(wait(seconds=1))
            await session.end(PENDING)
            await bench.service.pause(arn)
            await asyncio.sleep(1)
            claim = await bench.claim()
            assert claim is not None
            if is_lost:
                await asyncio.sleep(LEASE.total_seconds())
                assert await bench.claim() is not None
            store.conflicts = 1

            assert await bench.service.begin(claim) is None

            status = (await bench.operation(arn, "w")).status
            expected = OperationStatus.STARTED if is_lost else OperationStatus.SUCCEEDED
            assert status is expected

    run(main)


def test_checkpoints_under_way_together_are_written_in_their_order() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running()
            client = EmbeddedClient(session)
            store.gate.clear()
            sent = [asyncio.ensure_future(send(client, step(f"s{n}"))) for n in range(5)]
            await asyncio.sleep(1)
            store.gate.set()

            replies = await asyncio.gather(*sent)

            assert [[one.id for one in reply] for reply in replies] == [[f"s{n}"] for n in range(5)]
            assert (await bench.story(arn)).count("StepStarted") == 5

    run(main)


def test_when_one_write_fails_all_that_rest_on_it_do() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running()
            store.gate.clear()
            sent = [asyncio.ensure_future(session.checkpoint((step(f"s{n}"),))) for n in range(3)]
            await asyncio.sleep(1)
            store.fail_before = 1
            store.gate.set()

            results = await asyncio.gather(*sent, return_exceptions=True)

            assert isinstance(results[0], StoreError)
            assert all(isinstance(one, InvalidParameterValueException) for one in results[1:])
            assert await bench.story(arn) == ["ExecutionStarted"]

    run(main)


def test_what_failed_is_never_used_again() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start()
            journals = bench.service._journals
            tip = await journals.pin(arn)
            journals.drop(tip, StoreError("x"))
            journals.drop(tip, StoreError("y"))

            with pytest.raises(VersionConflict):
                journals.plan(tip, Stop(), None)
            journals.unpin(tip)
            assert await journals.pin(arn) is not tip

    run(main)


def test_a_write_nobody_waits_for_any_more_fails_what_rests_on_it() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn = await bench.start()
            store.gate.clear()
            stopping = asyncio.ensure_future(bench.service.stop(arn))
            await asyncio.sleep(1)
            stopping.cancel()
            await asyncio.sleep(1)
            store.gate.set()

            assert not (await bench.service.get(arn)).is_closed
            await bench.service.stop(arn)
            assert (await bench.service.get(arn)).is_closed

    run(main)


def test_a_childs_end_for_a_parent_that_was_stopped_concerns_only_itself() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(invoke(target="g"))
            await session.end(PENDING)
            await bench.service.stop(arn)
            story = await bench.story(arn)

            child = await bench.begin("g")
            await child.end(succeeded("1"))

            assert (await bench.service.get(child.arn)).result == "1"
            assert await bench.story(arn) == story

    run(main)


def test_two_commands_load_one_state() -> None:
    async def main() -> None:
        class SlowStore(FailingStore):
            async def find(self, arn: str):  # type: ignore[no-untyped-def]  # as above
                await asyncio.sleep(1)
                return await super().find(arn)

        store = SlowStore()
        async with Bench(store=store, policy=ServicePolicy(is_shared=True)) as bench:
            arn, session = await bench.running(callback())
            await session.end(PENDING)
            journals = bench.service._journals

            first, second = await asyncio.gather(journals.pin(arn), journals.pin(arn))

            assert first is second
            assert first.pins == 2

    run(main)


def test_what_came_due_is_durable_before_an_invocation_begins_with_it() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            _, session = await bench.running(wait(seconds=1))
            await session.end(PENDING)
            await asyncio.sleep(1)
            claim = await bench.claim()
            assert claim is not None
            store.gate.clear()
            beginning = asyncio.ensure_future(bench.service.begin(claim))
            await asyncio.sleep(1)
            assert not beginning.done()
            store.gate.set()

            assert await beginning is not None

    run(main)


def test_closing_ends_what_runs_in_the_background() -> None:
    async def main() -> None:
        store = GatedStore()
        bench = Bench(store=store)
        async with bench:
            await bench.running(wait(seconds=1))
            store.gate.clear()
            await asyncio.sleep(2)
            assert bench.service._journals.background._tasks
        assert not bench.service._journals.background._tasks

    run(main)


def test_an_end_from_outside_takes_the_timer_with_it() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(wait(seconds=1))
            await bench.service.stop(arn, ERROR)
            await asyncio.sleep(2)
            assert session.is_over
            assert (await bench.operation(arn, "w")).status is OperationStatus.STARTED

    run(main)


def test_whoever_waits_for_the_writes_of_others_may_give_up() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn = await bench.start()
            store.gate.clear()
            stopping = asyncio.ensure_future(bench.service.stop(arn))
            again = asyncio.ensure_future(bench.service.stop(arn))
            await asyncio.sleep(1)
            again.cancel()
            await asyncio.sleep(1)
            store.gate.set()

            await stopping

            assert (await bench.service.get(arn)).is_closed

    run(main)


def test_what_cannot_be_written_down_is_refused_and_changes_nothing() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start()
            journals = bench.service._journals
            tip = await journals.pin(arn)

            for unwritable in (object(), "no", 1.5):
                with pytest.raises(InvalidParameterValueException, match="cannot be recorded"):
                    journals.plan(tip, Pause(is_timeout_paused=unwritable), None)  # type: ignore[arg-type]  # a defect

            assert tip.failure is None
            assert tip.execution.pause is None
            await journals.write(journals.plan(tip, Pause(), None))
            assert (await bench.service.why(arn)).standing is Standing.PAUSED

    run(main)


class LateToSay(FailingStore):
    """Says that something was created only when its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def append(self, changes: Sequence[Change]) -> None:
        await super().append(changes)
        if changes and not changes[0].expected_version:
            await self.gate.wait()


@pytest.mark.parametrize("max_idle", [0, 1000])
def test_what_was_worked_on_before_its_start_was_answered_is_remembered_as_it_is(
    max_idle: int,
) -> None:
    async def main() -> None:
        store = LateToSay()
        policy = ServicePolicy(max_idle_executions=max_idle)
        async with Bench(store=store, policy=policy) as bench:
            starting = asyncio.ensure_future(bench.start())
            await asyncio.sleep(1)
            session = await bench.begin()
            await session.checkpoint(
                (step("s"), step("s", OperationAction.SUCCEED), wait(seconds=1))
            )
            await session.end(PENDING)
            store.gate.set()
            await starting

            await asyncio.sleep(1)
            again = await bench.begin()

            state = again.input().initial_execution_state
            assert "s" in [operation.id for operation in state.operations]

    run(main)
