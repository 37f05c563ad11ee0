"""User code that swallows every signal: it gets no further, and leaves the loop to others (P15)."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from durably import CompletionConfig, DurableContext, ParallelConfig
from durably.drivers.futures import Broken, Returned, Suspended
from durably.errors import TerminationReason
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Messages, Trial, in_loop

WAITING = Suspended(TerminationReason.WAIT_SCHEDULED)


@pytest.fixture
def messages() -> Iterator[Messages]:
    with Messages.of("durably") as messages:
        yield messages


def test_a_handler_that_swallows_every_signal_does_not_keep_the_loop(messages: Messages) -> None:
    async def handler(ctx: DurableContext) -> None:
        while not gone:
            with suppress(BaseException):
                await ctx.wait("w", 100)
            swallowed.append(1)

    swallowed: list[int] = []
    gone: list[int] = []
    trial = Trial(handler, "pushing")

    async def invoke() -> Any:
        ending = await trial.run_in_tasks(trial.journal()).run(handler)
        count = len(swallowed)
        left = {task.get_name() for task in asyncio.all_tasks()}
        assert "durably handler" not in left, "asyncio.run would wait for it"
        await asyncio.sleep(10)
        gone.append(1)
        return ending, len(swallowed) - count

    assert in_loop(invoke) == (WAITING, 0)
    assert 100 <= len(swallowed) < 110
    assert trial.backend.sent == ["START w"]
    assert "does not unwind" in messages.records[0].message


def test_a_branch_that_was_given_up_and_swallows_every_signal_does_not_keep_the_loop() -> None:
    async def stubborn(ctx: DurableContext) -> None:
        while not gone:
            with suppress(BaseException):
                await ctx.wait("w", 100)

    async def quick(ctx: DurableContext) -> str:
        return "done"

    async def handler(ctx: DurableContext) -> Any:
        config = ParallelConfig(completion_config=CompletionConfig(min_successful=1))
        batch = await ctx.parallel("p", [stubborn, quick], config)
        return batch.results()

    gone: list[int] = []
    trial = Trial(handler, "pushing", unwind_seconds=2)

    async def invoke() -> Any:
        ending = await trial.run_in_tasks(trial.journal()).run(handler)
        gone.append(1)
        return ending

    assert in_loop(invoke) == Returned(["done"])


def test_a_handler_that_swallows_one_signal_runs_no_step_after_it() -> None:
    async def handler(ctx: DurableContext) -> None:
        wait = ctx.wait("w", 100)
        if not is_cut_off:
            await ctx.step("s", leave)
        with suppress(asyncio.CancelledError):
            await wait
        await ctx.step("s", must_not_run)

    def leave() -> None:
        is_cut_off.append(1)
        raise SystemExit

    is_cut_off: list[int] = []
    trial = Trial(handler, "pushing")

    assert isinstance(trial.invoke(), Broken)
    assert trial.backend.sent == ["START s"]
    assert trial.invoke() == WAITING
