"""What the tests of crashes are made with."""

from collections.abc import Callable
from typing import Any

import pytest

from durably import (
    DurableContext,
    DurableFunction,
    RetryPresets,
    StepConfig,
    StepSemantics,
    durable_execution,
)
from durably.testing import CrashDifferenceError, CrashReport, TestEngine
from tests.kit.functions import ALL

AT_MOST_ONCE: StepConfig[Any] = StepConfig(
    semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=RetryPresets.none()
)


async def pay(amount: int) -> str:
    """Move some money."""
    return f"paid {amount}"


@durable_execution
async def order(amount: int, ctx: DurableContext) -> str:
    """Have one step between two others."""
    await ctx.step("reserve", pay, 0)
    paid = await ctx.step("pay", pay, amount)
    await ctx.wait("a day", 86_400)
    await ctx.step("mail", pay, 0)
    return paid


def paid(t: TestEngine, key: object = None, *, once: bool = False) -> str:
    t.effect("charged", key, once=once)
    return "paid"


def mailed(t: TestEngine) -> str:
    t.effect("mailed")
    return "mailed"


async def crashed(
    function: DurableFunction, effects: Callable[[TestEngine], object] = id, **options: Any
) -> CrashReport:
    async with TestEngine(functions=[function, *ALL]) as t:
        effects(t)
        return await t.crash_everywhere(function, 5, **options)


async def difference(function: DurableFunction, *more: Any, **options: Any) -> str:
    with pytest.raises(CrashDifferenceError) as failure:
        await crashed(function, *more, **options)
    return str(failure.value)
