"""Rules for stores: what is appended is there, whole and in order, or was refused."""

# ruff: noqa: D102 - the name of a test is the rule

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from durably.engine.store import KEY_BYTES, Store, VersionConflict, WakeAt
from durably.testing.store_values import (
    KEEP,
    SECOND,
    T0,
    assert_refused,
    change,
    claim_at,
    creation,
    facts_of,
    rule,
)


class JournalRules:
    """What an append does, what refuses it, and what outlives the store's closing."""

    @rule
    async def test_a_new_execution_can_be_found(self, store: Store) -> None:
        new = creation("a", b"one", b"two", wake=WakeAt(T0))

        await store.append([new])

        stored = await store.find("f/a")
        assert stored is not None
        assert (stored.arn, stored.facts, stored.summary) == ("f/a", new.facts, new.summary)
        assert (stored.wake_at, stored.claim_epoch) == (T0, None)

    @rule
    async def test_an_unknown_execution_is_not_found(self, store: Store) -> None:
        assert await store.find("f/a") is None

    @rule
    async def test_facts_are_kept_in_the_order_of_their_appends(self, store: Store) -> None:
        await store.append([creation("a", b"0")])
        for version in range(1, 30, 2):
            await store.append([change("a", version, b"%d" % version, b"%d" % (version + 1))])

        assert await facts_of(store, "f/a") == tuple(b"%d" % number for number in range(31))

    @rule
    async def test_facts_are_kept_byte_for_byte(self, store: Store) -> None:
        facts = (b"", b"\0", bytes(range(256)), b"'; DROP TABLE facts; --", b"\xff" * 1_000_000)

        await store.append([creation("a", *facts)])

        assert await facts_of(store, "f/a") == facts

    @rule
    async def test_texts_are_kept_as_they_are(self, store: Store) -> None:
        for text in ("it's", 'say "%_"', "a\tb", "\u202e\U0001f40d", "x" * 5_000, "?:1$@"):
            new = creation(text)
            await store.append([new])

            stored = await store.find(new.arn)
            assert stored is not None
            assert stored.summary == new.summary
            assert await store.find_by_name("f", text) == new.arn

    @rule
    async def test_times_are_kept_to_the_microsecond(self, store: Store) -> None:
        for name, at in (("a", datetime.min), ("b", datetime(1969, 12, 31)), ("c", datetime.max)):  # noqa: DTZ001, DTZ901 - the zone follows
            exact = at.replace(microsecond=999_999, tzinfo=UTC)
            new = creation(name, wake=WakeAt(exact), started_at=exact)
            summary = replace(new.summary, ended_at=exact, delete_at=exact)
            await store.append([replace(new, summary=summary)])

            stored = await store.find(new.arn)
            assert stored is not None
            assert (stored.summary, stored.wake_at) == (summary, exact)

    @rule
    async def test_the_newest_summary_stands(self, store: Store) -> None:
        new = creation("a")
        await store.append([new])
        for status, reason in (("RUNNING", "too many failures"), ("SUCCEEDED", None)):
            summary = replace(
                new.summary, status=status, parked_reason=reason, ended_at=T0, delete_at=T0 + SECOND
            )
            await store.append([replace(change("a", 1), summary=summary)])

            stored = await store.find("f/a")
            assert stored is not None
            assert stored.summary == summary

    @rule
    async def test_a_change_without_facts_leaves_the_version(self, store: Store) -> None:
        await store.append([creation("a")])
        await store.append([change("a", 1, wake=WakeAt(T0))])
        await store.append([change("a", 1, b"next")])

        assert await facts_of(store, "f/a") == (b"started", b"next")

    @rule
    async def test_a_version_that_is_not_the_execution_s_is_refused(self, store: Store) -> None:
        await store.append([creation("a", b"0", b"1")])

        for version in (1, 3):
            await assert_refused(store, change("a", version, b"2", wake=WakeAt(T0)))

        stored = await store.find("f/a")
        assert stored is not None
        assert (stored.facts, stored.wake_at) == ((b"0", b"1"), None)

    @rule
    async def test_a_refusal_names_the_execution(self, store: Store) -> None:
        with pytest.raises(VersionConflict) as refusal:
            await store.append([change("a", 1, b"1")])

        assert refusal.value.arn == "f/a"

    @rule
    async def test_an_unknown_execution_cannot_be_changed(self, store: Store) -> None:
        await assert_refused(store, change("a", 1, b"1"))

        assert await store.find("f/a") is None

    @rule
    async def test_an_execution_is_created_once(self, store: Store) -> None:
        await store.append([creation("a", b"first")])

        await assert_refused(store, creation("a", b"second"))

        assert await facts_of(store, "f/a") == (b"first",)

    @rule
    async def test_a_name_belongs_to_one_execution_of_its_function(self, store: Store) -> None:
        await store.append([creation("a")])

        await assert_refused(store, replace(creation("a"), arn="another"))
        await store.append([creation("a", function="g")])

        assert await store.find("another") is None
        assert await store.find_by_name("g", "a") == "g/a"

    @rule
    async def test_two_new_executions_cannot_share_a_name(self, store: Store) -> None:
        await assert_refused(store, creation("a"), replace(creation("a"), arn="another"))

        assert await store.find("f/a") is None

    @rule
    async def test_a_new_execution_has_a_fact(self, store: Store) -> None:
        with pytest.raises(ValueError, match="fact"):
            await store.append([replace(creation("a"), facts=())])

    @rule
    async def test_a_call_has_one_change_of_each_execution(self, store: Store) -> None:
        await store.append([creation("a")])

        with pytest.raises(ValueError, match="same execution"):
            await store.append([change("a", 1, b"1"), change("a", 2, b"2")])

    @rule
    async def test_several_executions_change_together(self, store: Store) -> None:
        await store.append([creation("a")])
        await store.append([change("a", 1, b"1", wake=WakeAt(T0)), creation("b"), creation("c")])

        assert await facts_of(store, "f/a") == (b"started", b"1")
        assert await facts_of(store, "f/b") == await facts_of(store, "f/c") == (b"started",)

    @rule
    async def test_one_refusal_refuses_the_whole_call(self, store: Store) -> None:
        await store.append([creation("a"), creation("b")])
        good, new = change("a", 1, b"1", wake=WakeAt(T0)), creation("c")

        for bad in (change("b", 2, b"2"), creation("b"), replace(creation("b"), arn="another")):
            await assert_refused(store, good, new, bad)
            await assert_refused(store, bad, new, good)

        assert await facts_of(store, "f/a") == (b"started",)
        assert await store.find("f/c") is None
        assert await store.next_wake_at(["f"]) is None

    @rule
    async def test_of_rivals_one_wins(self, store: Store) -> None:
        await store.append([creation("a")])

        rivals = [store.append([change("a", 1, b"%d" % number)]) for number in range(10)]
        answers = await asyncio.gather(*rivals, return_exceptions=True)

        assert answers.count(None) == 1
        assert sum(isinstance(answer, VersionConflict) for answer in answers) == 9  # noqa: PLR2004 - all others
        winner = b"%d" % answers.index(None)
        assert await facts_of(store, "f/a") == (b"started", winner)

    @rule
    async def test_a_refusal_leaves_others_alone(self, store: Store) -> None:
        names = [str(number) for number in range(40)]
        await store.append([creation(name) for name in names])

        calls = [store.append([change(name, 1 + int(name) % 2, b"1")]) for name in names]
        answers = await asyncio.gather(*calls, return_exceptions=True)

        for name, answer in zip(names, answers, strict=True):
            is_refused = isinstance(answer, VersionConflict)
            assert is_refused == bool(int(name) % 2)
            assert len(await facts_of(store, f"f/{name}")) == (1 if is_refused else 2)

    @rule
    async def test_concurrent_changes_come_in_the_order_of_calls(self, store: Store) -> None:
        await store.append([creation("a", b"0")])

        calls = [store.append([change("a", number, b"%d" % number)]) for number in range(1, 20)]
        await asyncio.gather(*calls)

        assert await facts_of(store, "f/a") == tuple(b"%d" % number for number in range(20))

    @rule
    async def test_a_soon_change_is_seen_at_once(self, store: Store) -> None:
        store.append_soon(creation("a", wake=WakeAt(T0)))
        assert await store.find_by_name("f", "a") == "f/a"

        store.append_soon(change("a", 1, b"1"))
        assert await facts_of(store, "f/a") == (b"started", b"1")

    @rule
    async def test_soon_changes_come_before_the_next_append(self, store: Store) -> None:
        await store.append([creation("a", b"0")])
        store.append_soon(change("a", 1, b"1"))
        store.append_soon(change("a", 2, b"2"))
        await store.append([change("a", 3, b"3"), creation("b")])
        store.append_soon(change("a", 4, b"4"))
        await store.append([change("a", 5, b"5")])

        assert await facts_of(store, "f/a") == (b"0", b"1", b"2", b"3", b"4", b"5")

    @rule
    async def test_an_append_of_nothing_does_nothing(self, store: Store) -> None:
        store.append_soon(creation("a"))
        await store.append([])

        assert await facts_of(store, "f/a") == (b"started",)

    @rule
    async def test_a_refused_soon_change_fails_the_next_append(self, store: Store) -> None:
        await store.append([creation("a"), creation("b")])
        store.append_soon(change("a", 7, b"too late"))
        store.append_soon(change("a", 1, b"dropped"))
        await store.append([change("b", 1, b"1")])

        await assert_refused(store, change("a", 1, b"1"))
        await store.append([change("a", 1, b"2")])

        assert await facts_of(store, "f/a") == (b"started", b"2")
        assert await facts_of(store, "f/b") == (b"started", b"1")

    @rule
    async def test_what_was_written_outlives_closing(self, store: Store) -> None:
        new = replace(creation("a", b"0"), callback_ids=("cb",))
        await store.append([new])
        store.append_soon(change("a", 1, b"1"))

        await store.close()
        await store.open()

        stored = await store.find("f/a")
        assert stored is not None
        assert (stored.facts, stored.summary) == ((b"0", b"1"), new.summary)
        assert await store.find_by_callback("cb") == "f/a"
        await store.append([change("a", 2, b"2"), creation("b")])

    @rule
    async def test_closing_twice_is_closing_once(self, store: Store) -> None:
        await store.append([creation("a")])

        await store.close()
        await store.close()

        await store.open()
        assert await facts_of(store, "f/a") == (b"started",)

    @rule
    async def test_there_is_one_key_which_is_made_once(self, store: Store) -> None:
        [key] = await store.keys()

        await store.close()
        await store.open()

        assert len(key) == KEY_BYTES
        assert list(await store.keys()) == [key]

    @rule
    async def test_a_new_key_leaves_the_one_before_it_and_no_other(self, store: Store) -> None:
        [first] = await store.keys()
        second, third = bytes(KEY_BYTES), bytes(range(KEY_BYTES))

        assert await store.add_key(second)
        assert list(await store.keys()) == [second, first]
        is_taken = await store.add_key(third)  # a shared store has it wait
        await store.close()
        await store.open()

        assert list(await store.keys()) == ([third, second] if is_taken else [second, first])

    @rule
    async def test_a_deleted_execution_is_gone(self, store: Store) -> None:
        await store.append([replace(creation("a"), callback_ids=("cb",)), creation("b")])

        await store.delete("f/a", 1)

        assert await store.find("f/a") is None
        assert await store.find_by_name("f", "a") is None
        assert await store.find_by_callback("cb") is None
        assert await facts_of(store, "f/b") == (b"started",)

    @rule
    async def test_nothing_brings_a_deleted_execution_back(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        await store.delete("f/a", 1)

        await assert_refused(store, change("a", 1, b"1", wake=WakeAt(T0)))

        assert await store.find("f/a") is None
        assert await claim_at(store) == []

    @rule
    async def test_a_deleted_name_is_free(self, store: Store) -> None:
        await store.append([creation("a", b"old", b"old")])
        await store.delete("f/a", 2)
        await store.append([creation("a", b"new")])

        assert await facts_of(store, "f/a") == (b"new",)

    @rule
    async def test_only_the_version_that_was_seen_is_deleted(self, store: Store) -> None:
        await store.append([creation("a", b"0", b"1", wake=WakeAt(T0))])
        for arn, version in (("f/a", 1), ("f/a", 3), ("f/unknown", 1)):
            with pytest.raises(VersionConflict):
                await store.delete(arn, version)

        await claim_at(store)

        with pytest.raises(VersionConflict):
            await store.delete("f/a", 2)
        assert await facts_of(store, "f/a") == (b"0", b"1")

    @rule
    async def test_expired_executions_are_deleted_a_few_at_a_time(self, store: Store) -> None:
        for name, delete_at in (("a", T0), ("b", T0), ("c", T0), ("d", T0 + SECOND), ("e", None)):
            new = creation(name)
            closed = replace(new.summary, status="SUCCEEDED", ended_at=T0, delete_at=delete_at)
            await store.append([replace(new, summary=closed, callback_ids=(name,))])

        deleted = [await store.delete_expired(T0, 2) for _ in range(3)]

        assert deleted == [2, 1, 0]
        found = [await store.find_by_callback(name) for name in "abcde"]
        assert found == [None, None, None, "f/d", "f/e"]

    @rule
    async def test_what_closes_later_expires_later(self, store: Store) -> None:
        new = creation("a")
        await store.append([new])
        assert await store.delete_expired(T0, 10) == 0

        closed = replace(new.summary, status="FAILED", ended_at=T0, delete_at=T0 + SECOND)
        await store.append([replace(change("a", 1, b"end", wake=KEEP), summary=closed)])

        assert await store.delete_expired(T0, 10) == 0
        assert await store.delete_expired(T0 + SECOND, 10) == 1
