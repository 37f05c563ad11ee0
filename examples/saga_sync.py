"""`saga.py` for plain functions: cancel what was booked when the next booking is refused.

$ durably run examples/saga_sync.py:book_trip --input '"Atlantis"' --name trip-1
"""

from durably import RetryPresets, StepConfig, StepError, SyncDurableContext, durable_execution

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
def book_trip(city: str, ctx: SyncDurableContext) -> list[str]:
    """All or nothing. A crash in the middle of the cancelling changes nothing about that."""
    booked: list[str] = []
    try:
        for what in ("flight", "hotel", "dinner"):
            booking = ctx.step(f"book {what}", book, what, city, config=NO_RETRY)
            booked.append(booking)
    except StepError:
        return [ctx.step("cancel", cancel, booking) for booking in reversed(booked)]
    return booked
