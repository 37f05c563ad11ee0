"""What only wants to know how far an execution has come does not read its facts for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from durably.engine.shared_store import Outline, outline_of
from durably.engine.store import Stored, Summary
from durably.errors import ResourceNotFoundException
from durably.stores.memory import MemoryStore
from durably.wire.api import CheckpointRequest
from tests.unit.engine.shell import Bench, run
from tests.unit.engine.support import BEGIN, step, succeeded
from tests.unit.engine.test_sharing import SHARED, SharedMemoryStore

SUMMARY = Summary(function_name="f", execution_name="a", status="RUNNING", started_at=BEGIN)
STORED = Stored("f/a", (b"1", b"2"), SUMMARY, None, 7, 2)


class CountingStore(SharedMemoryStore):
    """Counts how often all facts of an execution are read."""

    reads = 0

    async def find(self, arn: str) -> Stored | None:
        self.reads += 1
        return await super().find(arn)


@asynccontextmanager
async def two() -> AsyncGenerator[tuple[CountingStore, Bench, Bench]]:
    store = CountingStore()
    async with (
        Bench(store=store, policy=SHARED) as here,
        Bench(store=store, policy=SHARED) as there,
    ):
        yield store, here, there


def test_whoever_waits_reads_the_facts_when_he_comes_and_when_it_is_over() -> None:
    async def main() -> None:
        async with two() as (store, here, there):
            arn, session = await here.running(step())
            waiting = asyncio.ensure_future(there.service.wait_closed(arn))
            await asyncio.sleep(0.5)
            before = store.reads

            await asyncio.sleep(3600)
            assert store.reads == before

            await session.end(succeeded("1"))
            before = store.reads
            assert (await waiting).result == "1"
            assert store.reads == before + 1

    run(main)


def test_whoever_waits_is_told_that_it_was_stopped_elsewhere() -> None:
    async def main() -> None:
        async with two() as (_, here, there):
            arn, _ = await here.running(step())
            waiting = asyncio.ensure_future(there.service.wait_closed(arn))
            await asyncio.sleep(10)

            await here.service.stop(arn)

            assert (await waiting).status.value == "STOPPED"

    run(main)


def test_whoever_waits_is_told_that_it_is_gone() -> None:
    async def main() -> None:
        async with two() as (store, here, there):
            arn = await here.start()
            waiting = asyncio.ensure_future(there.service.wait_closed(arn))
            await asyncio.sleep(10)

            del store._executions[arn]

            with pytest.raises(ResourceNotFoundException):
                await waiting

    run(main)


@pytest.mark.parametrize(("is_elsewhere", "expected"), [(False, 0), (True, 1)])
def test_a_checkpoint_reads_the_facts_once_at_most(
    is_elsewhere: bool,  # noqa: FBT001 - a parameter of the test
    expected: int,
) -> None:
    async def main() -> None:
        async with two() as (store, here, there):
            arn, session = await here.running()
            await session.make_known()
            asked, token = there if is_elsewhere else here, session.token
            for number in range(5):
                before = store.reads
                request = CheckpointRequest(
                    durable_execution_arn=arn,
                    checkpoint_token=token,
                    updates=(step(f"s{number}"),),
                )
                reply = await asked.service.checkpoint(request)
                assert reply.checkpoint_token is not None
                token = reply.checkpoint_token
                assert store.reads == before + expected

    run(main)


def test_a_claim_is_looked_up_without_the_facts() -> None:
    async def main() -> None:
        async with two() as (store, here, _):
            arn, session = await here.running()
            before = store.reads

            look = here.service._journals.is_claimed_under
            assert await look(arn, session.epoch)
            assert not await look(arn, session.epoch + 1)
            assert not await look("gone", session.epoch)

            assert store.reads == before

    run(main)


@pytest.mark.parametrize(
    ("fields", "is_at_rest"),
    [
        ({}, False),
        ({"summary": replace(SUMMARY, status="SUCCEEDED", ended_at=BEGIN)}, True),
        ({"summary": replace(SUMMARY, parked_reason="too many")}, True),
        ({"damage": "facts from 1 on are not what was written"}, True),
    ],
)
def test_what_is_closed_or_parked_or_damaged_is_at_rest(
    fields: dict[str, Any],
    is_at_rest: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert Outline.of(replace(STORED, **fields)) == Outline(2, 7, is_at_rest)


def test_a_store_that_nobody_shares_gives_the_outline_of_what_it_has() -> None:
    async def main() -> None:
        async with Bench(store=MemoryStore()) as bench:
            arn = await bench.start()

            assert await outline_of(bench.store, arn) == Outline(1, None, is_at_rest=False)
            assert await outline_of(bench.store, "gone") is None

    run(main)
