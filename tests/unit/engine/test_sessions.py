"""One invocation in this process: what it sends and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.drivers.client import PushingClient, pushes
from durably.engine.sessions import Session
from durably.engine.store import Change
from durably.errors import InvalidParameterValueException
from durably.wire.api import GetExecutionStateRequest
from durably.wire.invocation import InvocationInput
from durably.wire.operation import Operation, OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.shell import Bench, FailingStore, run, send
from tests.unit.engine.support import (
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


def test_the_client_of_a_session_is_a_pushing_one() -> None:
    async def main() -> None:
        async with Bench() as bench:
            _, session = await bench.running()
            client: PushingClient = EmbeddedClient(session)
            assert pushes(client)

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
            client.listen(noting(told))

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


@pytest.mark.parametrize(("takes_note", "owed"), [(True, 0), (False, 1)])
def test_a_change_told_too_late_to_matter_owes_an_invocation(
    *, takes_note: bool, owed: int
) -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(callback(), callback("other"))
            session.listen(lambda operations: takes_note)
            await answer(bench, arn, "cb")

            await session.end(PENDING)

            assert (await bench.service.why(arn)).owed_invocations == owed

    run(main)


def test_a_change_nobody_listened_for_is_in_the_next_reply() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(callback(), callback("other"))
            await answer(bench, arn, "cb")

            reply = await session.checkpoint((step(), step(action=SUCCEED)))
            await session.end(PENDING)

            assert ids(reply.new_execution_state.operations) == ["cb", "s"]
            assert (await bench.service.why(arn)).owed_invocations == 0

    run(main)


def test_a_change_before_the_listener_came_is_told_to_it_at_once() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(callback(), callback("other"))
            await answer(bench, arn, "cb")
            told: list[list[str]] = []

            session.listen(noting(told))

            assert told == [["cb"]]

    run(main)


def test_a_change_nobody_ever_heard_of_owes_an_invocation() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running(callback(), callback("other"))
            await answer(bench, arn, "cb")

            await session.end(PENDING)

            assert (await bench.service.why(arn)).owed_invocations == 1

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
    payload = session.hand_out()
    assert payload is not None, "the invocation runs"
    state = InvocationInput.parse(payload).initial_execution_state
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
            _, session = await bench.running(*[step(f"s{n}") for n in range(2500)], wait("w"))
            await session.end(PENDING)
            await asyncio.sleep(60)
            session = await bench.begin()

            found = await all_pages(EmbeddedClient(session), session)

            assert found[1:-1] == [f"s{n}" for n in range(2500)]
            for wrong in ("x", "99999999", "-1"):
                with pytest.raises(InvalidParameterValueException, match="Marker"):
                    session.state(wrong, 10)

    run(main)


class LateStore(FailingStore):
    """Answers the next append when it is told to, though it was done at once."""

    answer: asyncio.Event | None = None

    async def append(self, changes: Sequence[Change]) -> None:
        allowed, self.answer = self.answer, None
        await super().append(changes)
        if allowed is not None:
            await allowed.wait()


def test_an_answer_that_comes_late_undoes_nothing_that_came_before_it() -> None:
    async def main() -> None:
        store = LateStore()
        async with Bench(store=store) as bench:
            _, session = await bench.running()
            known: dict[str, OperationStatus] = {}

            def listener(operations: Sequence[Operation]) -> bool:
                known.update((one.id, one.status) for one in operations)
                return True

            client = EmbeddedClient(session)
            client.listen(listener)
            client.post(step())
            answered = store.answer = asyncio.Event()
            late = asyncio.create_task(send(client, step("t")))
            await asyncio.sleep(0)

            listener(await send(client, step(action=SUCCEED)))
            answered.set()
            listener(await late)

            assert known == {"s": OperationStatus.SUCCEEDED, "t": OperationStatus.STARTED}

    run(main)


def test_what_comes_from_outside_is_told_after_what_was_answered_before_it() -> None:
    async def main() -> None:
        store = LateStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(callback())
            told: list[list[str]] = []
            client = EmbeddedClient(session)
            client.listen(noting(told))
            answered = store.answer = asyncio.Event()
            late = asyncio.create_task(send(client, step()))
            await asyncio.sleep(0)

            await answer(bench, arn, "cb")
            answered.set()

            assert await late == ()
            assert told == [["s"], ["cb"]]

    run(main)


def test_nothing_is_told_before_the_store_has_answered() -> None:
    async def main() -> None:
        store = LateStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(callback())
            told: list[list[str]] = []
            EmbeddedClient(session).listen(noting(told))
            answered = store.answer = asyncio.Event()
            asked = asyncio.create_task(answer(bench, arn, "cb"))
            await asyncio.sleep(0)
            assert told == []

            answered.set()
            await asked

            assert told == [["cb"]]

    run(main)
