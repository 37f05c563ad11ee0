from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from durably.seams import RandomIds, disturb, maybe


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    yield
    disturb(None)


def test_ids_from_the_system_do_not_repeat() -> None:
    ids = RandomIds()

    assert len({ids.uuid4() for _ in range(100)}) == 100
    assert len({ids.nonce(16) for _ in range(100)}) == 100


def test_ids_from_a_seed_repeat() -> None:
    one, other = (RandomIds(Random(1)) for _ in "ab")  # noqa: S311 - as a simulation does

    assert one.uuid4() == other.uuid4()
    assert one.hex(8) == other.hex(8)


def test_a_uuid_is_a_random_one() -> None:
    assert RandomIds().uuid4().version == 4


@pytest.mark.parametrize("length", [0, 1, 7, 32])
def test_ids_have_the_length_that_was_asked_for(length: int) -> None:
    ids = RandomIds()

    assert len(ids.nonce(length)) == length
    assert len(ids.hex(length)) == length
    assert set(ids.hex(length)) <= set("0123456789abcdef")


def test_in_production_nothing_is_ever_disturbed() -> None:
    assert not maybe("extra yield")


def test_a_simulation_chooses_what_is_disturbed() -> None:
    disturb(lambda name: name == "extra yield")

    assert maybe("extra yield")
    assert not maybe("tiny batch")

    disturb(None)
    assert not maybe("extra yield")
