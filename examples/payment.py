"""Pay at most once. When a crash leaves open whether it was paid: look, and only then pay again.

$ durably run examples/payment.py:pay --input '"order 7"' --name pay-7
"""

from durably import (
    DurableContext,
    RetryPresets,
    StepConfig,
    StepError,
    StepInterruptedError,
    StepSemantics,
    durable_execution,
)

ONCE = StepConfig[str](
    semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=RetryPresets.none()
)
statement: dict[str, str] = {}  # what the bank has done


def transfer(order: str) -> str:
    """Move the money. This bank knows no idempotency keys: a second transfer is one more."""
    statement[order] = f"{order} is paid"
    return statement[order]


def find(order: str) -> str | None:
    """Look whether it was paid, which may be done as often as one likes."""
    return statement.get(order)


@durable_execution
async def pay(order: str, ctx: DurableContext) -> str:
    """Give the receipt. A refusal of the bank comes out as a `StepError`."""
    while True:
        try:
            return await ctx.step("transfer", transfer, order, config=ONCE)
        except StepError as error:
            if not isinstance(error.__cause__, StepInterruptedError):
                raise
        receipt = await ctx.step("find", find, order)
        if receipt is not None:
            return receipt
