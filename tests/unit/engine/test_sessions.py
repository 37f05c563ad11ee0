"""One invocation in this process: what it sends, what it is told, how it loses its authority."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.drivers.client import PushingClient
from durably.engine.sessions import Session
from durably.errors import InvalidParameterValueException, StoreError
from durably.wire.api import GetExecutionStateRequest
from durably.wire.operation import Operation, OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.shell import LEASE, Bench, FailingStore, run, send
from tests.unit.engine.support import (
    ERROR,
    PENDING,
    callback,
    closing,
    context,
    invoke,
    step,
    succeeded,
    wait,
)

SUCCEED = OperationAction.SUCCEED


def ids(operations: Sequence[Operation]) -> list[str]:
    return [operation.id for operation in operations]


async def answer(bench: Bench, arn: str, operation_id: str) -> None:
    details = (await bench.operation(arn, operation_id)).callback_details
    assert details is not None
    assert details.callback_id is not None
    await bench.service.succeed_callback(details.callback_id, "7")


def test_the_client_of_a_session_is_a_pushing_one() -> None:
    async def main() -> None:
        async with Bench() as bench:
            _, session = await bench.running()
            assert isinstance(EmbeddedClient(session), PushingClient)

    run(main)


def test_on_the_memory_store_a_checkpoint_never_suspends() -> None:
    async def main() -> None:
        async with Bench() as bench:
            _, session = await bench.running()
            client = EmbeddedClient(session)

            client.post(step())
            coroutine = send(client, step(action=SUCCEED, payload="1"))
            with pytest.raises(StopIteration):
                coroutine.send(None)

    run(main)


def test_a_reply_tells_what_has_changed_since_the_last_one() -> None:
    async def main() -> None:
        async with Bench() as bench:
            _, session = await bench.running()
            client = EmbeddedClient(session)

            assert ids(await send(client, wait("w"))) == ["w"]
            client.post(step())
            assert ids(await send(client, step("t"), step("t", SUCCEED))) == ["s", "t"]
            assert await send(client) == ()

    run(main)


def test_what_was_posted_is_in_the_journal_before_what_was_sent_after_it() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running()
            client = EmbeddedClient(session)

            client.post(context())
            client.post(step(parent_id="c"))
            await send(client, step(action=SUCCEED))

            assert (await bench.story(arn))[1:] == [
                "ContextStarted",
                "StepStarted",
                "StepSucceeded",
            ]

    run(main)


def test_a_refused_update_is_told_at_once_and_changes_nothing() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(step())
            client = EmbeddedClient(session)

            with pytest.raises(InvalidParameterValueException):
                client.post(step())
            with pytest.raises(InvalidParameterValueException):
                await send(client, step())
            await send(client, step(action=SUCCEED))
            assert (await bench.story(arn))[-1] == "StepSucceeded"

    run(main)


def test_what_starts_an_execution_cannot_be_posted() -> None:
    async def main() -> None:
        async with Bench() as bench:
            _, session = await bench.running()
            with pytest.raises(AssertionError):
                session.post(invoke(target="g"))

    run(main)


def test_an_invocation_is_told_of_each_outside_change_once() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(callback(), wait(seconds=5))
            client = EmbeddedClient(session)
            told: list[list[str]] = []
            client.listen(lambda operations: told.append(ids(operations)))

            await answer(bench, arn, "cb")
            await asyncio.sleep(6)

            assert told == [["cb"], ["w"]]
            assert await send(client) == ()

    run(main)


def test_timers_fire_while_the_invocation_runs() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, _ = await bench.running(wait(seconds=5), callback(heartbeat=10))
            await asyncio.sleep(5.1)
            assert (await bench.operation(arn, "w")).status is OperationStatus.SUCCEEDED
            await asyncio.sleep(5.1)
            assert (await bench.operation(arn, "cb")).status is OperationStatus.TIMED_OUT

    run(main)


def test_timers_far_away_are_looked_at_now_and_then() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, _ = await bench.running(wait(seconds=3 * 3600))
            await asyncio.sleep(3 * 3600 + 1)
            assert (await bench.operation(arn, "w")).status is OperationStatus.SUCCEEDED

    run(main)


def test_timers_that_cannot_be_recorded_are_due_for_the_next_invocation() -> None:
    async def main() -> None:
        store = FailingStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(wait(seconds=5))
            store.fail_before = 1
            await asyncio.sleep(6)
            with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
                await session.checkpoint(())
            await session.end(PENDING)
            await asyncio.sleep(0)
            assert (await bench.service.why(arn)).owed_invocations == 1

    run(main)


# What the end has seen


async def suspend_after_push(bench: Bench, *, notes: bool | None, sends: bool) -> int:
    """Suspend an invocation that was told of a change, and say how many invocations it owes."""
    arn, session = await bench.running(callback(), callback("other"))
    session.listen(lambda operations: notes)
    await answer(bench, arn, "cb")
    if sends:
        await session.checkpoint((step(), step(action=SUCCEED)))
    await session.end(PENDING)
    return (await bench.service.why(arn)).owed_invocations


@pytest.mark.parametrize(
    ("notes", "sends", "owed"),
    [(None, False, 1), (None, True, 0), (True, False, 0), (False, False, 1)],
)
def test_a_change_told_too_late_to_matter_owes_an_invocation(
    notes: bool | None, sends: bool, owed: int
) -> None:
    async def main() -> None:
        async with Bench() as bench:
            assert await suspend_after_push(bench, notes=notes, sends=sends) == owed

    run(main)


def test_a_change_nobody_listened_for_is_in_the_next_reply() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(callback(), callback("other"))
            await answer(bench, arn, "cb")
            session.post(step())
            await session.checkpoint((step(action=SUCCEED),))
            await session.end(PENDING)
            assert (await bench.service.why(arn)).owed_invocations == 0

    run(main)


# The end


def test_the_end_gives_the_claim_up() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(wait(seconds=5))
            await session.end(PENDING)

            stored = await bench.store.find(arn)
            assert stored is not None
            assert stored.claim_epoch is None
            assert stored.wake_at == bench.clock.now() + timedelta(seconds=5)
            with pytest.raises(InvalidParameterValueException):
                await session.checkpoint(())

    run(main)


def test_an_oversized_result_is_checkpointed_and_ends_the_execution() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running()

            response = await session.checkpoint((closing(SUCCEED, payload="1"),))
            assert response.checkpoint_token is None
            await session.end(succeeded(""))

            assert (await bench.service.get(arn)).result == "1"
            assert (await bench.story(arn)).count("InvocationCompleted") == 1

    run(main)


def test_a_pause_ends_the_invocation_at_its_next_checkpoint() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running()
            await bench.service.pause(arn)

            response = await session.checkpoint((step(),))
            assert response.checkpoint_token is None
            with pytest.raises(InvalidParameterValueException):
                await session.checkpoint((step("t"),))
            await session.end(PENDING)

            assert await bench.claim() is None
            await bench.service.resume(arn)
            assert await bench.claim() is not None

    run(main)


# Authority


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
            session.listen(lambda operations: told.append(ids(operations)))
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


# What an invocation is given


def test_the_input_has_the_state_and_what_changed_from_outside() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(wait(seconds=5))
            await session.end(PENDING)
            await asyncio.sleep(5)

            again = await bench.begin()
            given = again.input()

            assert given.durable_execution_arn == arn
            assert ids(given.initial_execution_state.operations)[1:] == ["w"]
            assert given.updated_operation_ids == ("w",)
            assert (again.function_name, again.tenant_id, again.trace_id) == ("f", None, None)
            assert again.request_id != session.request_id

    run(main)


async def all_pages(client: EmbeddedClient, session: Session) -> list[str]:
    state = session.input(is_paged=True).initial_execution_state
    found, marker = ids(state.operations), state.next_marker
    while marker is not None:
        request = GetExecutionStateRequest(
            durable_execution_arn="", checkpoint_token="", marker=marker
        )
        page = await client.get_execution_state(request)
        found += ids(page.operations)
        marker = page.next_marker
    return found


def test_a_large_state_comes_in_pages() -> None:
    async def main() -> None:
        async with Bench() as bench:
            _, session = await bench.running(*[step(f"s{n}") for n in range(2500)])

            found = await all_pages(EmbeddedClient(session), session)

            assert found[1:] == [f"s{n}" for n in range(2500)]
            for wrong in ("x", "99999999", "-1"):
                with pytest.raises(InvalidParameterValueException, match="Marker"):
                    session.state(wrong, 10)

    run(main)
