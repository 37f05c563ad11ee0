"""What goes into an execution and what comes out of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from durably import (
    DurableContext,
    DurableFunction,
    SerdesError,
    SyncDurableContext,
    ValidationError,
    durable_execution,
)
from durably.app.payloads import callback_payload, check_input, decode_result, encode_input


@dataclass
class Order:
    id: str
    amount: Decimal
    placed_at: datetime | None = None


@durable_execution
async def fulfil(order: Order, ctx: DurableContext) -> Order:
    return order


@durable_execution
def anything(event: Any, ctx: SyncDurableContext) -> Any:
    return event


ORDER = Order("o-7", Decimal("12.50"), datetime(2026, 11, 22, tzinfo=UTC))
ORDER_TEXT = '{"id":"o-7","amount":"12.50","placed_at":"2026-11-22T00:00:00Z"}'


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def test_a_value_of_the_annotated_type_is_written_as_plain_json() -> None:
    assert encode_input(fulfil, ORDER) == ORDER_TEXT


def test_plain_json_that_reads_as_the_annotated_type_is_taken_as_it_is() -> None:
    assert encode_input(fulfil, {"id": "o-7", "amount": "12.50"}) == '{"id":"o-7","amount":"12.50"}'


@pytest.mark.parametrize(
    ("function", "value", "where"),
    [
        (fulfil, {"id": 7, "amount": "1"}, "id"),
        (fulfil, {"id": "o-7"}, "amount"),
        (fulfil, None, "Order"),
        (fulfil, "o-7", "Order"),
        (fulfil, Order(7, Decimal(1)), "id"),  # type: ignore[arg-type]
        (anything, {"a": float("nan")}, r"\$\['a'\]"),
        (anything, {1: "a"}, "key"),
        (anything, {"a": {1, 2}}, r"\$\['a'\]"),
        (anything, "\ud800", "surrogate"),
        (anything, object(), "object"),
        (anything, nested(5000), "too deep"),
        (anything, cycle(), "contains itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_input_that_does_not_fit_is_refused_with_its_place(
    function: DurableFunction, value: Any, where: str
) -> None:
    with pytest.raises(ValidationError, match=where) as refused:
        encode_input(function, value)

    assert refused.value.field == "input"
    assert function.name in refused.value.message


def test_input_that_comes_as_text_is_judged_by_the_same_rules() -> None:
    check_input(fulfil, ORDER_TEXT)
    check_input(anything, None)

    for text in ('{"id":"o-7"}', None, "{", '{"id":"a","id":"b","amount":"1"}', "[" * 5000):
        with pytest.raises(ValidationError):
            check_input(fulfil, text)


def test_a_result_is_read_by_the_annotation_if_the_function_is_known() -> None:
    assert decode_result(fulfil, ORDER_TEXT) == ORDER
    assert decode_result(None, "[1,2]") == [1, 2]
    assert decode_result(fulfil, None) is None


def test_a_result_of_another_type_than_annotated_is_refused() -> None:
    with pytest.raises(SerdesError):
        decode_result(fulfil, "7")


@pytest.mark.parametrize(
    ("payload", "sent"),
    [(None, None), ("yes", "yes"), (b"yes", "yes"), ({"ok": True}, '{"ok":true}'), (7, "7")],
)
def test_a_callback_is_answered_with_text_as_it_is_and_json_of_anything_else(
    payload: Any, sent: str | None
) -> None:
    assert callback_payload(payload) == sent


@pytest.mark.parametrize("payload", [b"\xff", "\ud800", {1, 2}, float("inf")])
def test_an_answer_that_cannot_be_sent_is_refused(payload: Any) -> None:
    with pytest.raises(ValidationError, match="payload"):
        callback_payload(payload)
