"""What a process had written when it died is there, and nothing else of it ever is."""

import asyncio

import pytest

from durably.engine.facts import StepStarted, StepSucceeded, encode_fact
from durably.engine.store import WakeAt
from durably.testing.crash_store import CrashStore
from durably.testing.processes import Process, inside
from durably.testing.store_values import T0, change, claim_at, creation, facts_of

STARTED = encode_fact(StepStarted(1, "a", None, "pay", "Step"))
SUCCEEDED = encode_fact(StepSucceeded(2, "a", "1"))


async def claimed_store() -> tuple[CrashStore, int]:
    store = CrashStore()
    await store.open()
    await store.append([creation("x", STARTED, wake=WakeAt(T0))])
    (claim,) = await claim_at(store)
    return store, claim.epoch


@pytest.mark.parametrize(
    ("point", "facts"),
    [
        ("before pay StepSucceeded", (STARTED,)),
        ("after pay StepSucceeded", (STARTED, STARTED, SUCCEEDED)),
    ],
)
async def test_what_nobody_waits_for_is_written_with_what_comes_next_or_lost_with_it(
    point: str, facts: tuple[bytes, ...]
) -> None:
    store, epoch = await claimed_store()
    process = Process(point)

    with inside(process):
        store.append_soon(change("x", 1, STARTED, epoch=epoch))
        with pytest.raises(asyncio.CancelledError):
            await store.append([change("x", 2, SUCCEEDED, epoch=epoch)])
    store.settle_death(process)

    assert process.points == ["before pay StepSucceeded", point][-len(process.points) :]
    assert await facts_of(store, "f/x") == facts


async def test_what_nobody_waits_for_is_written_if_the_process_dies_later_on() -> None:
    store, epoch = await claimed_store()
    process = Process("in pay, at await 1")

    with inside(process):
        store.append_soon(change("x", 1, STARTED, epoch=epoch))
        process.passes("in pay, at await 1")
    store.settle_death(process)

    assert await facts_of(store, "f/x") == (STARTED, STARTED)


async def test_a_dead_process_writes_nothing() -> None:
    store, epoch = await claimed_store()
    process = Process("there")

    with inside(process):
        process.passes("there")
        store.append_soon(change("x", 1, STARTED, epoch=epoch))
        for claimed_under in (epoch, None):
            with pytest.raises(asyncio.CancelledError):
                await store.append([change("x", 1, SUCCEEDED, epoch=claimed_under)])
    store.settle_death(process)

    assert await facts_of(store, "f/x") == (STARTED,)
    assert process.passes("anywhere")
    assert process.points == ["there"]


async def test_what_comes_from_outside_is_no_point_to_die_at() -> None:
    store, _ = await claimed_store()
    process = Process()

    with inside(process):
        await store.append([change("x", 1, SUCCEEDED)])

    assert process.points == []


async def test_points_of_one_name_are_told_apart_by_their_numbers() -> None:
    process = Process("there #2")

    assert [process.passes("there") for _ in range(2)] == [False, True]
    assert process.points == ["there", "there #2"]
