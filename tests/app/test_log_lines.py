"""What a worker says of the executions that do not go well: one line each, and no payload."""

import asyncio
import logging
import re
from typing import Any

import pytest

from durably import (
    DurableContext,
    Engine,
    ExecutionFailedError,
    ExecutionStoppedError,
    durable_execution,
)

SECRET = "the input, which no log may show"
REACHED: dict[str, asyncio.Future[None]] = {}
GATE = asyncio.Event()


@durable_execution
async def refuse(event: Any, ctx: DurableContext) -> None:
    raise PermissionError("not today")


@durable_execution
async def go_on(event: Any, ctx: DurableContext) -> str:
    async def wait_at_gate() -> str:
        REACHED["go_on"].set_result(None)
        await GATE.wait()
        return "through"

    return await ctx.step("gate", wait_at_gate)


async def test_an_execution_that_fails_is_told_of_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Engine("memory:", [refuse]) as engine:
        run = await engine.start(refuse, SECRET, name="r1")
        with pytest.raises(ExecutionFailedError):
            await run.result(20)

    [line] = caplog.records
    said, _, place = line.getMessage().partition(" (")
    assert said == "refuse/r1 failed: PermissionError: not today"
    assert re.fullmatch(rf"{re.escape(__file__)}, line \d+, in refuse\)", place)
    assert (line.levelno, vars(line)["executionArn"]) == (logging.WARNING, run.arn)


async def test_what_a_stopped_execution_still_does_is_one_calm_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    REACHED["go_on"] = asyncio.get_running_loop().create_future()
    async with Engine("memory:", [go_on]) as engine:
        run = await engine.start(go_on, SECRET, name="g1")
        await REACHED["go_on"]
        await run.stop()
        with pytest.raises(ExecutionStoppedError):
            await run.result(20)
        GATE.set()

    [line] = caplog.records
    assert line.getMessage() == "go_on/g1 was stopped; what it still does is not recorded"
