"""What is counted while executions are worked on. Whoever wants to show it reads it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

_CHECKPOINT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_GROUP_SIZES = (1, 2, 5, 10, 20, 50, 100, 200)


class Spread:
    """How often a value fell into each of some ranges.

    Attributes:
        bounds: where the ranges end, the bound included; after the last one comes one more range.
        amounts: how many values fell into each.
        total: all values together.
    """

    __slots__ = ("amounts", "bounds", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.amounts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def note(self, value: float) -> None:
        """Count *value*."""
        self.amounts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Tally:
    """The counts of one process on one store, from 0 on. Each has one owner, who adds to it.

    Attributes:
        claims: executions claimed here.
        claims_lost: those of them that their owner before had never released.
        retries: invocations that failed, after which another one is to come.
        parkings: how often an execution was parked.
        checkpoint_seconds: how long checkpoints took that were accepted.
        group_sizes: how many writes shared a transaction, where a store writes in groups.
    """

    __slots__ = (
        "checkpoint_seconds",
        "claims",
        "claims_lost",
        "group_sizes",
        "parkings",
        "retries",
    )

    def __init__(self) -> None:
        self.claims = 0
        self.claims_lost = 0
        self.retries = 0
        self.parkings = 0
        self.checkpoint_seconds = Spread(_CHECKPOINT_SECONDS)
        self.group_sizes = Spread(_GROUP_SIZES)
