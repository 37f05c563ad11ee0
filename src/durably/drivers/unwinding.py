"""User code that will not unwind: how many signals it has swallowed."""

from __future__ import annotations

from collections import Counter

from durably.core.scope import Scope


class Swallowed:
    """Counts the signals raised in each context; one that unwinds raises only a few.

    Args:
        limit: with so many, the code of a context counts as one that will not unwind.
    """

    __slots__ = ("_counts", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: Counter[Scope] = Counter()

    def are_too_many(self, scope: Scope) -> bool:
        """Whether the code of *scope* has swallowed so many."""
        return self._counts[scope] >= self._limit

    def note(self, scope: Scope) -> bool:
        """Note that a signal is raised in *scope*, and say whether those are too many."""
        self._counts[scope] += 1
        return self._counts[scope] == self._limit
