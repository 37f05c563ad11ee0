"""How a durable function writes what no configuration says how to write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from durably import (
    BatchResult,
    CallbackConfig,
    ChildConfig,
    DurableContext,
    JsonSerdes,
    MapConfig,
    SerdesContext,
    StepConfig,
    SyncDurableContext,
    ValidationError,
    WaitForConditionConfig,
    WaitForConditionDecision,
    durable_execution,
    typed_serdes,
)
from durably.clients.in_memory import InMemoryClient
from durably.wire.operation import Operation


@dataclass
class Order:
    number: int


class Marked:
    """Writes as the annotation says, with a mark before it."""

    def __init__(self, annotation: Any) -> None:
        self.inner = typed_serdes(annotation)

    def serialize(self, value: Any, context: SerdesContext, /) -> str:
        return "#" + self.inner.serialize(value, context)

    def deserialize(self, text: str, context: SerdesContext, /) -> Any:
        assert text.startswith("#")
        return self.inner.deserialize(text[1:], context)


def order() -> Order:
    return Order(7)


def once(state: Order, attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


CONDITION = WaitForConditionConfig(wait_strategy=once, initial_state=Order(1))


async def coroutine(event: Order, ctx: DurableContext) -> Order:
    assert isinstance(event, Order)
    assert isinstance(await ctx.step("step", order), Order)
    await ctx.wait_for_condition("condition", number_next, CONDITION)
    await ctx.run_in_child_context("child", child)
    assert (await ctx.map("map", [7], item)).results() == [Order(7)]
    assert (await ctx.parallel("parallel", [child])).results() == [Order(7)]
    assert (await ctx.execute_concurrently("each", [7], item)).results() == [Order(7)]
    await ctx.invoke("invoke", "score", 1)
    callback = await ctx.create_callback("callback", CallbackConfig())
    assert await callback.result() == "answer"
    return Order(7)


def function(event: Order, ctx: SyncDurableContext) -> Order:
    assert isinstance(event, Order)
    assert isinstance(ctx.step("step", order), Order)
    ctx.wait_for_condition("condition", number_next, CONDITION)
    ctx.run_in_child_context("child", child)
    assert ctx.map("map", [7], item).results() == [Order(7)]
    assert ctx.parallel("parallel", [child]).results() == [Order(7)]
    assert ctx.execute_concurrently("each", [7], item).results() == [Order(7)]
    ctx.invoke("invoke", "score", 1)
    assert ctx.create_callback("callback", CallbackConfig()).result() == "answer"
    return Order(7)


def number_next(state: Order) -> Order:
    return Order(state.number + 1)


def child(_: object) -> Order:
    return Order(7)


def item(_: object, number: int) -> Order:
    return Order(number)


def invoke(handler: Callable[..., Any], client: InMemoryClient, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = durable_execution(handler, client=client, **more)(client.event())
    return answer


def written(operation: Operation) -> str | None:
    details = operation.step_details or operation.context_details
    assert details is not None
    return details.result


@pytest.mark.parametrize("handler", [coroutine, function])
def test_results_that_only_the_function_reads_are_written_as_it_chooses(
    handler: Callable[..., Any],
) -> None:
    client = InMemoryClient(Order(1))

    first = invoke(handler, client, default_serdes=Marked)
    (callback,) = [one for one in client.operations() if one.name == "callback"]
    client.complete_callback(callback.id, "answer")
    answer = invoke(handler, client, default_serdes=Marked)

    assert first == {"Status": "PENDING"}
    assert answer == {"Status": "SUCCEEDED", "Result": '{"number":7}'}
    found = {one.name: one for one in client.operations()}
    marked = ["step", "condition", "child"]
    marked += ["map", "map-item-0", "parallel", "parallel-branch-0", "each", "item-0"]
    assert [name for name in marked if not (written(found[name]) or "").startswith("#")] == []
    assert found["callback"].callback_details.result == "answer"  # type: ignore[union-attr]  # it has
    assert found["invoke"].chained_invoke_details.result == "1"  # type: ignore[union-attr]  # it has


def test_a_configuration_says_otherwise() -> None:
    def handler(_: Any, ctx: SyncDurableContext) -> None:
        ctx.step("step", len, "abc", config=StepConfig(serdes=JsonSerdes()))
        ctx.run_in_child_context("child", len_of, config=ChildConfig(serdes=JsonSerdes()))
        both = MapConfig(serdes=typed_serdes(BatchResult[int]), item_serdes=typed_serdes(int))
        ctx.map("map", [1], len_of, both)

    client = InMemoryClient()

    invoke(handler, client, default_serdes=Marked)

    found = {one.name: one for one in client.operations()}
    recorded = [written(found[name]) for name in ("step", "child", "map", "map-item-0")]
    assert recorded[:2] == ["3", "3"]
    assert [text for text in recorded if not text or text.startswith("#")] == []


def len_of(_: object, item: int = 3) -> int:
    return item


def test_it_is_told_the_annotation() -> None:
    told: list[Any] = []

    def choose(annotation: Any) -> Any:
        told.append(annotation)
        return typed_serdes(annotation)

    def handler(_: Any, ctx: SyncDurableContext) -> None:
        ctx.step("step", order)
        ctx.step("step", lambda: 1)
        ctx.map("map", [1], item)

    invoke(handler, InMemoryClient(), default_serdes=choose)

    assert told == [Order, Any, Order, BatchResult[Order]]


@pytest.mark.parametrize("given", [JsonSerdes(), None, "json"], ids=["serdes", "none", "text"])
def test_what_chooses_nothing_is_refused_where_it_is_written(given: Any) -> None:
    with pytest.raises(ValidationError, match=r"default_serdes.*such as typed_serdes"):
        durable_execution(function, default_serdes=given)


@pytest.mark.parametrize(
    ("given", "said"), [(None, "gave None for"), (7, "can serialize and deserialize")]
)
def test_a_choice_that_is_no_serdes_fails_the_operation_before_it_is_recorded(
    given: Any, said: str
) -> None:
    client = InMemoryClient(Order(1))

    answer = invoke(function, client, default_serdes=lambda _: given)

    assert answer["Error"]["ErrorType"] == "ValidationError"
    assert said in answer["Error"]["ErrorMessage"]
    assert [one.name for one in client.operations() if one.name == "step"] == []
