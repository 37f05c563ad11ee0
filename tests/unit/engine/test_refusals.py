"""A refusal rests on what is stored, as an acceptance does: what others have written, or not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from durably.engine.policy import ServicePolicy
from durably.engine.store import Change
from durably.errors import StoreError
from durably.wire.api import GetExecutionStateRequest
from durably.wire.update import OperationAction
from tests.unit.engine.shell import Bench, FailingStore, GatedStore, run
from tests.unit.engine.support import callback, request, step

SHARED = ServicePolicy(is_shared=True)
SUCCEED = OperationAction.SUCCEED


async def two(stack: AsyncExitStack, store: FailingStore) -> tuple[Bench, Bench]:
    """Give two processes on one store."""
    one = await stack.enter_async_context(Bench(store=store, policy=SHARED))
    return one, await stack.enter_async_context(Bench(store=store, policy=SHARED))


async def callback_id(bench: Bench, arn: str) -> str:
    details = (await bench.operation(arn, "cb")).callback_details
    assert details is not None
    assert details.callback_id is not None
    return details.callback_id


def test_checkpoints_of_one_function_may_come_to_any_process() -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            one, other = await two(stack, FailingStore())
            arn, session = await one.running()
            session.hand_out()

            token: str | None = session.token
            for number, bench in enumerate((other, one, other, one, one, other)):
                assert token is not None
                name = f"s{number // 2}"
                update = step(name, SUCCEED) if number % 2 else step(name)
                token = (
                    await bench.service.checkpoint(request(arn, token, update))
                ).checkpoint_token

            assert (await one.story(arn)).count("StepSucceeded") == 3

    run(main)


def test_the_state_may_be_read_at_any_process() -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            one, other = await two(stack, FailingStore())
            arn, session = await one.running()
            session.hand_out()
            reply = await other.service.checkpoint(request(arn, session.token, step("s")))
            assert reply.checkpoint_token is not None

            state = await one.service.get_execution_state(
                GetExecutionStateRequest(
                    durable_execution_arn=arn, checkpoint_token=reply.checkpoint_token
                )
            )

            assert "s" in [operation.id for operation in state.operations]

    run(main)


def test_a_callback_made_by_one_process_may_be_answered_at_another() -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            one, other = await two(stack, FailingStore())
            arn, session = await one.running()
            session.hand_out()
            await other.service.checkpoint(request(arn, session.token, callback()))

            await one.service.succeed_callback(await callback_id(one, arn), "7")

            assert "CallbackSucceeded" in await one.story(arn)

    run(main)


class LateStore(FailingStore):
    """Writes what nobody waits for only with the next change."""

    def __init__(self) -> None:
        super().__init__()
        self.late: list[Change] = []

    def append_soon(self, change: Change) -> None:
        self.late.append(change)

    async def append(self, changes: Sequence[Change]) -> None:
        for change in self.late:
            super().append_soon(change)
        self.late.clear()
        await super().append(changes)


def test_an_invocation_is_known_to_every_process_when_it_begins() -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            one, other = await two(stack, LateStore())
            arn, session = await one.running()
            await session.make_known()
            session.hand_out()

            await other.service.checkpoint(request(arn, session.token, step("s")))

            assert (await one.operation(arn, "s")).id == "s"

    run(main)


def test_an_answer_is_not_refused_for_one_that_was_never_written() -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, _ = await bench.running(callback())
            id_ = await callback_id(bench, arn)
            store.gate.clear()
            store.fail_before = 1

            first = asyncio.ensure_future(bench.service.succeed_callback(id_, "1"))
            await asyncio.sleep(1)
            second = asyncio.ensure_future(bench.service.succeed_callback(id_, "2"))
            await asyncio.sleep(1)
            store.gate.set()

            with pytest.raises(StoreError):
                await first
            await second
            details = (await bench.operation(arn, "cb")).callback_details
            assert details is not None
            assert details.result == "2"

    run(main)
