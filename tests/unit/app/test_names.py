"""Executions, as people name them."""

import pytest

from durably import InvalidParameterValueException, ResourceNotFoundException, ValidationError
from durably.app.execution import function_in, name_in
from durably.app.names import find_arn
from durably.stores.memory import MemoryStore
from durably.testing.store_values import creation

ARN = "arn:aws:lambda:local:000000000000:function:f:$LATEST/durable-execution/order-7/1"


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.open()
    for name, function in (("order-7", "fulfil"), ("both", "fulfil"), ("both", "refund")):
        await store.append([creation(name, function=function)])
    return store


async def test_an_arn_is_itself_whether_there_is_such_an_execution_or_not() -> None:
    assert await find_arn(MemoryStore(), ARN) == ARN


async def test_a_name_alone_will_do_when_one_function_has_it(store: MemoryStore) -> None:
    assert await find_arn(store, "order-7") == await find_arn(store, "fulfil/order-7")


async def test_a_name_of_several_functions_must_say_which(store: MemoryStore) -> None:
    with pytest.raises(ValidationError, match="say refund/both or fulfil/both"):
        await find_arn(store, "both")

    assert await find_arn(store, "refund/both") != await find_arn(store, "fulfil/both")


@pytest.mark.parametrize("text", ["order-8", "refund/order-7", "", "/", "fulfil/"])
async def test_what_there_is_not_is_refused(store: MemoryStore, text: str) -> None:
    with pytest.raises(ResourceNotFoundException):
        await find_arn(store, text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ordre-7", " Did you mean 'order-7'?"),
        ("fulfil/order-8", " Did you mean 'fulfil/order-7'?"),
        ("fullfil/order-7", " Did you mean 'fulfil/order-7'?"),
        ("nothing", ""),
        ("x" * 1_000_000, ""),
    ],
)
async def test_a_name_that_is_like_another_asks_for_that(
    store: MemoryStore, text: str, meant: str
) -> None:
    with pytest.raises(ResourceNotFoundException) as refused:
        await find_arn(store, text)

    assert refused.value.message == f"There is no execution {text!r}.{meant}"


async def test_what_begins_like_an_arn_must_be_one(store: MemoryStore) -> None:
    with pytest.raises(InvalidParameterValueException):
        await find_arn(store, "arn:order-7")


def test_an_arn_says_the_function_and_the_name() -> None:
    assert (function_in(ARN), name_in(ARN)) == ("f", "order-7")
