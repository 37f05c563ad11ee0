"""Rules for stores: who may look at an execution, when, and for how long."""

# ruff: noqa: D102 - the name of a test is the rule

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import chain

import pytest

from durably.engine.store import Store, VersionConflict, WakeAt, WakeUnlessClaimed
from durably.testing.store_values import (
    LEASE,
    SECOND,
    T0,
    assert_refused,
    change,
    claim_at,
    creation,
    facts_of,
    rule,
)


class ScheduleRules:
    """What is due, how it is claimed, and what a claim is worth."""

    is_shared = False

    @rule
    async def test_nothing_is_due_before_its_time(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])

        assert list(await claim_at(store, T0 - SECOND / 1_000_000)) == []
        assert [claim.arn for claim in await claim_at(store, T0)] == ["f/a"]

    @rule
    async def test_what_has_no_time_is_never_due(self, store: Store) -> None:
        await store.append([creation("a"), creation("b", wake=WakeAt(T0))])
        await store.append([change("b", 1, b"1", wake=WakeAt(None))])

        assert list(await claim_at(store, T0 + 1_000 * LEASE)) == []
        assert await store.next_wake_at(["f"]) is None

    @rule
    async def test_a_claim_says_what_it_claims(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])

        [claim] = await claim_at(store)

        assert (claim.arn, claim.function_name, claim.is_takeover) == ("f/a", "f", False)
        stored = await store.find("f/a")
        assert stored is not None
        assert (stored.claim_epoch, stored.wake_at) == (claim.epoch, T0 + LEASE)

    @rule
    async def test_what_is_due_first_is_claimed_first(self, store: Store) -> None:
        for function, name, seconds in (("f", "c", 3), ("g", "a", 1), ("f", "d", 4), ("f", "b", 2)):
            await store.append(
                [creation(name, wake=WakeAt(T0 + seconds * SECOND), function=function)]
            )

        claims = [await claim_at(store, T0 + LEASE, ["f", "g"], limit) for limit in (1, 2, 9)]

        arns = [claim.arn for claim in chain.from_iterable(claims)]
        assert arns == ["g/a", "f/b", "f/c", "f/d"]

    @rule
    async def test_only_functions_that_were_asked_for_are_claimed(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0), function="f")])
        await store.append([creation("b", wake=WakeAt(T0), function="g")])

        assert list(await claim_at(store, functions=[])) == []
        assert list(await claim_at(store, functions=["unknown"])) == []
        assert [claim.arn for claim in await claim_at(store, functions=["g", "g"])] == ["g/b"]

    @rule
    async def test_what_is_claimed_is_not_claimed_again(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        await claim_at(store)

        assert list(await claim_at(store, T0 + LEASE - SECOND, worker="another")) == []

    @rule
    async def test_rivals_share_what_is_due(self, store: Store) -> None:
        await store.append([creation(str(number), wake=WakeAt(T0)) for number in range(30)])

        rivals = [claim_at(store, worker=str(number), limit=7) for number in range(6)]
        claims = list(chain.from_iterable(await asyncio.gather(*rivals)))

        assert len(claims) == 30  # noqa: PLR2004 - each once
        assert len({claim.arn for claim in claims}) == len(claims)

    @rule
    async def test_after_its_lease_an_execution_is_taken_over(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [lost] = await claim_at(store)

        [claim] = await claim_at(store, T0 + LEASE, worker="another")

        assert claim.is_takeover
        assert claim.epoch != lost.epoch
        await assert_refused(store, change("a", 1, b"lost", epoch=lost.epoch))
        await store.append([change("a", 1, b"1", epoch=claim.epoch)])

    @rule
    async def test_what_was_released_is_no_takeover(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [first] = await claim_at(store)
        await store.append([change("a", 1, b"1", wake=WakeAt(T0), epoch=first.epoch)])

        [second] = await claim_at(store)

        assert not second.is_takeover
        assert second.epoch != first.epoch

    @rule
    async def test_a_change_from_outside_leaves_a_claim_alone(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [claim] = await claim_at(store)

        await store.append([change("a", 1, b"1", wake=WakeUnlessClaimed(T0))])

        assert await claim_at(store) == []
        await store.append([change("a", 2, b"2", epoch=claim.epoch)])

    @rule
    async def test_a_change_from_outside_wakes_what_nobody_has_claimed(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(None))])

        await store.append([change("a", 1, b"1", wake=WakeUnlessClaimed(T0))])

        [claim] = await claim_at(store)
        assert claim.arn == "f/a"

    @rule
    async def test_an_owner_may_append(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [claim] = await claim_at(store)

        await store.append([change("a", 1, b"1", epoch=claim.epoch)])
        store.append_soon(change("a", 2, b"2", epoch=claim.epoch))

        stored = await store.find("f/a")
        assert stored is not None
        assert (stored.facts, stored.claim_epoch) == ((b"started", b"1", b"2"), claim.epoch)
        assert stored.wake_at == T0 + LEASE

    @rule
    async def test_an_owner_may_append_until_somebody_takes_over(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0 - 10 * LEASE))])
        [claim] = await claim_at(store, T0 - 10 * LEASE)

        await store.append([change("a", 1, b"late", epoch=claim.epoch)])

        assert await facts_of(store, "f/a") == (b"started", b"late")

    @rule
    async def test_without_the_claim_an_owner_is_refused(self, store: Store) -> None:
        await assert_refused(store, change("new", 0, b"0", epoch=1))
        await store.append([creation("a", wake=WakeAt(T0))])
        await assert_refused(store, change("a", 1, b"1", epoch=0))
        [claim] = await claim_at(store)

        await assert_refused(store, change("a", 1, b"1", epoch=claim.epoch + 1))
        await store.append([change("a", 1, b"1", wake=WakeAt(T0 + SECOND), epoch=claim.epoch)])
        await assert_refused(store, change("a", 2, b"2", epoch=claim.epoch))

        assert await facts_of(store, "f/a") == (b"started", b"1")

    @rule
    async def test_anybody_may_append_beside_the_owner(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [claim] = await claim_at(store)

        await store.append([change("a", 1, b"callback")])

        await assert_refused(store, change("a", 1, b"1", epoch=claim.epoch))
        await store.append([change("a", 2, b"1", epoch=claim.epoch)])

    @rule
    async def test_anybody_may_take_the_claim_away(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [claim] = await claim_at(store)

        await store.append([change("a", 1, b"stop", wake=WakeAt(None))])

        stored = await store.find("f/a")
        assert stored is not None
        assert (stored.claim_epoch, stored.wake_at) == (None, None)
        await assert_refused(store, change("a", 2, b"1", epoch=claim.epoch))

    @rule
    async def test_a_claim_can_be_extended(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [claim] = await claim_at(store)

        gone = await store.extend("w", [("f/a", claim.epoch)], T0 + 3 * LEASE)

        assert list(gone) == []
        assert list(await claim_at(store, T0 + 2 * LEASE)) == []
        [lost] = await claim_at(store, T0 + 3 * LEASE)
        assert lost.is_takeover

    @rule
    async def test_an_extension_that_comes_late_shortens_nothing(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [claim] = await claim_at(store)
        mine = [("f/a", claim.epoch)]
        await store.extend("w", mine, T0 + 3 * LEASE)

        gone = await store.extend("w", mine, T0 + 2 * LEASE)

        assert list(gone) == []
        assert await store.next_wake_at(["f"]) == T0 + 3 * LEASE

    @rule
    async def test_extending_names_the_claims_that_are_gone(self, store: Store) -> None:
        names = ["kept", "epoch", "released", "unknown", "deleted", "taken"]
        arns = [f"f/{name}" for name in names]
        await store.append([creation(name, wake=WakeAt(T0)) for name in names if name != "unknown"])
        epochs = {claim.arn: claim.epoch for claim in await claim_at(store)}
        epochs |= {"f/epoch": epochs["f/epoch"] + 1, "f/unknown": 1}
        await store.append([change("released", 1, b"1", wake=WakeAt(None))])
        await store.append([change("deleted", 1, b"1", wake=WakeAt(None))])
        await store.delete("f/deleted", 2)
        await store.append([change("taken", 1, b"1", wake=WakeAt(T0))])
        await claim_at(store)

        gone = await store.extend("w", [(arn, epochs[arn]) for arn in arns], T0 + 2 * LEASE)

        assert set(gone) == {"f/epoch", "f/released", "f/unknown", "f/deleted", "f/taken"}

    @rule
    async def test_only_the_worker_that_claimed_extends(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [claim] = await claim_at(store)

        gone = await store.extend("another", [("f/a", claim.epoch)], T0 + 3 * LEASE)

        assert list(gone) == ["f/a"]
        assert await store.next_wake_at(["f"]) == T0 + LEASE

    @rule
    async def test_the_next_time_is_the_earliest_one(self, store: Store) -> None:
        assert await store.next_wake_at(["f", "g"]) is None
        for name, function, seconds in (("a", "f", 3), ("b", "f", 2), ("c", "g", 1), ("d", "h", 0)):
            await store.append(
                [creation(name, wake=WakeAt(T0 + seconds * SECOND), function=function)]
            )

        due: list[datetime | None] = [
            await store.next_wake_at(functions) for functions in (["f"], ["f", "g"], ["i"], [])
        ]

        assert due == [T0 + 2 * SECOND, T0 + SECOND, None, None]

    @rule
    async def test_what_is_claimed_is_next_due_when_its_lease_ends(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [claim] = await claim_at(store)
        assert await store.next_wake_at(["f"]) == T0 + LEASE

        await store.append([change("a", 1, b"1", wake=WakeAt(T0 + SECOND), epoch=claim.epoch)])
        assert await store.next_wake_at(["f"]) == T0 + SECOND

    @rule
    async def test_opening_voids_the_claims_of_whoever_had_the_store(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0)), creation("b", wake=WakeAt(T0 + LEASE))])
        [lost] = await claim_at(store)

        await store.close()
        await store.open()

        if self.is_shared:  # whoever had it may have it still
            await store.append([change("a", 1, b"1", epoch=lost.epoch)])
            return
        await assert_refused(store, change("a", 1, b"lost", epoch=lost.epoch))
        assert list(await store.extend("w", [("f/a", lost.epoch)], T0 + LEASE)) == ["f/a"]
        [claim] = await claim_at(store)
        assert (claim.arn, claim.is_takeover) == ("f/a", True)
        assert claim.epoch != lost.epoch

    @rule
    async def test_a_claimed_execution_is_not_deleted(self, store: Store) -> None:
        await store.append([creation("a", wake=WakeAt(T0))])
        [claim] = await claim_at(store)

        with pytest.raises(VersionConflict):
            await store.delete("f/a", 1)

        await store.append([change("a", 1, b"1", wake=WakeAt(T0), epoch=claim.epoch)])
        await store.delete("f/a", 2)
        assert await store.next_wake_at(["f"]) is None
