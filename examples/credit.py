"""One function calls others: each call is an execution of its own, with its own history.

$ durably run examples/credit.py:apply --input '{"customer": "Ada Lovelace", "amount": 900}'
"""

from dataclasses import dataclass
from decimal import Decimal

from durably import DurableContext, InvokeConfig, durable_execution, json_serdes

AS_DECIMAL = InvokeConfig(result_serdes=json_serdes(Decimal))
ENOUGH = 5


@dataclass(frozen=True)
class Loan:
    """What somebody asks for."""

    customer: str
    amount: int


@durable_execution
async def score(customer: str, ctx: DurableContext) -> int:
    """Say how good a customer is."""
    return await ctx.step("look up", len, customer)


@durable_execution
async def rate(points: int, ctx: DurableContext) -> Decimal:
    """Say what they pay, in percent."""
    return await ctx.step("table", Decimal, f"{90 / points:.2f}")


@durable_execution
async def apply(loan: Loan, ctx: DurableContext) -> str:
    """What is invoked comes back as JSON says it, unless a serdes says of what type it is."""
    points: int = await ctx.invoke("score", "score", loan.customer)
    if points < ENOUGH:
        return "refused"
    percent: Decimal = await ctx.invoke("rate", "rate", points, AS_DECIMAL)
    return f"{loan.amount} at {percent} %: {loan.amount * percent / 100} a year"
