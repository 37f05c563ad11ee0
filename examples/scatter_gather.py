"""Ask all suppliers at once, take the cheapest of the first two offers, and leave the others be.

$ durably run examples/scatter_gather.py:cheapest --input '"bolts"' --name bolts-1
"""

from dataclasses import dataclass

from durably import CompletionConfig, DurableContext, MapConfig, durable_execution

HOURS = {"North": 1, "South": 2, "West": 72}
FIRST_TWO = MapConfig(
    completion_config=CompletionConfig(min_successful=2), item_namer=lambda name, _: name
)


@dataclass(frozen=True)
class Offer:
    """Who would sell, and for how much."""

    supplier: str
    cents: int


def ask(supplier: str, what: str) -> Offer:
    """Get an offer."""
    return Offer(supplier, 100 * len(what) + HOURS[supplier])


@durable_execution
async def cheapest(what: str, ctx: DurableContext) -> Offer:
    """With two offers the batch is over: whoever still thinks is not waited for."""

    async def offer(ctx: DurableContext, supplier: str) -> Offer:
        await ctx.wait("think", HOURS[supplier])  # here an hour takes a second
        return await ctx.step("ask", ask, supplier, what)

    batch = await ctx.map("offers", list(HOURS), offer, FIRST_TWO)
    return min(batch.results(), key=lambda one: one.cents)
