"""An invocation of an `async def` handler: who runs what, and what is left of it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from durably import DurableContext, RetryDecision, StepConfig
from durably.drivers.futures import Returned
from durably.errors import (
    StepError,
)
from tests.unit.drivers.support import CLIENTS, Messages, Trial

EVERY_CLIENT = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture
def messages() -> Iterator[Messages]:
    with Messages.of("durably") as messages:
        yield messages


async def one() -> int:
    return 1


async def two() -> int:
    return 2


def our_tasks() -> set[str]:
    """Name the tasks that were made to drive an operation."""
    names = {task.get_name() for task in asyncio.all_tasks()}
    return {name for name in names if name.startswith("durably")} - BESIDE_OPERATIONS


BESIDE_OPERATIONS = {"durably handler", "durably checkpoint"}


# The fast path and inline driving


def test_what_is_recorded_costs_no_task_no_turn_and_no_request() -> None:
    async def handler(ctx: DurableContext) -> Any:
        turns: list[int] = []
        loop = asyncio.get_running_loop()
        loop.call_soon(turns.append, 1)
        step = ctx.step("a", one)
        is_done = step.done()
        child = await ctx.run_in_child_context("c", lambda child: child.step("b", two))
        batch = await ctx.map("m", [1, 2], lambda child, item: child.step("s", one))
        return [is_done, await step, child, batch.results(), list(turns), our_tasks()]

    trial = Trial(handler, "pushing")
    first = trial.invoke()
    requests = len(trial.backend.requests)

    again = trial.invoke()

    assert isinstance(first, Returned)
    assert again == Returned([True, 1, 2, [1, 1], [], set()])
    assert len(trial.backend.requests) == requests


@EVERY_CLIENT
def test_sequential_operations_make_no_task(client: str) -> None:
    seen: list[set[str]] = []

    async def body() -> None:
        seen.append(our_tasks())

    async def child(ctx: DurableContext) -> None:
        await ctx.step("inner", body)

    async def handler(ctx: DurableContext) -> None:
        await ctx.step("outer", body)
        await ctx.run_in_child_context("child", child)

    assert Trial(handler, client).invoke() == Returned(None)
    assert seen == [set(), set()]


def test_a_step_runs_in_the_callers_task() -> None:
    async def handler(ctx: DurableContext) -> bool:
        async def body() -> bool:
            return asyncio.current_task() is here

        here = asyncio.current_task()
        return await ctx.step("s", body)

    assert Trial(handler, "pushing").invoke() == Returned(True)  # noqa: FBT003 - it is its first field


@EVERY_CLIENT
def test_gathered_operations_run_beside_each_other_and_once_each(client: str) -> None:
    ran: list[str] = []

    async def handler(ctx: DurableContext) -> list[str]:
        met = asyncio.Barrier(3)

        async def body(name: str) -> str:
            ran.append(name)
            await met.wait()
            return name

        return await asyncio.gather(*(ctx.step(name, body, name) for name in "abc"))

    trial = Trial(handler, client)

    assert trial.invoke() == Returned(["a", "b", "c"])
    assert sorted(ran) == ["a", "b", "c"]
    assert trial.backend.sent[:3] == ["START a", "START b", "START c"]
    assert sorted(trial.backend.sent[3:]) == ["SUCCEED a", "SUCCEED b", "SUCCEED c"]


def test_gathered_operations_are_driven_by_the_tasks_of_the_gather() -> None:
    async def handler(ctx: DurableContext) -> list[str]:
        async def body() -> str:
            task = asyncio.current_task()
            assert task is not None
            return task.get_name()

        return list(await asyncio.gather(ctx.step("a", body), ctx.step("b", body)))

    ending = Trial(handler, "pushing").invoke()

    assert isinstance(ending, Returned)
    assert not [name for name in ending.value if name.startswith("durably")]


@EVERY_CLIENT
def test_what_nobody_awaits_runs_in_a_task_of_its_own(client: str) -> None:
    async def handler(ctx: DurableContext) -> Any:
        ran = asyncio.Event()

        async def body() -> str:
            ran.set()
            return "done"

        future = ctx.step("alone", body)
        await ran.wait()
        return await future

    trial = Trial(handler, client)

    assert trial.invoke() == Returned("done")
    assert trial.backend.sent == ["START alone", "SUCCEED alone"]


@EVERY_CLIENT
def test_a_future_is_awaited_as_often_as_one_likes_and_its_body_runs_once(client: str) -> None:
    ran: list[int] = []

    async def handler(ctx: DurableContext) -> Any:
        async def body() -> int:
            ran.append(1)
            await asyncio.sleep(0)
            return 7

        async def wait() -> int:
            return await future

        future = ctx.step("s", body)
        waiting = [asyncio.create_task(wait()) for _ in range(3)]
        return [await future, await future, *[await task for task in waiting]]

    assert Trial(handler, client).invoke() == Returned([7] * 5)
    assert ran == [1]


def test_a_future_tells_its_name_its_id_and_whether_it_is_done() -> None:
    async def handler(ctx: DurableContext) -> Any:
        future = ctx.step("s", one)
        before = future.done()
        await future
        return [future.name, future.operation_id, before, future.done()]

    assert Trial(handler).invoke() == Returned(["s", "c4ca4238a0b92382", False, True])


def test_a_failed_future_raises_whenever_it_is_awaited() -> None:
    async def handler(ctx: DurableContext) -> list[str]:
        async def body() -> None:
            raise ValueError("no")

        future = ctx.step("s", body, config=ONCE)
        raised = []
        for _ in range(2):
            with pytest.raises(StepError) as error:
                await future
            raised.append(error.value.message)
        return raised

    assert Trial(handler).invoke() == Returned(["no", "no"])


ONCE: StepConfig[Any] = StepConfig(retry_strategy=lambda error, attempt: RetryDecision.no_retry())


def test_the_futures_of_a_failed_gather_go_on_and_are_given_up_at_the_end(
    messages: Messages,
) -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def fail() -> None:
            raise ValueError("no")

        try:
            await asyncio.gather(ctx.step("bad", fail, config=ONCE), ctx.step("slow", endless))
        except StepError:
            return "handled"

    trial = Trial(handler, "pushing")

    assert trial.invoke() == Returned("handled")
    assert messages.operations() == [["slow"]]
    assert "SUCCEED slow" not in trial.backend.sent


async def endless() -> None:
    await asyncio.get_running_loop().create_future()


def test_whoever_forgets_an_await_is_told_what_to_write(messages: Messages) -> None:
    async def handler(ctx: DurableContext) -> Any:
        ctx.wait("forgotten", 60)
        return "done"

    assert Trial(handler).invoke() == Returned("done")

    [said] = [record.getMessage() for record in messages.records]
    assert "nobody awaited them" in said
    assert "ended: forgotten; write `await` before each call" in said
