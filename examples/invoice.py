"""Models with rules of their own go in and out: what comes in is checked before anything runs.

$ durably run examples/invoice.py:bill --input '{"to": "Ada", "lines": [{"item": "tea", "net": 4}]}'

It needs pydantic. Dataclasses, typed dicts, enums, decimals and dates work the same without it.
"""

from datetime import date, timedelta
from decimal import Decimal

from pydantic import BaseModel, Field

from durably import DurableContext, durable_execution


class Line(BaseModel):
    """One thing that was sold."""

    item: str
    net: Decimal = Field(gt=0)


class Order(BaseModel):
    """What was sold to whom."""

    to: str = Field(min_length=1)
    lines: list[Line] = Field(min_length=1)


class Invoice(BaseModel):
    """What is owed, until when."""

    to: str
    gross: Decimal
    due: date


def issue(order: Order, today: date) -> Invoice:
    """Write the invoice."""
    net = sum((line.net for line in order.lines), Decimal(0))
    return Invoice(to=order.to, gross=net * Decimal("1.25"), due=today + timedelta(days=14))


@durable_execution
async def bill(order: Order, ctx: DurableContext) -> Invoice:
    """The step gives an `Invoice`, on the first run as in every replay."""
    return await ctx.step("issue", issue, order, ctx.now().date())
