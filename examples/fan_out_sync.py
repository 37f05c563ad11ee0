"""`fan_out.py` for plain functions: a few pages at a time, each branch in a thread of its own.

$ durably run examples/fan_out_sync.py:crawl --input '["home", "about", "lost"]' --name crawl-1
"""

from typing import Any

from durably import (
    CompletionConfig,
    MapConfig,
    RetryPresets,
    StepConfig,
    SyncDurableContext,
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
def crawl(pages: list[str], ctx: SyncDurableContext) -> dict[str, Any]:
    """Each page has a context of its own, so what is done for it may take several operations."""

    def visit(ctx: SyncDurableContext, page: str) -> int:
        return ctx.step("fetch", fetch, page, config=ONE_TRY)

    batch = ctx.map("pages", pages, visit, FORGIVING)
    return {"sizes": batch.results(), "lost": [pages[item.index] for item in batch.failed()]}
