"""What only the memory store promises."""

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from durably.engine.store import WakeAt
from durably.stores.memory import MemoryStore
from durably.testing.store_values import SECOND, T0, change, claim_at, creation

T = TypeVar("T")


def finish(call: Coroutine[Any, Any, T]) -> T:
    """Run *call*, which must not suspend."""
    try:
        call.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    call.close()
    raise AssertionError("it suspended")


def test_no_call_suspends() -> None:
    store = MemoryStore()

    finish(store.open())
    finish(store.append([creation("a", wake=WakeAt(T0))]))
    [claim] = finish(claim_at(store))
    store.append_soon(change("a", 1, b"1", epoch=claim.epoch))
    finish(store.append([change("a", 2, b"2", wake=WakeAt(None), epoch=claim.epoch)]))
    finish(store.delete("f/a", 3))
    finish(store.close())


async def test_an_execution_that_is_woken_often_is_due_once() -> None:
    store = MemoryStore()
    await store.append([creation("a")])
    for number in range(500):
        await store.append([change("a", 1, wake=WakeAt(T0 + number % 7 * SECOND))])
    await store.append([change("a", 1, wake=WakeAt(T0 + SECOND))])

    assert await store.next_wake_at(["f"]) == T0 + SECOND
    assert len(await claim_at(store, T0 + 10 * SECOND)) == 1
    assert not await claim_at(store, T0 + 10 * SECOND)
