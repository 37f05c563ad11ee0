"""What goes wrong in a run, drawn from its seed: which kinds at all, how often, and each time.

Every fault has a number, in the order in which they come up. A run in which some numbers are
skipped, or whole kinds, is the same run with fewer faults: so a failure is made smaller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from random import Random

from tests.simulator.observed import Fault

WRONG_ANSWER = "answer is wrong"
"""PENDING, from a function that has come to its end."""
LATE_ANSWER = "answer is late"
"""Of a store that others use, too. It takes time, and cuts nothing off."""
KINDS = (
    "append fails before",
    "append fails after",
    "append conflicts",
    "disk is slow",
    "disk is full",
    "disk fails",
    "soon is lost",
    "read fails",
    "claim fails before",
    "claim fails after",
    "request is lost",
    "reply is lost",
    "request comes twice",
    "network is slow",
    "throttled",
    "token is refused",
    "reply tells of the past",
    WRONG_ANSWER,
    "hint is lost",
    "hint comes twice",
    "hint comes late",
    "crash",
    "worker crash",
    "pause",
    "partition",
    "restart",
    "clock jumps",
)
"""Each is either in a world or not; see `DISTURBANCES` for what is no fault."""

_RATES = (0.002, 0.01, 0.03, 0.1)
_SELDOM = 0.35


class Faults:
    """Decides what goes wrong, and writes it down.

    Args:
        random: where chance comes from.
        tick: counts everything that is observed.
        now: virtual seconds.
        without: kinds that never happen.
        skipped: numbers of faults that do not happen.

    Attributes:
        are_on: whether anything goes wrong at all, now.
        hit: what has gone wrong so far.
        counts: how often, by kind.
        drawn: how many faults have come up, skipped ones too.
    """

    def __init__(
        self,
        random: Random,
        tick: Callable[[], int],
        now: Callable[[], float],
        *,
        without: Collection[str] = (),
        skipped: Collection[int] = (),
    ) -> None:
        self._random = random
        self._tick = tick
        self._now = now
        self._skipped = frozenset(skipped)
        self._rates = {
            kind: rate for kind in KINDS if (rate := _draw_rate(random)) and kind not in without
        }
        self.are_on = False
        self.hit: list[Fault] = []
        self.counts: Counter[str] = Counter()
        self.drawn = 0

    def has(self, kind: str) -> bool:
        """Whether such faults may happen in this run."""
        return kind in self._rates

    def hits(self, kind: str, *, node: str = "", execution: str = "") -> bool:
        """Whether a fault of that kind happens here and now."""
        rate = self._rates.get(kind)
        if rate is None or not self.are_on or self._random.random() >= rate:
            return False
        return self.happens(kind, node=node, execution=execution)

    def happens(self, kind: str, *, node: str = "", execution: str = "") -> bool:
        """Let a fault that was planned happen now, unless it is one of those skipped."""
        self.drawn += 1
        if not self.are_on or self.drawn in self._skipped:
            return False
        self.counts[kind] += 1
        self.note(kind, node=node, execution=execution)
        return True

    def note(self, kind: str, *, node: str = "", execution: str = "") -> None:
        """Write down what has the effects of a fault, and is none."""
        fault = Fault(kind=kind, tick=self._tick(), at=self._now(), node=node, execution=execution)
        self.hit.append(fault)

    def pick(self, low: float, high: float) -> float:
        """Draw how long, or how much."""
        return self._random.uniform(low, high)


def _draw_rate(random: Random) -> float:
    is_there, rate = random.random() < _SELDOM, random.choice(_RATES)
    return rate if is_there else 0.0
