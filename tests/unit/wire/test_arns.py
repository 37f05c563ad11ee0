"""How an execution is named where people read it."""

import pytest

from durably.wire.arns import title_of

FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:pay:7"


@pytest.mark.parametrize(
    ("arn", "title"),
    [
        (f"{FUNCTION}/durable-execution/order-7/1b4c", "pay/order-7"),
        (f"{FUNCTION}/durable-execution/order-7", "pay/order-7"),
        (FUNCTION, FUNCTION),
        ("pay/durable-execution/order-7/1b4c", "pay/durable-execution/order-7/1b4c"),
        ("an-id-of-another-backend", "an-id-of-another-backend"),
        ("", ""),
    ],
)
def test_an_execution_is_named_by_its_function_and_its_own_name(arn: str, title: str) -> None:
    assert title_of(arn) == title
