"""The time that a context tells: the same on every run, under every driver."""

from collections.abc import Callable
from typing import Any

import pytest

from durably import DurableContext, SyncDurableContext
from durably.drivers.futures import Returned
from tests.unit.drivers.support import Trial


def in_a_coroutine(times: list[list[str]]) -> Callable[..., Any]:
    async def handler(ctx: DurableContext) -> str:
        times.append([])
        callback = await ctx.create_callback("cb")
        times[-1].append(str(ctx.now()))
        await ctx.wait("w", 10)
        times[-1].append(str(ctx.now()))
        answer: str = await callback.result()
        times[-1].append(str(ctx.now()))
        return answer

    return handler


def in_a_function(times: list[list[str]]) -> Callable[..., Any]:
    def handler(ctx: SyncDurableContext) -> str:
        times.append([])
        callback = ctx.create_callback("cb")
        times[-1].append(str(ctx.now()))
        ctx.wait("w", 10)
        times[-1].append(str(ctx.now()))
        answer: str = callback.result()
        times[-1].append(str(ctx.now()))
        return answer

    return handler


@pytest.mark.parametrize("make", [in_a_coroutine, in_a_function])
def test_an_answer_moves_the_time_only_of_who_has_awaited_it(make: Any) -> None:
    times: list[list[str]] = []
    trial = Trial(make(times))
    trial.invoke()
    trial.backend.pass_time()
    assert trial.backend.operation("w").is_terminal
    trial.backend.clock.advance(5)
    trial.backend.memory.complete_callback(trial.backend.operation("cb").id, "answer")

    assert trial.invoke() == Returned("answer")

    whole = times[-1]
    assert all(told == whole[: len(told)] for told in times)
    assert len(set(whole)) == len(whole)
