"""How an invocation in this process loses its authority."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from durably.errors import InvalidParameterValueException, StoreError
from durably.wire.operation import Operation
from durably.wire.update import OperationAction
from tests.unit.engine.shell import LEASE, Bench, FailingStore, run
from tests.unit.engine.support import (
    ERROR,
    callback,
    step,
    succeeded,
    wait,
)

SUCCEED = OperationAction.SUCCEED


def ids(operations: Sequence[Operation]) -> list[str]:
    return [operation.id for operation in operations]


def noting(told: list[list[str]]) -> Callable[[Sequence[Operation]], bool]:
    """Give a listener that writes down what it is told of."""

    def listener(operations: Sequence[Operation]) -> bool:
        told.append(ids(operations))
        return True

    return listener


async def answer(bench: Bench, arn: str, operation_id: str) -> None:
    details = (await bench.operation(arn, operation_id)).callback_details
    assert details is not None
    assert details.callback_id is not None
    await bench.service.succeed_callback(details.callback_id, "7")


def test_after_its_lease_an_invocation_is_taken_over_and_has_no_say() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, old = await bench.running()
            await asyncio.sleep(LEASE.total_seconds())

            new = await bench.begin()
            with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
                await old.checkpoint((step(),))
            await old.end(succeeded("old"))
            await new.end(succeeded("new"))

            assert (await bench.service.get(arn)).result == "new"
            assert (await bench.story(arn)).count("InvocationCompleted") == 2

    run(main)


def test_a_zombie_in_another_process_is_fenced_by_the_store() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench, Bench(store=store) as other:
            arn, zombie = await bench.running()
            await asyncio.sleep(LEASE.total_seconds())
            new = await other.begin()
            await new.checkpoint((step(),))

            with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
                await zombie.checkpoint((step("z"),))
            await zombie.end(succeeded("zombie"))
            await zombie.fail(ERROR)
            await new.end(succeeded("new"))

            assert (await other.service.get(arn)).result == "new"

    run(main)


def test_a_zombie_whose_post_is_refused_learns_it_at_its_next_checkpoint() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench, Bench(store=store) as other:
            _, zombie = await bench.running()
            await asyncio.sleep(LEASE.total_seconds())
            new = await other.begin()
            await new.checkpoint((wait(),))

            zombie.post(step())
            with pytest.raises(InvalidParameterValueException):
                await zombie.checkpoint((step(action=SUCCEED),))
            with pytest.raises(InvalidParameterValueException):
                zombie.post(step("t"))

    run(main)


def test_a_claim_that_is_gone_begins_nothing() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench:
            await bench.start()
            claim = await bench.claim()
            assert claim is not None
            await asyncio.sleep(LEASE.total_seconds())
            assert await bench.claim() is not None
            session = await bench.service.begin(claim)
            assert session is not None, "it is written with its first checkpoint"
            with pytest.raises(InvalidParameterValueException):
                await session.checkpoint((step(),))

    run(main)


def test_a_claim_of_a_deleted_execution_begins_nothing() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start()
            claim = await bench.claim()
            assert claim is not None
            await bench.service.stop(arn)
            await bench.service.delete(arn)
            assert await bench.service.begin(claim) is None

    run(main)


def test_a_checkpoint_that_the_store_fails_takes_the_authority_and_is_not_counted() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running()
            store.fail_before = 1
            with pytest.raises(StoreError):
                await session.checkpoint((step(),))
            await session.fail(ERROR)

            told = await bench.service.why(arn)
            assert (told.failures, told.owed_invocations) == (0, 1)
            assert await bench.claim() is not None

    run(main)


def test_an_invocation_lost_before_its_first_checkpoint_is_recorded_when_taken_over() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start()
            assert await bench.claim() is not None
            await asyncio.sleep(LEASE.total_seconds())

            await bench.begin()

            assert (await bench.story(arn)) == ["ExecutionStarted", "InvocationCompleted"]

    run(main)


def test_whoever_waits_for_a_checkpoint_may_be_cancelled_and_it_still_counts() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        gate.set()

        class SlowStore(FailingStore):
            async def append(self, changes) -> None:  # type: ignore[no-untyped-def]  # as above
                await super().append(changes)
                await gate.wait()

        async with Bench(store=SlowStore()) as bench:
            arn, session = await bench.running(callback())
            told: list[list[str]] = []
            session.listen(noting(told))
            gate.clear()
            cut = asyncio.ensure_future(answer(bench, arn, "cb"))
            await asyncio.sleep(1)
            cut.cancel()
            gate.set()
            await asyncio.sleep(1)

            assert told == [["cb"]]
            await session.checkpoint((step(),))

    run(main)


def test_a_cancelled_write_that_was_never_made_takes_the_authority() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        gate.set()

        class SlowStore(FailingStore):
            async def append(self, changes) -> None:  # type: ignore[no-untyped-def]  # as above
                await gate.wait()
                await super().append(changes)

        async with Bench(store=SlowStore()) as bench:
            _, session = await bench.running()
            gate.clear()
            cut = asyncio.ensure_future(session.checkpoint((step(),)))
            await asyncio.sleep(1)
            cut.cancel()
            await asyncio.sleep(1)
            gate.set()
            with pytest.raises(InvalidParameterValueException):
                await session.checkpoint((step("t"),))

    run(main)
