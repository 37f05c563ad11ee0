"""An execution that failed says of which operation, wherever its error came through."""

from typing import Any

import pytest

from durably import (
    DurableContext,
    Engine,
    ExecutionFailedError,
    RetryPresets,
    StepConfig,
    durable_execution,
)
from tests.app.functions import fail

ONCE: StepConfig[Any] = StepConfig(retry_strategy=RetryPresets.none())


def divide(divisor: int) -> float:
    return 1 / divisor


async def branch(ctx: DurableContext, divisor: int) -> float:
    return await ctx.step(f"by {divisor}", divide, divisor, config=ONCE)


@durable_execution
async def failing(how: str, ctx: DurableContext) -> Any:  # noqa: PLR0911 - one for each way
    match how:
        case "child":
            return await ctx.run_in_child_context("child", branch, 0)
        case "map":
            return (await ctx.map("shares", [1, 0], branch)).throw_if_error()
        case "all":
            return await ctx.all("both", [ctx.step("by zero", divide, 0, config=ONCE)])
        case "invoke":
            return await ctx.invoke("pay", "fail", "no money")
        case "caught":
            try:
                await ctx.step("first", divide, 0, config=ONCE)
            except Exception:  # noqa: BLE001 - that is the point
                return await ctx.step("second", divide, 0, config=ONCE)
            return None
        case _:
            raise ZeroDivisionError(how)


ZERO = "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("child", f"ChildContextError in step 'by 0': {ZERO}"),
        ("map", f"ChildContextError in step 'by 0': {ZERO}"),
        ("all", f"PromiseCombinatorError in step 'by zero': {ZERO}"),
        ("invoke", "InvokeError in invoke 'pay': StepError: no money"),
        ("caught", "StepError: division by zero"),
        ("handler", "ZeroDivisionError: handler"),
    ],
)
async def test_the_operation_that_failed_is_named(how: str, said: str) -> None:
    async with Engine("memory:", [failing, fail]) as engine:
        run = await engine.start(failing, how)

        with pytest.raises(ExecutionFailedError) as failed:
            await run.result(20)

    assert str(failed.value).endswith(f"failed: {said}")
