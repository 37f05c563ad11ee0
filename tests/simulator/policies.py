"""Which of the callbacks that could run next does: a policy, drawn from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol


class Runnable(Protocol):
    """A callback that could run now, as far as a policy looks at it.

    Attributes:
        strand: whose callback it is: mostly a task.
    """

    @property
    def strand(self) -> Strand: ...


class Strand(Protocol):
    """What a callback belongs to, mostly a task.

    Attributes:
        priority: the lowest goes first where priorities count.
    """

    priority: float

    @property
    def place(self) -> Place: ...


class Place(Protocol):
    """Where a strand runs."""

    @property
    def name(self) -> str: ...


class Policy(Protocol):
    """Chooses what runs next."""

    def pick(self, ready: Sequence[Runnable]) -> int:
        """Give the place in *ready*, which is not empty, of what runs next."""
        ...


class InOrder:
    """First come, first served: what asyncio itself does."""

    def pick(self, ready: Sequence[Runnable]) -> int:
        return 0


class AnyOne:
    """All are alike."""

    def __init__(self, random: Random) -> None:
        self._random = random.random

    def pick(self, ready: Sequence[Runnable]) -> int:
        return int(self._random() * len(ready))


class Newest:
    """The newest first, and seldom any other, lest one that spins keeps all to itself."""

    def __init__(self, random: Random) -> None:
        self._random = random.random

    def pick(self, ready: Sequence[Runnable]) -> int:
        last = len(ready) - 1
        return last if self._random() < 0.9 else int(self._random() * last)


class RoundRobin:
    """Each place in turn, and in each place first come, first served."""

    def __init__(self) -> None:
        self._served: dict[str, int] = {}
        self._round = 0

    def pick(self, ready: Sequence[Runnable]) -> int:
        if len(ready) == 1:
            return 0
        served = self._served
        at = min(range(len(ready)), key=lambda n: served.get(ready[n].strand.place.name, 0))
        self._round += 1
        served[ready[at].strand.place.name] = self._round
        return at


class Priorities:
    """The strand of the lowest priority, which at a few moments falls back behind all others."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._left = 0

    def pick(self, ready: Sequence[Runnable]) -> int:
        if len(ready) == 1:
            return 0
        at = min(range(len(ready)), key=lambda n: ready[n].strand.priority)
        if not self._left:
            self._left = self._random.randrange(20, 400)
            ready[at].strand.priority += 1
        self._left -= 1
        return at


class StarveOne:
    """One strand waits as long as any other can go on; after a while it is another one's turn."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._victim: Strand | None = None
        self._left = 0

    def pick(self, ready: Sequence[Runnable]) -> int:
        if not self._left:
            self._left = self._random.randrange(50, 500)
            self._victim = ready[int(self._random.random() * len(ready))].strand
        self._left -= 1
        at = int(self._random.random() * len(ready))
        return (at + 1) % len(ready) if ready[at].strand is self._victim else at


def draw_policy(random: Random) -> Policy:
    """Draw a policy; one in three is the plain one of chance."""
    drawn: Policy
    match random.randrange(9):
        case 0:
            drawn = InOrder()
        case 1:
            drawn = RoundRobin()
        case 2 | 3:
            drawn = Priorities(random)
        case 4:
            drawn = StarveOne(random)
        case 5:
            drawn = Newest(random)
        case _:
            drawn = AnyOne(random)
    return drawn
