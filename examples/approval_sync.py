"""`approval.py` for plain functions: ask somebody, who has an hour (or as you say) to answer.

$ durably run examples/approval_sync.py:approve --input '{"amount": 500}' --name expense-7
$ durably callback succeed CALLBACK_ID --payload true
"""

from dataclasses import dataclass

from durably import (
    CallbackTimeoutError,
    SyncDurableContext,
    WaitForCallbackConfig,
    durable_execution,
    json_serdes,
)


@dataclass(frozen=True)
class Expense:
    """What is to be approved, and how long that may take."""

    amount: int
    patience_seconds: int = 3600


def ask(callback_id: str, expense: Expense) -> None:
    """Send the id to who is to answer: by mail, say. Here it is printed."""
    print(f"may we spend {expense.amount}? Answer to {callback_id}")


@durable_execution
def approve(expense: Expense, ctx: SyncDurableContext) -> str:
    """No process is needed while nobody answers."""
    config = WaitForCallbackConfig(timeout=expense.patience_seconds, serdes=json_serdes(bool))
    try:
        yes: bool = ctx.wait_for_callback("manager", ask, expense, config=config)
    except CallbackTimeoutError:
        return "nobody answered"
    return "approved" if yes else "refused"
