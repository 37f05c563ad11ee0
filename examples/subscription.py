r"""A subscription: charge every month for a year, asleep all the days between.

$ durably run examples/subscription.py:subscribe \
    --input '{"customer": "Ada", "months": 3, "month_seconds": 1}'
"""

from dataclasses import dataclass
from datetime import timedelta

from durably import DurableContext, StepConfig, StepError, durable_execution, exponential_backoff

# A card that is refused is tried again after hours, and then after days.
PATIENT = StepConfig[str](
    retry_strategy=exponential_backoff(
        max_attempts=5, initial_delay=timedelta(hours=6), max_delay=timedelta(days=2)
    )
)


@dataclass(frozen=True)
class Subscription:
    """Who pays, for how long."""

    customer: str
    months: int = 12
    month_seconds: int = 30 * 86_400


def charge(customer: str, month: int) -> str:
    """Charge the card."""
    return f"{customer} has paid month {month}"


@durable_execution
async def subscribe(subscription: Subscription, ctx: DurableContext) -> str:
    """It ends after a year, or with the first month that nobody pays."""
    for month in range(1, subscription.months + 1):
        try:
            await ctx.step("charge", charge, subscription.customer, month, config=PATIENT)
        except StepError:
            return f"ended in month {month}"
        await ctx.wait("a month", subscription.month_seconds)
    return f"{subscription.months} months paid"
