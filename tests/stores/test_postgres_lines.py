"""What rests on a change that was refused is refused as well, though its version fits by chance."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from durably.engine.store import Line, VersionConflict
from durably.seams import RandomIds
from durably.stores.postgres import PostgresStore
from durably.testing.store_values import change, creation

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def store(address: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(f"{address}&namespace={RandomIds().hex(20)}")
    await store.open()
    await store.append([creation("a")])
    await store.append([change("a", 1, b"somebody else's")])
    yield store
    await store.close()


async def told(*writes: Any) -> list[type | None]:
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    return [None if one is None else type(one) for one in outcomes]


async def test_of_what_is_handed_in_together_all_of_the_line_is_refused(
    store: PostgresStore,
) -> None:
    line = Line()
    late, fitting = change("a", 1, b"late"), change("a", 2, b"rests on it")

    outcomes = await told(*(store.append([replace(one, line=line)]) for one in (late, fitting)))

    assert outcomes == [VersionConflict, VersionConflict]
    assert line.is_broken
    await store.append([replace(change("a", 2, b"decided anew"), line=Line())])


async def test_what_is_handed_in_after_a_refusal_is_refused(store: PostgresStore) -> None:
    line = Line()
    assert await told(store.append([replace(change("a", 1, b"late"), line=line)])) == [
        VersionConflict
    ]

    later = replace(change("a", 2, b"rests on it"), line=line)
    assert await told(store.append([later])) == [VersionConflict]


async def test_a_change_that_nobody_waits_for_breaks_its_line_as_well(
    store: PostgresStore,
) -> None:
    line = Line()
    store.append_soon(replace(change("a", 1, b"late"), line=line))
    fitting = [replace(change("a", 2, b"rests on it"), line=line) for _ in range(2)]

    assert await told(*(store.append([one]) for one in fitting)) == [VersionConflict] * 2
    found = await store.find("f/a")
    assert found is not None
    assert found.facts == (b"started", b"somebody else's")
