"""Book a flight, then a hotel; when one is refused, cancel what was booked, last thing first.

$ durably run examples/saga.py:book_trip --input '"Atlantis"' --name trip-1
"""

from durably import DurableContext, RetryPresets, StepConfig, StepError, durable_execution

NO_RETRY = StepConfig[str](retry_strategy=RetryPresets.none())


def book(what: str, city: str) -> str:
    """Book something. There is no hotel in Atlantis."""
    if (what, city) == ("hotel", "Atlantis"):
        raise LookupError(f"no {what} in {city}")
    return f"{what} to {city}"


def cancel(booking: str) -> str:
    """Undo a booking."""
    return f"cancelled: {booking}"


@durable_execution
async def book_trip(city: str, ctx: DurableContext) -> list[str]:
    """All or nothing. A crash in the middle of the cancelling changes nothing about that."""
    booked: list[str] = []
    try:
        for what in ("flight", "hotel", "dinner"):
            booking = await ctx.step(f"book {what}", book, what, city, config=NO_RETRY)
            booked.append(booking)
    except StepError:
        return [await ctx.step("cancel", cancel, booking) for booking in reversed(booked)]
    return booked
