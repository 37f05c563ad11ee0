"""An approval on AWS Lambda: it asks, sleeps for as long as it takes, and goes on.

The decorated function is the handler of the Lambda function. It runs unchanged on `durably dev`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from durably import (
    CallbackTimeoutError,
    DurableContext,
    StepConfig,
    WaitForCallbackConfig,
    durable_execution,
    exponential_backoff,
)


@dataclass
class Expense:
    """What somebody wants to be paid."""

    employee: str
    amount: int


@dataclass
class Decision:
    """What became of it."""

    outcome: Literal["paid", "refused", "forgotten"]
    reference: str | None = None


LIMIT = 100
ASK = WaitForCallbackConfig(timeout=timedelta(days=7))
PAY = StepConfig(retry_strategy=exponential_backoff(max_attempts=5))


def ask_manager(callback_id: str, expense: Expense) -> None:
    """Tell the manager, who answers with `send-durable-execution-callback-success`."""
    print(f"{expense.employee} spent {expense.amount}; answer to {callback_id}", flush=True)


def pay(expense: Expense) -> str:
    """Pay. It may be called again with the same expense, so give the bank a key of its own."""
    return f"{expense.employee}-{expense.amount}"


@durable_execution
async def handler(expense: Expense, ctx: DurableContext) -> Decision:
    """Pay small expenses at once, and others when the manager says so."""
    if expense.amount > LIMIT:
        try:
            answer = await ctx.wait_for_callback("approval", ask_manager, expense, config=ASK)
        except CallbackTimeoutError:
            return Decision("forgotten")
        if answer != "yes":
            return Decision("refused")
    return Decision("paid", await ctx.step("pay", pay, expense, config=PAY))
