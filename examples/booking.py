"""Try a whole block again: who was beaten to a seat must look for another one.

$ durably run examples/booking.py:book --input '"ada"' --name seat-ada
"""

from durably import (
    DurableContext,
    RetryPresets,
    StepConfig,
    WithRetryConfig,
    durable_execution,
)

ONE_TRY = StepConfig[str](retry_strategy=RetryPresets.none())
ROUNDS = WithRetryConfig(retry_strategy=RetryPresets.fixed(1))
taken = {"1A": "Bob"}  # the seats of the theatre, by who has them


def find_free(attempt: int) -> str:
    """Look for a seat. At first the plan is old: it shows one that is gone."""
    return "1A" if attempt == 1 else "1B"


def reserve(seat: str, guest: str) -> str:
    """Take the seat, unless somebody has it."""
    if taken.setdefault(seat, guest) != guest:
        raise LookupError(f"{seat} is taken")
    return seat


@durable_execution
async def book(guest: str, ctx: DurableContext) -> str:
    """A step tries itself again with the same seat; only the block finds another one."""

    async def pick(ctx: DurableContext, attempt: int) -> str:
        seat = await ctx.step("find", find_free, attempt)
        return await ctx.step("reserve", reserve, seat, guest, config=ONE_TRY)

    return await ctx.with_retry("pick", pick, ROUNDS)
