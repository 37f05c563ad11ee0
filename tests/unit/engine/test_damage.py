"""An execution whose record cannot be read is parked, stopped and deleted, and hinders nobody."""

from __future__ import annotations

import pytest

from durably.engine.commands import BeginInvocation, CompleteInvoke, Pause, Stop, TimersDue
from durably.engine.damage import execution_of
from durably.engine.decisions import decide
from durably.engine.facts import ExecutionStopped, Parked, WaitSucceeded, encode_fact
from durably.engine.policy import ServicePolicy
from durably.engine.store import Change, KeepClaim, Query, Stored, Summary
from durably.engine.views import Standing
from durably.errors import ResourceConflictException
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import OperationStatus
from tests.unit.engine.shell import Bench, run
from tests.unit.engine.support import ARN, BEGIN, PENDING, invoke, succeeded

UNREADABLE = "its record cannot be read; stop it or restore a backup"
MISFIT = encode_fact(WaitSucceeded(0, "a wait that never began"))


def bench() -> Bench:
    return Bench(policy=ServicePolicy(is_shared=True))


async def damage(bench: Bench, arn: str, junk: bytes = b"junk") -> None:
    """Add to a record what nobody can read."""
    stored = await bench.store.find(arn)
    assert stored is not None
    change = Change(
        arn=arn,
        expected_version=stored.version,
        facts=(junk,),
        summary=stored.summary,
        wake=KeepClaim(),
    )
    await bench.store.append([change])


def stand_in(status: str = "RUNNING", *facts: bytes) -> Stored:
    ended_at = None if status == "RUNNING" else BEGIN
    summary = Summary(
        function_name="f",
        execution_name="order-7",
        status=status,
        started_at=BEGIN,
        ended_at=ended_at,
    )
    return Stored(ARN, facts, summary, None, None, 7, None if facts else "a bit is wrong")


@pytest.mark.parametrize("junk", [b"junk", b"", MISFIT], ids=["junk", "nothing", "misfit"])
def test_it_is_parked_once_and_released(junk: bytes) -> None:
    async def main() -> None:
        async with bench() as there:
            arn = await there.start()
            await damage(there, arn, junk)
            claim = await there.claim()
            assert claim is not None

            assert await there.service.begin(claim) is None

            assert await there.claim() is None
            [listed] = (await there.service.list(Query(is_parked=True))).executions
            assert listed.summary.parked_reason is not None
            assert listed.summary.parked_reason.startswith(UNREADABLE)
            assert (listed.is_claimed, listed.wake_at) == (False, None)

    run(main)


def test_it_is_described_without_anything_made_up() -> None:
    async def main() -> None:
        async with bench() as there:
            arn = await there.start(name="order-7")
            await damage(there, arn)

            found, why = await there.service.get(arn), await there.service.why(arn)
            waited = await there.service.wait_closed(arn)

            assert (found.execution_name, found.status) == ("order-7", ExecutionStatus.RUNNING)
            assert found.damage == found.parked_reason == why.damage
            assert (found.times_out_at, found.input_payload) == (None, None)
            assert (why.standing, why.wakes_at) == (Standing.PARKED, None)
            assert waited == found

    run(main)


def test_what_only_its_record_could_tell_is_refused() -> None:
    async def main() -> None:
        async with bench() as there:
            arn = await there.start(name="order-7")
            await damage(there, arn)

            for asked in (
                there.service.history(arn),
                there.service.pause(arn),
                there.service.resume(arn),
                there.start(name="order-7"),
            ):
                with pytest.raises(ResourceConflictException, match=f"order-7: {UNREADABLE}"):
                    await asked

    run(main)


def test_it_is_stopped_and_deleted_whoever_has_claimed_it() -> None:
    async def main() -> None:
        async with bench() as there:
            arn = await there.start()
            await damage(there, arn)
            assert await there.claim() is not None

            await there.service.stop(arn)

            assert (await there.service.get(arn)).status is ExecutionStatus.STOPPED
            assert await there.service.stop(arn) == (await there.service.get(arn)).ended_at
            await there.service.delete(arn)
            assert await there.store.find(arn) is None

    run(main)


def test_a_parent_is_told_when_its_damaged_child_is_stopped() -> None:
    async def main() -> None:
        async with bench() as there:
            arn, session = await there.running(invoke(target="g"))
            await session.end(PENDING)
            [child] = (await there.service.list(Query(parent_arn=arn))).executions
            await damage(there, child.arn)

            await there.service.stop(child.arn)

            operation = await there.operation(arn, "i")
            assert operation.status is OperationStatus.STOPPED

    run(main)


def test_a_child_ends_though_its_parent_is_damaged() -> None:
    async def main() -> None:
        async with bench() as there:
            arn, session = await there.running(invoke(target="g"))
            await session.end(PENDING)
            await damage(there, arn)
            child = await there.begin("g")

            await child.end(succeeded("1"))

            assert (await there.service.get(child.arn)).status is ExecutionStatus.SUCCEEDED

    run(main)


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT"])
def test_a_closed_one_stays_as_it_ended(status: str) -> None:
    execution = execution_of(stand_in(status))

    assert (execution.status.value, execution.is_closed, execution.version) == (status, True, 7)
    for command in (Stop(), TimersDue(), BeginInvocation(1, "r")):
        assert decide(execution, command, BEGIN) == []


def test_what_may_happen_to_an_open_one_is_that_it_is_parked_or_stopped() -> None:
    execution = execution_of(stand_in("RUNNING"))

    [parked] = decide(execution, BeginInvocation(1, "r"), BEGIN)
    [stopped] = decide(execution, Stop(), BEGIN)

    assert isinstance(parked, Parked)
    assert isinstance(stopped, ExecutionStopped)
    assert decide(execution, CompleteInvoke("i", OperationStatus.SUCCEEDED), BEGIN) == []
    with pytest.raises(ResourceConflictException, match="cannot be read"):
        decide(execution, Pause(), BEGIN)


def test_facts_of_another_execution_are_not_taken_for_its_own() -> None:
    assert execution_of(stand_in("RUNNING", MISFIT)).damage is not None
