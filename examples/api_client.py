"""Call an API that allows few calls: two at once, and again when its refusal says so.

$ durably run examples/api_client.py:locate --input '["Oslo", "Rome", "Bern"]' --name cities-1
"""

from durably import (
    DurableContext,
    MapConfig,
    RetryDecision,
    StepConfig,
    current_step,
    durable_execution,
)

MAX_ATTEMPTS = 5


class TooManyRequestsError(Exception):
    """The API is busy, and says when to come again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"come again in {retry_after} s")
        self.retry_after = retry_after


def as_told(error: Exception, attempts_made: int) -> RetryDecision:
    """Come again when the API says so; nothing else is worth another call."""
    if isinstance(error, TooManyRequestsError) and attempts_made < MAX_ATTEMPTS:
        return RetryDecision.retry(delay=error.retry_after)
    return RetryDecision.no_retry()


def look_up(city: str) -> list[int]:
    """Call the API. It refuses each first call, as busy ones do."""
    if current_step().attempt == 1:
        raise TooManyRequestsError(retry_after=1)
    return [len(city), ord(city[0])]


@durable_execution
async def locate(cities: list[str], ctx: DurableContext) -> dict[str, list[int]]:
    """A city that waits for its next attempt keeps its place among the two."""

    async def one(ctx: DurableContext, city: str) -> list[int]:
        return await ctx.step("look up", look_up, city, config=StepConfig(retry_strategy=as_told))

    batch = await ctx.map("cities", cities, one, MapConfig(max_concurrency=2))
    batch.throw_if_error()
    return dict(zip(cities, batch.results(), strict=True))
