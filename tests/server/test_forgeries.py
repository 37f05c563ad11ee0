"""The forger itself: it finds nothing that is taken or told apart, and it would."""

from collections.abc import Callable
from itertools import count, islice
from random import Random

import pytest

from tests.server.forgeries import (
    Check,
    ForgeryError,
    Kind,
    callback_ids,
    cannot_be_told_apart,
    forge,
    refuse_all,
    tokens,
    welch,
)

KEYS, OTHERS = (b"k" * 32,), (b"o" * 32,)
MAKE = [callback_ids, lambda keys, random: tokens(keys, "an arn", random)]


def test_no_forgery_is_taken() -> None:
    assert len(list(forge(seed=4, count=2000, samples=0))) == 4


@pytest.mark.parametrize("make", MAKE)
def test_what_is_forged_is_like_what_is_good(
    make: Callable[[tuple[bytes, ...], Random], Kind],
) -> None:
    random = Random(4)  # noqa: S311 - a seed is there to be used again
    kind, other = make(KEYS, random), make(OTHERS, random)
    assert kind.is_good(kind.make())
    forgeries = [kind.almost(), *islice(kind.forgeries(random, other), 30)]
    assert {len(one) for one in forgeries} == {len(kind.make())}
    assert not any(map(kind.is_good, forgeries))


def test_what_is_taken_is_found() -> None:
    with pytest.raises(ForgeryError, match="a forged callback id was taken: b"):
        refuse_all("callback id", lambda text: text == "b", ["a", "b"])


def test_welch_s_t_is_the_difference_in_standard_errors() -> None:
    assert welch([1, 2, 3], [2, 4, 6]) == pytest.approx(-2 / (1 / 3 + 4 / 3) ** 0.5)
    assert welch([1, 1], [1, 1]) == 0.0


class Stopwatch:
    """A clock that a check puts forward; it trembles, and now and then it jumps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._random = Random(4)  # noqa: S311 - as above

    def __call__(self) -> int:
        jump = 10_000 if self._random.random() < 0.05 else 0
        self.now += self._random.gauss(500, 5) + jump
        return int(self.now)


def timed(spend: Callable[[Stopwatch, str], float]) -> tuple[Kind, Check, Stopwatch]:
    watch = Stopwatch()
    numbers = count()
    kind = Kind(
        name="word",
        make=lambda: f"{next(numbers):08}right!",
        guess=lambda: f"{next(numbers):08}guess?",
        spoil=lambda good, place: f"{good[:place]}x{good[place + 1 :]}",
        is_good=lambda text: False,
    )

    def is_good(text: str) -> bool:
        watch.now += spend(watch, text)
        return False

    return kind, is_good, watch


def test_a_check_that_takes_longer_for_what_is_almost_right_is_found() -> None:
    kind, is_good, watch = timed(lambda watch, text: 3 if "right" in text else 1)
    with pytest.raises(ForgeryError, match="how long a word is looked at says how much"):
        cannot_be_told_apart(kind, is_good, 2000, Random(4), watch)  # noqa: S311 - as above


def test_a_check_that_takes_as_long_for_all_is_not_suspected() -> None:
    for seed in range(30):
        kind, is_good, watch = timed(lambda watch, text: 2)
        cannot_be_told_apart(kind, is_good, 500, Random(seed), watch)  # noqa: S311 - as above


def test_what_does_not_show_again_was_chance() -> None:
    kind, is_good, watch = timed(
        lambda watch, text: 9 if "right" in text and text < "00001000" else 1
    )
    cannot_be_told_apart(kind, is_good, 1000, Random(4), watch)  # noqa: S311 - as above
