"""What comes at an awkward moment: between a call and its await, or after the end."""

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest

from durably import CompletionConfig, DurableContext, ParallelConfig
from durably.core.lifecycle import MAX_SWALLOWED_SIGNALS
from durably.drivers.futures import Broken, Returned, Suspended
from durably.errors import TerminationReason
from durably.wire.api import CheckpointRequest
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Messages, Trial, in_loop

WAITING = Suspended(TerminationReason.WAIT_SCHEDULED)


async def one() -> int:
    return 1


async def endless() -> None:
    await asyncio.get_running_loop().create_future()


def test_a_change_between_the_call_and_the_await_is_not_lost() -> None:
    async def handler(ctx: DurableContext) -> str:
        future = ctx.wait("w", 100)
        if is_replay:
            trial.backend.pass_time()
            assert trial.client.push("w")
        await future
        return "done"

    is_replay: list[int] = []
    trial = Trial(handler, "pushing")
    assert trial.invoke() == WAITING
    is_replay.append(1)

    assert trial.invoke() == Returned("done")


def test_a_change_before_the_task_of_an_unawaited_future_runs_is_not_lost() -> None:
    async def handler(ctx: DurableContext) -> str:
        future = ctx.wait("w", 100)
        if is_replay:
            trial.backend.pass_time()
            assert trial.client.push("w")
            await asyncio.sleep(1)
            assert future.done()
        await future
        return "done"

    is_replay: list[int] = []
    trial = Trial(handler, "pushing")
    trial.invoke()
    is_replay.append(1)

    assert trial.invoke() == Returned("done")


def test_a_reply_to_one_who_was_cancelled_meanwhile_is_taken_over() -> None:
    async def handler(ctx: DurableContext) -> Any:
        waiting = asyncio.create_task(awaiting(ctx.wait("w", 100)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        return await ctx.step("next", one)

    async def awaiting(future: Any) -> None:
        await future

    trial = Trial(handler, "awaited")

    assert trial.invoke() == Returned(1)
    assert trial.backend.sent == ["START w", "START next", "SUCCEED next"]


def test_what_is_on_its_way_is_waited_for_before_an_invocation_stops() -> None:
    async def handler(ctx: DurableContext) -> None:
        future = ctx.wait("w", 100)
        if is_changed:
            await ctx.run_in_child_context("new", lambda _: future)
        await future

    is_changed: list[int] = []
    trial = Trial(handler, "awaited")
    trial.invoke()
    is_changed.append(1)

    assert trial.invoke() == WAITING
    assert trial.backend.sent == ["START w", "START new"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_reply_from_a_thread_after_the_end_changes_nothing(*, fails: bool) -> None:
    asked, released = threading.Event(), threading.Event()

    async def handler(ctx: DurableContext) -> None:
        ctx.step("s", endless)
        await asyncio.to_thread(asked.wait)
        raise asyncio.CancelledError

    def hold(request: CheckpointRequest) -> None:
        asked.set()
        released.wait()
        if fails:
            raise OSError("unplugged")

    async def invoke() -> Any:
        journal = trial.journal()
        ending = await trial.run_in_tasks(journal).run(handler)
        released.set()
        for _ in range(1000):
            await asyncio.sleep(0)
        return ending, journal.changes

    trial = Trial(handler, "blocking")
    trial.backend.before = hold

    ending, changes = in_loop(invoke)

    assert isinstance(ending, Broken)
    assert changes == 0


@pytest.mark.parametrize("client", ["at once", "pushing"])
def test_two_may_wait_for_one_callback(client: str) -> None:
    async def handler(ctx: DurableContext) -> Any:
        callback = await ctx.create_callback("cb")
        if not is_replay:
            is_replay.append(callback.callback_id)
        return list(await asyncio.gather(callback.result(), callback.result()))

    is_replay: list[str] = []
    trial = Trial(handler, client)
    assert trial.invoke() == Suspended(TerminationReason.CALLBACK_PENDING)
    trial.backend.memory.complete_callback(is_replay[0], "answer")

    assert trial.invoke() == Returned(["answer", "answer"])


def test_an_orphan_that_goes_on_is_refused_and_does_not_keep_the_invocation_awake() -> None:
    async def handler(ctx: DurableContext) -> None:
        async def orphan(child: DurableContext) -> None:
            with suppress(asyncio.CancelledError):
                await endless()
            refused.append(1)
            with suppress(asyncio.CancelledError):
                await child.step("late", must_not_run)
            refused.append(2)

        async def quick(_: DurableContext) -> None:
            """Nothing."""

        config = ParallelConfig(completion_config=CompletionConfig.first_successful())
        await ctx.parallel("p", [orphan, quick], config)
        await ctx.wait("w", 100)

    refused: list[int] = []
    trial = Trial(handler, "pushing")

    assert trial.invoke() == WAITING
    assert refused == [1, 2]
    assert "START late" not in trial.backend.sent


def test_a_handler_that_was_left_behind_is_reported_once() -> None:
    async def handler(ctx: DurableContext) -> None:
        with suppress(asyncio.CancelledError):
            await ctx.wait("w", 100)
        while not gone:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            for _ in range(0 if gone else MAX_SWALLOWED_SIGNALS):
                with suppress(asyncio.CancelledError):
                    await ctx.wait("w", 100)
                if gone:
                    break

    async def invoke() -> Any:
        ending = await trial.run_in_tasks(trial.journal()).run(handler)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
        gone.append(1)
        return ending

    gone: list[int] = []
    trial = Trial(handler, "pushing", unwind_seconds=2)
    with Messages.of("durably") as messages:
        assert in_loop(invoke) == WAITING

    assert [record.message for record in messages.records] == [
        "the handler of in-memory/test does not unwind, and is left behind without its token"
    ]


def test_an_operation_that_has_ended_is_not_cancelled_with_who_drove_it() -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def drive() -> str:
            await future
            await asyncio.sleep(1)
            return "the task went on"

        future = ctx.step("s", one)
        task = asyncio.create_task(drive())
        await ctx.run_in_child_context("c", lambda _: asyncio.sleep(0.1))
        return await task

    assert Trial(handler, "pushing").invoke() == Returned("the task went on")
