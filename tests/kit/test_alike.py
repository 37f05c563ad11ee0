"""Both kinds of handler see the same of an operation, and on a replay the same as at first."""

from typing import Any

from durably import (
    DurableContext,
    PromiseCombinatorError,
    RetryPresets,
    StepConfig,
    SyncDurableContext,
    durable_execution,
)
from durably.testing import TestEngine

ONCE = StepConfig[Any](retry_strategy=RetryPresets.none())


def refuse() -> None:
    raise OSError("no")


@durable_execution
async def one_of(event: Any, ctx: DurableContext) -> Any:
    try:
        await ctx.any("any", [ctx.step(name, refuse, config=ONCE) for name in "ab"])
    except PromiseCombinatorError as failed:
        return [failed.error_type, str(failed), failed.operation]


@durable_execution
def one_of_blocking(event: Any, ctx: SyncDurableContext) -> Any:
    def branch(ctx: SyncDurableContext) -> None:
        ctx.step("s", refuse, config=ONCE)

    try:
        ctx.any("any", [branch, branch])
    except PromiseCombinatorError as failed:
        return [failed.error_type, str(failed), failed.operation]


async def test_a_combinator_that_fails_tells_the_same_to_both_kinds_of_handler() -> None:
    async with TestEngine(functions=[one_of, one_of_blocking]) as t:
        said = [(await t.run(function)).result for function in (one_of, one_of_blocking)]

    assert said[0] == said[1] == ["PromiseCombinatorError", "none of 2 succeeded: no; no", "any"]
