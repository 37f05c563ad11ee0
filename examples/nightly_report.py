"""A report of chapters, each in a context of its own: one that fails takes no other along.

$ durably run examples/nightly_report.py:report --input '["Oslo", "Rome"]' --name report-2026-11-29
"""

import asyncio

from durably import ChildConfig, DurableContext, RetryPresets, StepConfig, durable_execution

ONE_TRY = StepConfig[int](retry_strategy=RetryPresets.none())
VIRTUAL = ChildConfig[list[int]](is_virtual=True)


def query(table: str, city: str) -> int:
    """Ask the database. It has forgotten Atlantis."""
    if city == "Atlantis":
        raise LookupError(f"no {table} of {city}")
    return len(table) * len(city)


async def count(ctx: DurableContext, city: str) -> list[int]:
    """Ask two things at once, from any context: as a virtual one this leaves no record itself."""
    queries = [
        ctx.step(table, query, table, city, config=ONE_TRY) for table in ("orders", "visits")
    ]
    return await asyncio.gather(*queries)


async def chapter(ctx: DurableContext, city: str) -> str:
    """Write about one city."""
    orders, visits = await ctx.run_in_child_context("numbers", count, city, config=VIRTUAL)
    return f"{city}: {orders} orders in {visits} visits"


@durable_execution
async def report(cities: list[str], ctx: DurableContext) -> list[str]:
    """Once a chapter is recorded, no replay looks into it again."""
    chapters = [ctx.run_in_child_context(city, chapter, city) for city in cities]
    settled = await ctx.all_settled("chapters", chapters)
    return [one.value if one.value is not None else f"left out: {one.reason}" for one in settled]
