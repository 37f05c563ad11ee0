"""Keys that several processes share: one makes a new one, and the others hear of it in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.engine.keyring import LOOK_INTERVAL
from durably.engine.shared_store import NEXT_KEY_AFTER
from durably.engine.store import Change
from durably.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from durably.wire.api import CheckpointRequest
from tests.unit.engine.shell import Bench, run, send
from tests.unit.engine.support import callback
from tests.unit.engine.test_sharing import SHARED, SharedMemoryStore, at_work

OVERLAP = NEXT_KEY_AFTER.total_seconds()


class SlowStore(SharedMemoryStore):
    """Does *meanwhile*, once, before it writes."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def append(self, changes: Sequence[Change]) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        await super().append(changes)


@asynccontextmanager
async def two(store: SharedMemoryStore) -> AsyncGenerator[tuple[Bench, Bench]]:
    async with (
        Bench(store=store, policy=SHARED) as here,
        Bench(store=store, policy=SHARED) as there,
    ):
        yield here, there


async def rotate_twice(bench: Bench) -> None:
    """Make two keys, as soon as that may be."""
    await bench.service.rotate_key()
    await asyncio.sleep(OVERLAP)
    await bench.service.rotate_key()


async def id_of_callback(bench: Bench, arn: str) -> str:
    details = (await bench.operation(arn, "cb")).callback_details
    assert details is not None
    assert details.callback_id is not None
    return details.callback_id


def test_a_new_key_is_not_followed_by_another_before_everybody_can_know_it() -> None:
    async def main() -> None:
        store = SharedMemoryStore()
        async with two(store) as (here, there):
            await here.service.rotate_key()
            await asyncio.sleep(OVERLAP - 1)
            before = await store.keys()

            with pytest.raises(ResourceConflictException, match="not five minutes old"):
                await there.service.rotate_key()

            assert await store.keys() == before
            await asyncio.sleep(1)
            await there.service.rotate_key()

    run(main)


def test_a_callback_that_is_made_after_two_rotations_can_be_answered() -> None:
    async def main() -> None:
        async with two(SharedMemoryStore()) as (here, there):
            arn, session = await here.running()
            await rotate_twice(there)

            await send(EmbeddedClient(session), callback())

            assert await there.service.succeed_callback(await id_of_callback(here, arn), "1") == arn

    run(main)


def test_a_callback_that_is_made_anew_long_after_it_was_refused_can_be_answered() -> None:
    async def main() -> None:
        store = SlowStore()
        async with two(store) as (here, there):
            arn, session = await here.running()

            async def overtake() -> None:
                await rotate_twice(there)
                await there.service.pause(arn)

            store.meanwhile = overtake
            await send(EmbeddedClient(session), callback())

            assert await there.service.succeed_callback(await id_of_callback(here, arn), "1") == arn

    run(main)


def test_an_invocation_begins_with_a_token_that_everybody_takes() -> None:
    async def main() -> None:
        async with two(SharedMemoryStore()) as (here, there):
            await here.service.keys.renew()
            await here.start()
            await rotate_twice(there)

            session = await here.begin()
            await session.make_known()

            request = CheckpointRequest(
                durable_execution_arn=session.arn, checkpoint_token=session.token, updates=()
            )
            assert (await there.service.checkpoint(request)).checkpoint_token is not None

    run(main)


def test_an_id_is_refused_everywhere_that_a_dropped_key_has_made() -> None:
    async def main() -> None:
        async with two(SharedMemoryStore()) as (here, there):
            arn, session = await here.running()
            await send(EmbeddedClient(session), callback())
            callback_id = await id_of_callback(here, arn)
            await rotate_twice(there)

            with pytest.raises(ResourceNotFoundException):
                await here.service.succeed_callback(callback_id, "1")

    run(main)


def test_a_token_is_refused_everywhere_that_a_dropped_key_has_made() -> None:
    async def main() -> None:
        async with two(SharedMemoryStore()) as (here, there):
            _, session = await here.running()
            await session.make_known()
            await rotate_twice(there)

            request = CheckpointRequest(
                durable_execution_arn=session.arn, checkpoint_token=session.token, updates=()
            )
            with pytest.raises(InvalidParameterValueException):
                await here.service.checkpoint(request)

    run(main)


def test_a_worker_looks_at_the_keys_again_and_again() -> None:
    async def main() -> None:
        store = SharedMemoryStore()
        async with at_work(store) as here, Bench(store=store, policy=SHARED) as there:
            await here.service.keys.renew()
            await there.service.rotate_key()

            await asyncio.sleep(LOOK_INTERVAL.total_seconds() + 1)

            assert here.service.keys.current == there.service.keys.current

    run(main)


def test_a_key_that_another_process_has_made_is_good_here_as_well() -> None:
    async def main() -> None:
        async with two(SharedMemoryStore()) as (here, there):
            await here.service.keys.renew()
            await there.service.rotate_key()

            assert await here.service.keys.are_others()
            assert not await here.service.keys.are_others()
            assert here.service.keys.current == there.service.keys.current

    run(main)


def test_what_is_refused_by_the_old_keys_is_tried_with_the_new_ones() -> None:
    async def main() -> None:
        async with two(SharedMemoryStore()) as (here, there):
            await here.service.keys.renew()
            await there.service.rotate_key()
            asked: list[int] = []

            async def count(keys: Sequence[bytes]) -> int:
                asked.append(len(keys))
                if len(keys) == 1:
                    raise InvalidParameterValueException("forged")
                return len(keys)

            assert await here.service.keys.trying(count) == 2
            assert asked == [1, 2]

    run(main)
