"""Where operations of an `async def` handler may be called."""

import asyncio
import threading
from typing import Any

from durably import DurableContext, StepConfig
from durably.core.active import get_active_operation
from durably.drivers.futures import Raised, Returned
from durably.errors import ContextUsageError
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Trial


async def one() -> int:
    return 1


async def endless() -> None:
    await asyncio.get_running_loop().create_future()


def refused(ending: Any) -> str:
    assert isinstance(ending, Raised)
    assert isinstance(ending.error, ContextUsageError)
    return str(ending.error)


def test_an_operation_inside_a_step_is_refused_and_no_retry_strategy_is_asked() -> None:
    async def handler(ctx: DurableContext) -> None:
        async def body() -> None:
            await ctx.step("inner", must_not_run)

        await ctx.step("outer", body, config=StepConfig(retry_strategy=must_not_run))

    trial = Trial(handler)

    assert "'inner' was called inside step outer" in refused(trial.invoke())
    assert trial.backend.sent == ["START outer"]


def test_an_operation_inside_a_plain_step_is_refused_too() -> None:
    async def handler(ctx: DurableContext) -> None:
        def body() -> None:
            ctx.step("inner", must_not_run)

        await ctx.step("outer", body, config=StepConfig(retry_strategy=must_not_run))

    assert "inside step outer" in refused(Trial(handler).invoke())


def test_an_operation_from_a_task_of_the_users_is_refused() -> None:
    async def handler(ctx: DurableContext) -> None:
        async def elsewhere() -> None:
            await ctx.step("s", must_not_run)

        await asyncio.create_task(elsewhere())

    trial = Trial(handler)

    assert "another task or thread" in refused(trial.invoke())
    assert trial.backend.sent == []


def test_an_operation_from_a_thread_of_the_users_is_refused() -> None:
    async def handler(ctx: DurableContext) -> None:
        await asyncio.to_thread(ctx.step, "s", must_not_run)

    trial = Trial(handler)

    assert "another task or thread" in refused(trial.invoke())
    assert trial.backend.sent == []


def test_an_operation_from_a_bare_thread_is_refused() -> None:
    async def handler(ctx: DurableContext) -> None:
        caught: list[Exception] = []

        def elsewhere() -> None:
            try:
                ctx.step("s", must_not_run)
            except ContextUsageError as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        raise caught[0]

    assert "outside the code" in refused(Trial(handler).invoke())


def test_the_context_around_a_child_is_refused_inside_it() -> None:
    async def handler(ctx: DurableContext) -> None:
        async def child(_: DurableContext) -> None:
            await ctx.step("s", must_not_run)

        await ctx.run_in_child_context("child", child)

    trial = Trial(handler)

    assert "on another context" in refused(trial.invoke())
    assert trial.backend.sent == ["START child"]


def test_a_context_is_refused_after_its_body() -> None:
    async def handler(ctx: DurableContext) -> None:
        kept: list[DurableContext] = []
        await ctx.run_in_child_context("child", kept.append)
        await kept[0].step("s", must_not_run)

    assert "another context" in refused(Trial(handler).invoke())


def test_the_result_of_a_callback_is_refused_when_its_context_has_ended() -> None:
    async def handler(ctx: DurableContext) -> None:
        kept: list[Any] = []

        async def child(child: DurableContext) -> None:
            kept.append(await child.create_callback("cb"))

        await ctx.run_in_child_context("child", child)
        await kept[0].result()

    assert "had ended" in refused(Trial(handler).invoke())


def test_misuse_in_a_branch_ends_the_batch_and_is_no_failed_item() -> None:
    async def handler(ctx: DurableContext) -> None:
        branches = [lambda child: ctx.step("s", must_not_run), lambda _: endless()]
        await ctx.parallel("p", branches)

    trial = Trial(handler)

    assert "on another context" in refused(trial.invoke())
    assert "SUCCEED p" not in trial.backend.sent


def test_a_refused_call_can_be_handled_and_leaves_the_context_as_it_was() -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def body() -> None:
            await ctx.step("inner", must_not_run)

        try:
            await ctx.step("outer", body)
        except ContextUsageError:
            return (await ctx.step("next", one), get_active_operation() is not None)

    trial = Trial(handler)

    assert trial.invoke() == Returned((1, True))
    assert trial.backend.sent == ["START outer", "START next", "SUCCEED next"]


def test_awaiting_elsewhere_is_fine() -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def elsewhere(future: Any) -> Any:
            return await future

        async with asyncio.TaskGroup() as group:
            task = group.create_task(elsewhere(ctx.step("s", one)))
        return task.result()

    assert Trial(handler).invoke() == Returned(1)
