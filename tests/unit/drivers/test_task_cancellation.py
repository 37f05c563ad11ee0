"""What an `async def` handler cancels by itself."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from durably import CompletionConfig, DurableContext, ParallelConfig, StepConfig
from durably.drivers.futures import Broken, Returned
from durably.errors import UnrecoverableInvocationError
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Trial


async def one() -> int:
    return 1


async def endless() -> None:
    await asyncio.get_running_loop().create_future()


def cancelled_while(wait: Callable[[Any], Any]) -> Trial:
    cancelled: list[str] = []

    async def handler(ctx: DurableContext) -> Any:
        async def body() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append("body")
                raise

        future = ctx.step("slow", body, config=StepConfig(retry_strategy=must_not_run))
        try:
            await wait(future)
        except TimeoutError:
            with pytest.raises(asyncio.CancelledError, match="slow was cancelled"):
                await future
            return [*cancelled, await ctx.step("next", lambda: "went on")]

    trial = Trial(handler, "pushing")
    assert trial.invoke() == Returned(["body", "went on"])
    return trial


async def by_timeout(future: Any) -> None:
    async with asyncio.timeout(0.01):
        await future


async def by_timeout_later(future: Any) -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    await by_timeout(future)


@pytest.mark.parametrize(
    "wait", [lambda future: asyncio.wait_for(future, 0.01), by_timeout, by_timeout_later]
)
def test_what_the_user_cancels_records_nothing_and_asks_no_retry_strategy(wait: Any) -> None:
    trial = cancelled_while(wait)

    assert trial.backend.sent == ["START slow", "START next", "SUCCEED next"]


def test_a_shielded_operation_is_not_cancelled_with_who_waits_for_it() -> None:
    async def handler(ctx: DurableContext) -> Any:
        release = asyncio.Event()

        async def body() -> str:
            await release.wait()
            return "done"

        future = ctx.step("slow", body)
        try:
            await asyncio.wait_for(asyncio.shield(future), 0.01)
        except TimeoutError:
            release.set()
            return await future

    assert Trial(handler, "pushing").invoke() == Returned("done")


def test_cancelling_one_who_waits_leaves_the_task_that_drives_alone() -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def driving() -> Any:
            return await future

        async def waiting() -> Any:
            return await future

        release = asyncio.Event()

        async def body() -> str:
            await release.wait()
            return "done"

        future = ctx.step("slow", body)
        first, second = asyncio.create_task(driving()), asyncio.create_task(waiting())
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        release.set()
        return [await first, second.cancelled()]

    assert Trial(handler, "pushing").invoke() == Returned(["done", True])


def test_a_cancelled_map_gives_up_its_branches() -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def slow() -> None:
            try:
                await endless()
            finally:
                given_up.append(1)

        batch = ctx.map("m", [1, 2], lambda child, _: child.step("s", slow))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batch, 0.01)
        await asyncio.sleep(0.01)
        return list(given_up)

    given_up: list[int] = []
    trial = Trial(handler, "pushing")

    assert trial.invoke() == Returned([1, 1])
    assert "SUCCEED m" not in trial.backend.sent


def test_a_branch_whose_body_is_cancelled_by_the_user_breaks_the_invocation() -> None:
    async def handler(ctx: DurableContext) -> str:
        async def branch(_: DurableContext) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await endless()

        await ctx.parallel("p", [branch, branch])
        return "went on"

    ending = Trial(handler, "pushing").invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, UnrecoverableInvocationError)


def test_a_branch_that_is_given_up_is_not_one_that_the_user_cancelled() -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def quick(_: DurableContext) -> str:
            return "quick"

        async def slow(_: DurableContext) -> None:
            await endless()

        config = ParallelConfig(completion_config=CompletionConfig.first_successful())
        return (await ctx.parallel("p", [slow, quick], config)).results()

    assert Trial(handler, "pushing").invoke() == Returned(["quick"])


def test_a_cancelled_child_gives_up_what_it_has_open() -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def child(child: DurableContext) -> None:
            child.step("left", endless)
            await endless()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ctx.run_in_child_context("child", child), 0.01)
        return await ctx.step("next", one)

    trial = Trial(handler, "pushing")

    assert trial.invoke() == Returned(1)


def test_a_handler_that_is_cancelled_by_itself_is_tried_again() -> None:
    async def handler(ctx: DurableContext) -> None:
        raise asyncio.CancelledError

    ending = Trial(handler).invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, UnrecoverableInvocationError)
