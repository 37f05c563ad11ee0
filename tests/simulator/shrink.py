"""Makes a failing case smaller: fewer scenarios, fewer faults, callbacks in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from tests.simulator.case import Case
from tests.simulator.faults import KINDS

T = TypeVar("T")
Fails = Callable[[Case], bool]
"""Runs a case, and says whether what was wrong still is."""


class Shrinking:
    """Tries smaller cases, as long as there is time; every case that fails is a new beginning.

    Attributes:
        case: the smallest that was found.
        tried: how many cases were run.
    """

    def __init__(self, case: Case, fails: Fails, has_time: Callable[[], bool]) -> None:
        self.case = case
        self.tried = 0
        self._fails = fails
        self._has_time = has_time

    def shrink(self, scenarios: int, count_faults: Callable[[Case], int]) -> Case:
        """Give the smallest that is found.

        Args:
            scenarios: how many the whole run has.
            count_faults: says how many numbers of faults a case has.
        """
        self._fewer(
            tuple(range(scenarios)) if self.case.scenarios is None else self.case.scenarios,
            lambda kept: self.case.with_(scenarios=tuple(kept)),
        )
        self._try(self.case.with_(is_calm=True))
        self._try(self.case.with_(is_plain=True))
        absent = set(self.case.without)
        self._fewer(
            [kind for kind in KINDS if kind not in absent],
            lambda kept: self.case.with_(without=tuple(kind for kind in KINDS if kind not in kept)),
        )
        numbers = range(1, count_faults(self.case) + 1)
        skipped = set(self.case.skipped)
        self._fewer(
            [number for number in numbers if number not in skipped],
            lambda kept: self.case.with_(skipped=_all_but(kept, numbers)),
        )
        return self.case

    def _fewer(self, whole: Sequence[T], make: Callable[[Sequence[T]], Case]) -> None:
        """Leave out as much of *whole* as can be: halves first, then smaller pieces."""
        kept = list(whole)
        size = len(kept)
        while size and kept:
            at = 0
            while at < len(kept) and self._has_time():
                fewer = kept[:at] + kept[at + size :]
                if self._try(make(fewer)):
                    kept = fewer
                else:
                    at += size
            size //= 2

    def _try(self, case: Case) -> bool:
        if case == self.case or not self._has_time():
            return False
        self.tried += 1
        if self._fails(case):
            self.case = case
            return True
        return False


def _all_but(kept: Sequence[int], numbers: Iterable[int]) -> tuple[int, ...]:
    wanted = set(kept)
    return tuple(number for number in numbers if number not in wanted)
