"""Rules for stores: what can be found without reading journals."""

# ruff: noqa: D102 - the name of a test is the rule

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from durably.engine.store import Census, Query, Store, Summary, WakeAt
from durably.errors import ValidationError
from durably.testing.store_values import (
    LEASE,
    SECOND,
    T0,
    change,
    claim_at,
    creation,
    rule,
)


class SearchRules:
    """Finding by name and callback, and listing page by page."""

    @rule
    async def test_an_execution_is_found_by_its_name(self, store: Store) -> None:
        await store.append([creation("a")])

        found = [await store.find_by_name(*name) for name in (("f", "a"), ("f", "b"), ("g", "a"))]
        assert found == ["f/a", None, None]

    @rule
    async def test_an_execution_is_found_by_its_callbacks(self, store: Store) -> None:
        await store.append([replace(creation("a"), callback_ids=("1", "2")), creation("b")])
        await store.append([replace(change("b", 1, b"1"), callback_ids=("3",))])
        store.append_soon(replace(change("a", 1, b"1"), callback_ids=("4",)))

        found = [await store.find_by_callback(callback_id) for callback_id in "12345"]

        assert found == ["f/a", "f/a", "f/b", "f/a", None]

    @rule
    async def test_a_callback_belongs_to_the_first_that_has_it(self, store: Store) -> None:
        await store.append([replace(creation("a"), callback_ids=("cb", "cb"))])
        await store.append([replace(creation("b"), callback_ids=("cb",))])
        await store.append([replace(change("a", 1, b"1"), callback_ids=("cb",))])

        assert await store.find_by_callback("cb") == "f/a"
        await store.delete("f/b", 1)
        assert await store.find_by_callback("cb") == "f/a"
        await store.delete("f/a", 2)
        assert await store.find_by_callback("cb") is None

    @rule
    async def test_a_refused_change_leaves_no_callback(self, store: Store) -> None:
        store.append_soon(replace(change("a", 1, b"1"), callback_ids=("cb",)))

        assert await store.find_by_callback("cb") is None

    @rule
    async def test_a_listing_is_newest_first(self, store: Store) -> None:
        for name, seconds in (("b", 2), ("a", 1), ("c", 3)):
            await store.append([creation(name, started_at=T0 + seconds * SECOND)])

        assert await _names(store, Query()) == ["c", "b", "a"]
        assert await _names(store, Query(oldest_first=True)) == ["a", "b", "c"]

    @rule
    async def test_of_one_instant_what_was_created_last_is_newest(self, store: Store) -> None:
        await store.append([creation("b"), creation("c")])
        await store.append([creation("a")])

        assert await _names(store, Query()) == ["a", "c", "b"]

    @rule
    async def test_a_listing_says_what_stands(self, store: Store) -> None:
        new = creation("a", wake=WakeAt(T0))
        await store.append([new])
        [before] = (await store.list(Query())).executions
        await claim_at(store)
        [after] = (await store.list(Query())).executions

        assert (before.arn, before.summary) == ("f/a", new.summary)
        assert (before.wake_at, before.is_claimed) == (T0, False)
        assert (after.wake_at, after.is_claimed) == (T0 + LEASE, True)

    @rule
    async def test_pages_give_each_execution_once(self, store: Store) -> None:
        for number in range(23):
            await store.append([creation(str(number), started_at=T0 + number // 4 * SECOND)])

        for oldest_first in (False, True):
            for limit in (1, 5, 23, 100):
                query = Query(limit=limit, oldest_first=oldest_first)
                pages = [page async for page in _pages(store, query)]
                names = [name for page in pages for name in page]

                expected = [str(number) for number in range(23)]
                assert names == (expected if oldest_first else expected[::-1])
                assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
                assert pages[-1]

    @rule
    async def test_a_new_execution_does_not_disturb_older_pages(self, store: Store) -> None:
        for number in range(6):
            await store.append([creation(str(number), started_at=T0 + number * SECOND)])
        first = await store.list(Query(limit=3))

        await store.append([creation("new", started_at=T0 + LEASE)])
        await store.delete(first.executions[-1].arn, 1)

        assert first.next_marker is not None
        assert await _names(store, Query(limit=3, after=first.next_marker)) == ["2", "1", "0"]

    @rule
    async def test_an_empty_store_has_an_empty_page(self, store: Store) -> None:
        page = await store.list(Query())

        assert (page.executions, page.next_marker) == ((), None)

    @rule
    async def test_a_marker_must_come_from_a_listing(self, store: Store) -> None:
        for marker in ("", "x", "1", "1.", "1.x", "1.1.1", "9" * 40, "1.1' OR 1"):
            with pytest.raises(ValidationError):
                await store.list(Query(after=marker))

    @rule
    async def test_a_listing_can_ask_for_a_function_or_a_name(self, store: Store) -> None:
        await store.append([creation("a"), creation("b"), creation("a", function="g")])

        assert await _arns(store, Query(function_name="f")) == ["f/b", "f/a"]
        assert await _arns(store, Query(execution_name="a")) == ["g/a", "f/a"]
        assert await _arns(store, Query(function_name="g", execution_name="a")) == ["g/a"]
        assert await _arns(store, Query(function_name="unknown")) == []
        assert await _arns(store, Query(execution_name="A")) == []

    @rule
    async def test_a_listing_can_ask_for_statuses(self, store: Store) -> None:
        for name in ("SUCCEEDED", "FAILED", "RUNNING", "STOPPED"):
            await _create_as(store, replace(creation(name).summary, status=name))

        assert await _names(store, Query(statuses=("FAILED",))) == ["FAILED"]
        assert await _names(store, Query(statuses=("STOPPED", "SUCCEEDED"))) == [
            "STOPPED",
            "SUCCEEDED",
        ]
        assert await _names(store, Query(statuses=("unknown", "'"))) == []

    @rule
    async def test_a_listing_can_ask_for_a_time_of_start(self, store: Store) -> None:
        for number in range(5):
            await store.append([creation(str(number), started_at=T0 + number * SECOND)])
        low, high = T0 + SECOND, T0 + 3 * SECOND

        assert await _names(store, Query(started_after=low)) == ["4", "3", "2"]
        assert await _names(store, Query(started_before=high)) == ["2", "1", "0"]
        assert await _names(store, Query(started_after=low, started_before=high)) == ["2"]
        assert await _names(store, Query(started_after=high, started_before=low)) == []

    @rule
    async def test_a_listing_can_ask_for_children(self, store: Store) -> None:
        await store.append([creation("parent")])
        for name in ("a", "b"):
            await _create_as(store, replace(creation(name).summary, parent_arn="f/parent"))

        assert await _names(store, Query(parent_arn="f/parent")) == ["b", "a"]
        assert await _names(store, Query(parent_arn="f/a")) == []

    @rule
    async def test_a_listing_can_ask_for_what_is_parked(self, store: Store) -> None:
        await store.append([creation("a")])
        await _create_as(store, replace(creation("b").summary, parked_reason="10 failures"))

        assert await _names(store, Query(is_parked=True)) == ["b"]
        assert await _names(store, Query(is_parked=False)) == ["a"]

    @rule
    async def test_a_census_counts_each_status_and_what_is_parked(self, store: Store) -> None:
        for number, status in enumerate(("RUNNING", "FAILED", "RUNNING", "STOPPED", "RUNNING")):
            parked = "10 failures" if number in {0, 3} else None
            summary = replace(creation(str(number)).summary, status=status, parked_reason=parked)
            await _create_as(store, summary)

        found = await store.census(("RUNNING", "FAILED", "TIMED_OUT", "'"), 100)

        counted = {"RUNNING": 3, "FAILED": 1, "TIMED_OUT": 0, "'": 0}
        assert found == Census(by_status=counted, parked=2, wake_at=None)

    @rule
    async def test_a_census_of_nothing_counts_nothing(self, store: Store) -> None:
        found = await store.census(("RUNNING",), 100)

        assert found == Census(by_status={"RUNNING": 0}, parked=0, wake_at=None)

    @rule
    async def test_a_census_counts_nothing_beyond_its_limit(self, store: Store) -> None:
        for number in range(5):
            summary = replace(creation(str(number)).summary, parked_reason="10 failures")
            await _create_as(store, summary)

        for limit, counted in ((4, 4), (5, 5), (6, 5)):
            found = await store.census(("RUNNING",), limit)
            assert (found.by_status, found.parked) == ({"RUNNING": counted}, counted)

    @rule
    async def test_a_census_says_when_the_earliest_of_any_function_is_due(
        self, store: Store
    ) -> None:
        await store.append([creation("a", wake=WakeAt(T0 + 3 * SECOND))])
        await store.append([creation("b", wake=WakeAt(None))])
        await store.append([creation("a", function="g", wake=WakeAt(T0 + 2 * SECOND))])
        assert (await store.census((), 1)).wake_at == T0 + 2 * SECOND

        await store.claim("w", ("g",), T0 + 2 * SECOND, LEASE, 1)
        assert (await store.census((), 1)).wake_at == T0 + 3 * SECOND

        of_version = replace(creation("c").summary, version="7")
        await store.append([replace(creation("c", wake=WakeAt(T0)), summary=of_version)])
        assert (await store.census((), 1)).wake_at == T0

    @rule
    async def test_a_census_sees_what_is_written_soon(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(None))])
        summary = replace(creation("a").summary, status="STOPPED")
        store.append_soon(replace(change("a", 1, b"1"), summary=summary, wake=WakeAt(T0)))

        found = await store.census(("RUNNING", "STOPPED"), 100)

        assert (found.by_status, found.wake_at) == ({"RUNNING": 0, "STOPPED": 1}, T0)

    @rule
    async def test_conditions_hold_together_and_on_every_page(self, store: Store) -> None:
        for number in range(20):
            status = "FAILED" if number % 2 else "SUCCEEDED"
            summary = replace(creation(str(number)).summary, status=status)
            await _create_as(store, replace(summary, started_at=T0 + number % 5 * SECOND))
        query = Query(
            function_name="f",
            statuses=("FAILED",),
            started_after=T0,
            started_before=T0 + 4 * SECOND,
        )

        pages = [page async for page in _pages(store, replace(query, limit=2))]

        assert pages == [["13", "3"], ["17", "7"], ["11", "1"]]


async def _create_as(store: Store, summary: Summary) -> None:
    await store.append([replace(creation(summary.execution_name), summary=summary)])


async def _arns(store: Store, query: Query) -> list[str]:
    return [listed.arn for listed in (await store.list(query)).executions]


async def _names(store: Store, query: Query) -> list[str]:
    page = await store.list(query)
    return [listed.summary.execution_name for listed in page.executions]


async def _pages(store: Store, query: Query) -> AsyncIterator[list[str]]:
    while True:
        page = await store.list(query)
        yield [listed.summary.execution_name for listed in page.executions]
        if page.next_marker is None:
            return
        query = replace(query, after=page.next_marker)
