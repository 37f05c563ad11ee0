"""Nobody acts on, or is told of, what is not durable yet (P2, P8, P9)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.engine.damage import execution_of
from durably.engine.policy import FailurePolicy, ServicePolicy
from durably.engine.sessions import Session
from durably.engine.store import Claim, Stored
from durably.errors import StoreError
from durably.wire.api import GetExecutionStateRequest
from durably.wire.execution import ExecutionStatus
from durably.wire.invocation import InvocationInput, InvocationOutput
from durably.wire.operation import ErrorObject, Operation, OperationStatus
from tests.unit.engine.shell import (
    Bench,
    FailingStore,
    Function,
    GatedStore,
    SteppedStore,
    run,
)
from tests.unit.engine.support import PENDING, callback, invoke, request, step, succeeded

STARTED, SUCCEEDED = OperationStatus.STARTED, OperationStatus.SUCCEEDED


async def answer(bench: Bench, arn: str, operation_id: str) -> None:
    details = (await bench.operation(arn, operation_id)).callback_details
    assert details is not None
    assert details.callback_id is not None
    await bench.service.succeed_callback(details.callback_id, "7")


def seen_by(session: Session) -> dict[str, OperationStatus]:
    return statuses(session.input().initial_execution_state.operations)


def statuses(operations: Sequence[Operation]) -> dict[str, OperationStatus]:
    return {one.id: one.status for one in operations}


async def begun(bench: Bench, store: GatedStore, claim: Claim) -> Session:
    """Begin under *claim* while something is being written; see that it waits for that."""
    beginning = asyncio.ensure_future(bench.service.begin(claim))
    await asyncio.sleep(1)
    assert not beginning.done()
    store.gate.set()
    session = await beginning
    assert session is not None
    return session


def test_an_invocation_begins_with_an_answer_only_once_it_is_durable() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(callback("a"), callback("b"))
            await session.end(PENDING)
            await answer(bench, arn, "a")
            claim = await bench.claim()
            assert claim is not None
            store.gate.clear()
            answering = asyncio.ensure_future(answer(bench, arn, "b"))
            await asyncio.sleep(0.1)

            session = await begun(bench, store, claim)

            assert answering.done()
            assert (seen_by(session)["a"], seen_by(session)["b"]) == (SUCCEEDED, SUCCEEDED)

    run(main)


def test_an_invocation_begins_with_the_end_of_a_child_only_once_it_is_durable() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(callback("a"), invoke("i", "g"))
            await session.end(PENDING)
            child = await bench.begin("g")
            await answer(bench, arn, "a")
            claim = await bench.claim()
            assert claim is not None
            store.gate.clear()
            ending = asyncio.ensure_future(child.end(succeeded("1")))
            await asyncio.sleep(0.1)

            session = await begun(bench, store, claim)

            assert ending.done()
            assert seen_by(session)["i"] is SUCCEEDED

    run(main)


def test_an_invocation_begins_without_what_could_not_be_written() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(callback("a"), callback("b"))
            await session.end(PENDING)
            await answer(bench, arn, "a")
            claim = await bench.claim()
            assert claim is not None
            store.gate.clear()
            answering = asyncio.ensure_future(answer(bench, arn, "b"))
            await asyncio.sleep(0.1)
            store.fail_before = 1

            session = await begun(bench, store, claim)

            with pytest.raises(StoreError):
                await answering
            assert (seen_by(session)["a"], seen_by(session)["b"]) == (SUCCEEDED, STARTED)

    run(main)


def test_a_function_elsewhere_is_told_only_what_is_durable() -> None:
    async def main() -> None:
        store = SteppedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running()
            first = await bench.service.checkpoint(request(arn, session.token, callback("a")))
            gates: list[asyncio.Future[None]] = []
            store.gates = gates
            token = first.checkpoint_token or ""
            asking = asyncio.ensure_future(bench.service.checkpoint(request(arn, token, step())))
            await asyncio.sleep(0.1)
            answering = asyncio.ensure_future(answer(bench, arn, "a"))
            await asyncio.sleep(0.1)
            gates[0].set_result(None)
            await asyncio.sleep(0.1)
            assert not asking.done()
            gates[1].set_result(None)
            await answering
            reply = await asking

            assert statuses(reply.new_execution_state.operations)["a"] is SUCCEEDED

    run(main)


class SlowToRead(SteppedStore):
    """Once it has a *read*, what is looked up waits for it."""

    read: asyncio.Future[None] | None = None

    async def find(self, arn: str) -> Stored | None:
        if self.read is not None:
            await self.read
        return await super().find(arn)


def test_what_is_said_while_the_store_is_asked_is_told_only_once_it_is_durable() -> None:
    async def main() -> None:
        store = SlowToRead()
        async with Bench(store=store, policy=ServicePolicy(is_shared=True)) as bench:
            arn, session = await bench.running()
            first = await bench.service.checkpoint(request(arn, session.token, callback("a")))
            details = (await bench.operation(arn, "a")).callback_details
            assert details is not None
            assert details.callback_id is not None
            read = store.read = asyncio.get_running_loop().create_future()
            token = first.checkpoint_token or ""
            asking = asyncio.ensure_future(bench.service.checkpoint(request(arn, token, step())))
            await asyncio.sleep(0.1)
            gates = store.gates = []
            saying = bench.service.succeed_callback(details.callback_id, "7")
            answering = asyncio.ensure_future(saying)
            await asyncio.sleep(0.1)
            assert len(gates) == 1
            read.set_result(None)
            await asyncio.sleep(0.1)
            assert not asking.done()
            gates[0].set_result(None)
            await answering

            assert statuses((await asking).new_execution_state.operations)["a"] is SUCCEEDED

    run(main)


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_checkpoint_that_comes_twice_does_not_rest_on_one_that_is_not_written(
    *, is_cancelled: bool
) -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running()
            session.hand_out()
            sent = request(arn, session.token, step("s"), client_token="c" * 8)
            store.gate.clear()
            first = asyncio.ensure_future(bench.service.checkpoint(sent))
            again = asyncio.ensure_future(bench.service.checkpoint(sent))
            await asyncio.sleep(1)
            if is_cancelled:
                first.cancel()
            else:
                store.fail_before = 1
            await asyncio.sleep(1)
            assert not again.done()
            store.gate.set()

            [failure] = await asyncio.gather(first, return_exceptions=True)
            assert isinstance(failure, asyncio.CancelledError if is_cancelled else StoreError)
            assert (await again).checkpoint_token is not None
            stored = await store.find(arn)
            assert stored is not None
            assert "s" in statuses(execution_of(stored).operations)

    run(main)


def test_the_state_of_a_function_elsewhere_is_what_is_durable() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running()
            first = await bench.service.checkpoint(request(arn, session.token, callback("a")))
            store.gate.clear()
            answering = asyncio.ensure_future(answer(bench, arn, "a"))
            await asyncio.sleep(0.1)
            wanted = GetExecutionStateRequest(
                durable_execution_arn=arn, checkpoint_token=first.checkpoint_token or ""
            )
            asking = asyncio.ensure_future(bench.service.get_execution_state(wanted))
            await asyncio.sleep(1)
            assert not asking.done()
            store.gate.set()

            assert statuses((await asking).operations)["a"] is SUCCEEDED
            assert answering.done()

    run(main)


def test_whoever_waits_for_an_end_is_not_told_of_a_stop_that_is_being_written() -> None:
    async def main() -> None:
        store = SteppedStore()
        policy = ServicePolicy(failures=FailurePolicy(park_after=1))
        async with Bench(store=store, policy=policy) as bench:
            arn, session = await bench.running()
            waiting = asyncio.ensure_future(bench.service.wait_closed(arn))
            await asyncio.sleep(0.1)
            gates: list[asyncio.Future[None]] = []
            store.gates = gates
            failing = asyncio.ensure_future(session.fail(ErrorObject(error_type="X")))
            await asyncio.sleep(0.1)
            stopping = asyncio.ensure_future(bench.service.stop(arn))
            await asyncio.sleep(0.1)
            gates[0].set_result(None)  # that it is parked
            await failing

            found = await waiting
            assert found.status is ExecutionStatus.RUNNING
            assert found.parked_reason is not None
            gates[1].set_result(None)
            await stopping

    run(main)


def test_what_is_being_written_when_an_invocation_begins_to_listen_is_told() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(callback("a"))
            store.gate.clear()
            answering = asyncio.ensure_future(answer(bench, arn, "a"))
            await asyncio.sleep(0.1)
            told: list[dict[str, OperationStatus]] = []

            def listener(operations: Sequence[Operation]) -> bool:
                told.append(statuses(operations))
                return True

            session.listen(listener)
            store.gate.set()
            await answering

            assert told == [{"a": SUCCEEDED}]

    run(main)


def test_trouble_of_this_process_is_no_damage_of_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def out_of_memory(facts: object) -> None:
        raise MemoryError

    async def main() -> None:
        async with Bench() as bench:
            stored = await bench.store.find(await bench.start())
            assert stored is not None
            monkeypatch.setattr("durably.engine.damage.fold", out_of_memory)
            with pytest.raises(MemoryError):
                execution_of(stored)

    run(main)


class CountingStore(FailingStore):
    claims = 0

    async def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        claimed = await super().claim(worker, functions, now, lease, limit)
        self.claims += bool(claimed)
        return claimed


def test_functions_that_hold_threads_do_not_make_the_others_be_claimed_one_by_one() -> None:
    async def quick(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        return succeeded("1")

    async def hang(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        await asyncio.sleep(1000)
        return succeeded("1")

    async def main() -> None:
        store = CountingStore()
        async with Bench({"f": quick}, store=store) as bench:
            bench.functions["g"] = Function(hang, is_async=False)
            for _ in range(31):
                await bench.service.start("g", "1")
            dispatcher, work = bench.work()
            await asyncio.sleep(1)
            store.claims = 0
            arns = [await bench.start() for _ in range(300)]
            for arn in arns:
                await bench.service.wait_closed(arn)

            assert store.claims < 20
            await dispatcher.drain(timedelta(0))
            await work

    run(main)


def test_a_claim_that_cannot_be_given_back_while_draining_keeps_no_other_one() -> None:
    class SlowStore(FailingStore):
        async def claim(
            self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
        ) -> Sequence[Claim]:
            await asyncio.sleep(1)
            claimed = await super().claim(worker, functions, now, lease, limit)
            self.fail_before = 1
            return claimed

    async def main() -> None:
        store = SlowStore()
        async with Bench(store=store) as bench:
            arns = [await bench.start() for _ in range(4)]
            bench.functions["f"] = Function(never_called)
            dispatcher, work = bench.work()
            await asyncio.sleep(0.5)
            await dispatcher.drain(timedelta(0))
            await work

            found = [await store.find(arn) for arn in arns]
            assert sum(one is not None and one.claim_epoch is not None for one in found) == 1

    async def never_called(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        raise AssertionError

    run(main)
