"""What the tests of this process tell of beside their outcome, if somebody wants to see it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


_NO = frozenset({"", "0", "no", "off", "false"})


def is_wanted(variable: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment has a *variable*, and it does not say no."""
    return environ.get(variable, "").lower() not in _NO


class Collected(Generic[T]):
    """Values of all tests, until somebody takes them.

    Args:
        variable: of the environment, by which somebody says that he wants to see them.
    """

    def __init__(self, variable: str) -> None:
        self._variable = variable
        self._values: list[T] = []

    def add(self, values: Iterable[T], environ: Mapping[str, str] = os.environ) -> None:
        """Note *values*, unless nobody has asked for them."""
        if is_wanted(self._variable, environ):
            self._values += values

    def take(self) -> list[T]:
        """Give what was noted since the last time."""
        taken, self._values = self._values, []
        return taken
