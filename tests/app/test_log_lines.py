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
    RetryPresets,
    StepConfig,
    current_step,
    durable_execution,
)
from durably.testing import TestEngine

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


@durable_execution
async def charge(event: Any, ctx: DurableContext) -> str:
    async def call() -> str:
        if current_step().attempt == 1:
            raise ConnectionError("no answer")
        return "paid"

    patient = StepConfig(retry_strategy=RetryPresets.linear())
    return await ctx.step("card", call, config=patient)


async def test_an_attempt_that_fails_and_is_made_again_is_told_of_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="durably")
    async with TestEngine([charge]) as t:
        run = await t.run(charge, SECRET, name="c1")

    assert run.result == "paid"
    [line] = caplog.records
    said, _, place = line.getMessage().partition(" (")
    assert said == (
        "an attempt of step 'card' of charge/c1 failed, and is made again in 1 s: "
        "ConnectionError: no answer"
    )
    assert re.fullmatch(rf"{re.escape(__file__)}, line \d+, in charge\.<locals>\.call\)", place)
    assert (line.levelno, vars(line)["operationName"]) == (logging.INFO, "card")


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
