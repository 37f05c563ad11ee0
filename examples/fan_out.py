"""Fetch many pages, a few at a time, and go on although some fail, but not when most do.

$ durably run examples/fan_out.py:crawl --input '["home", "about", "lost"]' --name crawl-1
"""

from typing import Any

from durably import (
    CompletionConfig,
    DurableContext,
    MapConfig,
    RetryPresets,
    StepConfig,
    durable_execution,
)

ONE_TRY = StepConfig[int](retry_strategy=RetryPresets.none())
FORGIVING = MapConfig(
    max_concurrency=4, completion_config=CompletionConfig(tolerated_failure_percentage=50)
)


def fetch(page: str) -> int:
    """Give the size of a page."""
    if page == "lost":
        raise LookupError("404")
    return len(page)


@durable_execution
async def crawl(pages: list[str], ctx: DurableContext) -> dict[str, Any]:
    """Each page has a context of its own, so what is done for it may take several operations."""

    async def visit(ctx: DurableContext, page: str) -> int:
        return await ctx.step("fetch", fetch, page, config=ONE_TRY)

    batch = await ctx.map("pages", pages, visit, FORGIVING)
    return {"sizes": batch.results(), "lost": [pages[item.index] for item in batch.failed()]}
