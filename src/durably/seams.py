"""Chance as it is injected: ids, jitter and, under simulation, faults; and their real forms."""

from __future__ import annotations

from collections.abc import Callable
from random import Random, SystemRandom
from typing import Protocol
from uuid import UUID

SYSTEM_RANDOM: Random = SystemRandom()
"""Randomness from the operating system: nothing can foresee it, and a fork does not repeat it."""


class IdSource(Protocol):
    """Where new ids come from."""

    def uuid4(self) -> UUID:
        """Give a random UUID."""
        ...

    def hex(self, length: int) -> str:
        """Give *length* hexadecimal digits, 4 bits of chance each."""
        ...

    def nonce(self, length: int) -> bytes:
        """Give *length* bytes of chance, fit for secrets."""
        ...


class RandomIds:
    """Ids from a source of randomness: the operating system's, or a seeded one in tests."""

    __slots__ = ("_random",)

    def __init__(self, random: Random = SYSTEM_RANDOM) -> None:
        self._random = random

    def uuid4(self) -> UUID:
        """Give a random UUID."""
        return UUID(bytes=self._random.randbytes(16), version=4)

    def hex(self, length: int) -> str:
        """Give *length* hexadecimal digits."""
        return self._random.randbytes((length + 1) // 2).hex()[:length]

    def nonce(self, length: int) -> bytes:
        """Give *length* bytes."""
        return self._random.randbytes(length)


class _Faults:
    """Whether a named disturbance happens now. Nobody but a simulation sets `fires`."""

    fires: Callable[[str], bool] | None = None


def maybe(name: str) -> bool:
    """Whether the simulation wants the disturbance *name* to happen here; in production, never.

    A place that asks stays correct whatever the answer: an extra yield, a tiny batch, a page of
    one, a doubled wake-up.
    """
    return _Faults.fires is not None and _Faults.fires(name)


def disturb(fires: Callable[[str], bool] | None) -> None:
    """Let *fires* answer `maybe` from now on; `None` goes back to never."""
    _Faults.fires = None if fires is None else staticmethod(fires)
