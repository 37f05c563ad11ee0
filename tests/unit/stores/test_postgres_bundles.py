from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import count

import msgspec
import pytest

from durably.engine.store import Change, KeepClaim, Line, WakeAt
from durably.stores.postgres_calls import Call, bundled, parameters_of
from durably.stores.postgres_together import Together
from durably.testing.store_values import T0, change, creation

LINE = Line()


def kept(arn: str, version: int, *facts: bytes) -> Change:
    return msgspec.structs.replace(
        change(arn, version, *facts), wake=KeepClaim(), claim_epoch=7, line=LINE
    )


def calls(*changes: Change | tuple[Change, ...]) -> list[Call]:
    numbers = count()
    each = [one if isinstance(one, tuple) else (one,) for one in changes]
    return [Call(next(numbers), one, frozenset(c.arn for c in one), None) for one in each]


def sizes(*changes: Change | tuple[Change, ...]) -> list[int]:
    return [len(bundle.calls) for bundle in bundled(calls(*changes))]


def test_calls_of_one_execution_that_follow_upon_each_other_go_as_one() -> None:
    last = msgspec.structs.replace(kept("a", 3, b"3"), wake=WakeAt(T0), callback_ids=("c",))
    [bundle] = bundled(calls(kept("a", 1, b"1", b"2"), last))

    [joined] = bundle.changes

    assert (joined.expected_version, joined.facts) == (1, (b"1", b"2", b"3"))
    assert (joined.wake, joined.callback_ids, joined.claim_epoch) == (WakeAt(T0), ("c",), 7)


def test_what_stands_between_them_of_other_executions_does_not_part_them() -> None:
    assert sizes(kept("a", 1, b"1"), kept("b", 1, b"1"), kept("a", 2, b"2")) == [2, 1]


@pytest.mark.parametrize(
    "second",
    [
        kept("a", 3, b"2"),  # it rests on something else
        kept("b", 2, b"2"),
        msgspec.structs.replace(kept("a", 2, b"2"), claim_epoch=8),
        msgspec.structs.replace(kept("a", 2, b"2"), claim_epoch=None),
        msgspec.structs.replace(kept("a", 2, b"2"), line=Line()),
    ],
    ids=["version", "execution", "epoch", "outside", "line"],
)
def test_what_could_be_refused_by_itself_goes_by_itself(second: Change) -> None:
    assert sizes(kept("a", 1, b"1"), second) == [1, 1]


def test_nothing_joins_a_change_that_releases_the_claim() -> None:
    released = msgspec.structs.replace(kept("a", 1, b"1"), wake=WakeAt(T0))

    assert sizes(released, kept("a", 2, b"2")) == [1, 1]
    assert sizes(creation("a", b"0"), kept("a", 1, b"1")) == [1, 1]


def test_what_comes_after_a_call_of_several_executions_stays_after_it() -> None:
    both = (kept("a", 2), kept("b", 1, b"1"))  # of "a" it only wants to know that it is so far

    assert sizes(kept("a", 1, b"1"), both, kept("a", 2, b"2")) == [1, 1, 1]


def test_a_bundle_does_not_grow_without_bounds() -> None:
    large = bytes(200 * 1024)

    assert sizes(*(kept("a", 1 + number, large) for number in range(4))) == [2, 2]


def test_all_executions_of_a_group_are_locked_in_one_order() -> None:
    found = parameters_of(bundled(calls(*(kept(one, 1, b"1") for one in "dbca"))), 1)

    assert found["arns"] == [change(one, 1).arn for one in "abcd"]


def test_what_is_asked_while_a_question_is_under_way_makes_the_next_one() -> None:
    asked: list[Sequence[str]] = []
    answer = asyncio.Event()

    async def ask(keys: Sequence[str]) -> Mapping[str, int]:
        asked.append(keys)
        await answer.wait()
        return {key: len(asked) for key in keys if key != "none"}

    async def main() -> list[int | None]:
        together = Together(ask, 3)
        waiting = [asyncio.create_task(together.find(key)) for key in ("a", "b", "none")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting += [asyncio.create_task(together.find(key)) for key in ("a", "c", "d", "e")]
        await asyncio.sleep(0)
        answer.set()
        found = [await one for one in waiting]
        await together.close()
        return found

    assert asyncio.run(main()) == [1, 1, None, 2, 2, 2, 3]
    assert asked == [("a", "b", "none"), ("a", "c", "d"), ("e",)]


def test_a_failure_is_told_to_all_who_asked_and_to_nobody_later() -> None:
    failures = [ConnectionError("once")]

    async def ask(keys: Sequence[str]) -> Mapping[str, int]:
        if failures:
            raise failures.pop()
        return dict.fromkeys(keys, 1)

    async def main() -> None:
        together = Together(ask, 10)
        results = await asyncio.gather(
            together.find("a"), together.find("b"), return_exceptions=True
        )
        assert [type(one) for one in results] == [ConnectionError, ConnectionError]
        assert await together.find("a") == 1

    asyncio.run(main())
