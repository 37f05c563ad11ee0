"""What can be asked of durable executions from outside."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from durably.engine.policy import FailurePolicy, ServicePolicy, StartOptions
from durably.engine.store import Query
from durably.engine.views import Standing
from durably.errors import (
    CallbackTimeoutException,
    DurableExecutionAlreadyStartedException,
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
    StoreError,
    TooManyRequestsException,
)
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import OperationStatus
from tests.unit.engine.shell import Bench, FailingStore, run
from tests.unit.engine.support import ERROR, PENDING, callback, step, succeeded, wait


def test_a_start_is_durable_and_due_when_it_returns() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start("7")

            stored = await bench.store.find(arn)
            assert stored is not None
            assert stored.wake_at == bench.clock.now()
            assert (await bench.service.get(arn)).input_payload == "7"

    run(main)


def test_a_name_stands_for_one_execution_of_its_function() -> None:
    async def main() -> None:
        async with Bench() as bench:
            first = await bench.start("1", name="order-7")

            assert await bench.start("1", name="order-7") == first
            with pytest.raises(DurableExecutionAlreadyStartedException):
                await bench.start("2", name="order-7")
            other = await bench.service.start("g", "1", name="order-7")
            assert other != first

    run(main)


def test_a_name_taken_at_the_same_moment_gives_the_same_execution() -> None:
    async def main() -> None:
        async with Bench(store=FailingStore()) as bench:
            arn = await bench.start("1", name="order-7")
            find_by_name = bench.store.find_by_name
            answers = iter([None])

            async def blind(function_name: str, execution_name: str) -> str | None:
                bench.store.find_by_name = find_by_name  # type: ignore[method-assign]  # once
                return next(answers)

            bench.store.find_by_name = blind  # type: ignore[method-assign]  # as if it came later
            assert await bench.start("1", name="order-7") == arn

    run(main)


def test_a_name_is_free_again_after_the_retention() -> None:
    async def main() -> None:
        async with Bench() as bench:
            first = await bench.service.start(
                "f", "1", name="n", options=StartOptions(retention_days=1)
            )
            await bench.service.stop(first)
            await asyncio.sleep(24 * 3600)

            second = await bench.start("2", name="n")

            assert second != first
            with pytest.raises(ResourceNotFoundException):
                await bench.service.get(first)

    run(main)


def test_a_start_that_never_comes_through_gives_up() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench:
            store.conflicts = 1000
            with pytest.raises(TooManyRequestsException):
                await bench.start()

    run(main)


def test_an_unknown_function_cannot_be_started() -> None:
    async def main() -> None:
        async with Bench() as bench:
            with pytest.raises(ResourceNotFoundException, match="nobody"):
                await bench.service.start("nobody", "1")
            with pytest.raises(InvalidParameterValueException):
                await bench.service.start("no name", "1")

    run(main)


def test_what_does_not_exist_is_not_found_and_what_is_no_arn_is_refused() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start()
            for missing in (bench.service.get, bench.service.why, bench.service.stop):
                with pytest.raises(ResourceNotFoundException):
                    await missing(arn[:-1] + "x")
            with pytest.raises(InvalidParameterValueException):
                await bench.service.history("x")

    run(main)


def test_executions_are_listed_by_their_summaries() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start()
            await bench.start()
            await bench.service.stop(arn)

            page = await bench.service.list(Query(statuses=("STOPPED",)))

            assert [one.arn for one in page.executions] == [arn]

    run(main)


def test_stop_says_when_it_ended_however_often_it_is_asked() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start()
            first = await bench.service.stop(arn, ERROR)
            await asyncio.sleep(10)

            assert await bench.service.stop(arn) == first
            assert (await bench.service.get(arn)).error == ERROR

    run(main)


def test_after_stop_the_running_invocation_has_no_say() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(step())
            await bench.service.stop(arn)

            with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
                await session.checkpoint((step("t"),))
            with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
                session.post(step("t"))
            await session.end(succeeded("1"))

            assert (await bench.service.get(arn)).status is ExecutionStatus.STOPPED
            stored = await bench.store.find(arn)
            assert stored is not None
            assert (stored.wake_at, stored.claim_epoch) == (None, None)

    run(main)


def test_only_closed_executions_are_deleted() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start()
            with pytest.raises(ResourceConflictException):
                await bench.service.delete(arn)
            await bench.service.stop(arn)

            assert await bench.service.delete(arn) == bench.clock.now()
            with pytest.raises(ResourceNotFoundException):
                await bench.service.get(arn)

    run(main)


def test_all_that_has_expired_is_removed_in_batches() -> None:
    async def main() -> None:
        async with Bench(policy=ServicePolicy(retention_days=1)) as bench:
            arns = [await bench.start(name=f"e-{number}") for number in range(5)]
            for arn in arns:
                await bench.service.stop(arn)
            await asyncio.sleep(24 * 3600 + 1)

            assert await bench.service.delete_expired(2) == 5
            assert [await bench.store.find(arn) for arn in arns] == [None] * 5

    run(main)


def test_a_delete_that_never_comes_through_gives_up() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn = await bench.start()
            await bench.service.stop(arn)
            await bench.start()
            assert await bench.service.delete_expired() == 0

            async def refuse(arn: str, expected_version: int) -> None:
                from durably.engine.store import VersionConflict  # noqa: PLC0415 - only here

                raise VersionConflict(arn)

            bench.store.delete = refuse  # type: ignore[method-assign]  # somebody is always first
            with pytest.raises(TooManyRequestsException):
                await bench.service.delete(arn)

    run(main)


# Callbacks


def test_an_answer_to_a_callback_wakes_a_suspended_execution() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(callback())
            await session.end(PENDING)
            assert await bench.claim() is None
            details = (await bench.operation(arn, "cb")).callback_details
            assert details is not None
            assert details.callback_id is not None

            await bench.service.heartbeat_callback(details.callback_id)
            await bench.service.succeed_callback(details.callback_id, "7")

            assert (await bench.operation(arn, "cb")).status is OperationStatus.SUCCEEDED
            assert await bench.claim() is not None
            with pytest.raises(CallbackTimeoutException):
                await bench.service.fail_callback(details.callback_id, ERROR)

    run(main)


def test_a_forged_callback_id_is_not_even_looked_up() -> None:
    async def main() -> None:
        async with Bench() as bench:
            _, session = await bench.running(callback())
            assert session.arn
            for forged in ("", "x", "00" * 32):
                with pytest.raises(ResourceNotFoundException):
                    await bench.service.succeed_callback(forged, None)

    run(main)


# Waiting for the end


def test_whoever_waits_is_told_of_the_end() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running()
            waiting = asyncio.ensure_future(bench.service.wait_closed(arn))
            await asyncio.sleep(0)

            await session.end(succeeded("7"))

            assert (await waiting).result == "7"
            assert (await bench.service.wait_closed(arn)).result == "7"

    run(main)


def test_whoever_waits_is_told_of_parking_too() -> None:
    async def main() -> None:
        policy = ServicePolicy(failures=FailurePolicy(park_after=1))
        async with Bench(policy=policy) as bench:
            arn, session = await bench.running()
            waiting = asyncio.ensure_future(bench.service.wait_closed(arn))
            await asyncio.sleep(0)

            await session.fail(ERROR)

            assert (await waiting).parked_reason is not None
            assert (await bench.service.why(arn)).standing is Standing.PARKED
            await bench.service.resume(arn)
            assert await bench.claim() is not None

    run(main)


def test_on_a_shared_store_the_end_is_found_by_polling() -> None:
    async def main() -> None:
        store = FailingStore()
        policy = ServicePolicy(is_shared=True)
        async with Bench(store=store, policy=policy) as bench, Bench(store=store) as other:
            arn = await bench.start()
            waiting = asyncio.ensure_future(bench.service.wait_closed(arn))
            await asyncio.sleep(0.1)

            await other.service.stop(arn)

            assert (await waiting).is_closed

    run(main)


# Pause


def test_a_paused_execution_is_not_invoked_and_its_timers_still_fire() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(wait(seconds=5))
            await session.end(PENDING)
            await bench.service.pause(arn, reason="lunch")
            await asyncio.sleep(5)

            claim = await bench.claim()
            assert claim is not None
            assert await bench.service.begin(claim) is None
            assert await bench.claim() is None
            assert (await bench.operation(arn, "w")).status is OperationStatus.SUCCEEDED

            await bench.service.resume(arn)
            assert await bench.claim() is not None

    run(main)


# Conflicts and failures of the store


def test_a_command_that_somebody_else_overtook_is_decided_anew() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench:
            arn = await bench.start()
            store.conflicts = 3

            await bench.service.stop(arn)

            assert (await bench.story(arn))[-1] == "ExecutionStopped"

    run(main)


def test_a_command_that_is_always_overtaken_gives_up() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench:
            arn = await bench.start()
            store.conflicts = 1000

            with pytest.raises(TooManyRequestsException):
                await bench.service.stop(arn)

    run(main)


@pytest.mark.parametrize("failing", ["fail_before", "fail_after"])
def test_after_a_failure_of_the_store_what_counts_is_what_is_stored(failing: str) -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench:
            arn = await bench.start()
            setattr(store, failing, 1)

            with pytest.raises(StoreError):
                await bench.service.stop(arn)

            is_closed = (await bench.service.get(arn)).is_closed
            assert is_closed is (failing == "fail_after")
            await bench.service.stop(arn)
            assert (await bench.story(arn)).count("ExecutionStopped") == 1

    run(main)


def test_executions_remembered_while_idle_have_a_bound() -> None:
    async def main() -> None:
        async with Bench(policy=ServicePolicy(max_idle_executions=2)) as bench:
            arns = [await bench.start() for _ in range(5)]

            assert bench.remembered(arns) == arns[-2:]
            await bench.service.stop(arns[0])
            await bench.service.pause(arns[1])
            assert len(bench.remembered(arns)) == 2

    run(main)


def test_what_is_remembered_of_idle_executions_has_a_bound_in_bytes() -> None:
    async def main() -> None:
        async with Bench(policy=ServicePolicy(max_idle_bytes=10_000)) as bench:
            arns = [await bench.start() for _ in range(4)]
            large = await bench.start(json.dumps("x" * 8_000))
            assert bench.remembered([*arns, large]) == [*arns[-2:], large]

            await bench.service.pause(arns[-1])  # it has been used now
            again = await bench.start(json.dumps("x" * 3_000))
            assert bench.remembered([*arns, large, again]) == [arns[-1], again]

            huge = await bench.start(json.dumps("x" * 10_000))
            assert bench.remembered([*arns, large, again, huge]) == [arns[-1], again]
            assert (await bench.service.get(huge)).input_payload == json.dumps("x" * 10_000)

    run(main)


def test_what_is_asked_again_meanwhile_is_answered_when_it_is_durable() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        class SlowStore(FailingStore):
            async def append(self, changes) -> None:  # type: ignore[no-untyped-def]  # as above
                await gate.wait()
                await super().append(changes)

        store = SlowStore()
        async with Bench(store=store) as bench:
            gate.set()
            arn = await bench.start()
            gate.clear()
            first = asyncio.ensure_future(bench.service.stop(arn))
            again = asyncio.ensure_future(bench.service.stop(arn))
            await asyncio.sleep(1)
            assert not first.done()
            assert not again.done()

            gate.set()
            assert await first == await again

    run(main)


def test_a_start_may_have_its_own_time_out() -> None:
    async def main() -> None:
        async with Bench() as bench:
            options = StartOptions(timeout_seconds=60, tenant_id="t", trace_id="r")
            arn = await bench.service.start("f", "1", options=options)

            found = await bench.service.get(arn)

            assert found.times_out_at == found.started_at + timedelta(seconds=60)
            assert (found.tenant_id, found.trace_id) == ("t", "r")

    run(main)
