"""Chance as it is injected: ids, jitter and, under simulation, faults; and their real forms."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
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

    def nonce(self, length: int, place: str = "") -> bytes:
        """Give *length* bytes of chance, fit for secrets.

        The *place* that they are for is nothing to real chance; a test's may go by it.
        """
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

    def nonce(self, length: int, place: str = "") -> bytes:  # noqa: ARG002 - chance knows no place
        """Give *length* bytes."""
        return self._random.randbytes(length)


class _Jitter(SystemRandom):
    """The operating system's randomness, unless whoever runs the code has another source."""

    def random(self) -> float:
        """Draw from 0 to 1."""
        given = _drawn_from.get()
        return super().random() if given is None else given()


_drawn_from: ContextVar[Callable[[], float] | None] = ContextVar("durably_jitter", default=None)

JITTER: Random = _Jitter()
"""What strategies draw their delays from, unless they were made with another source."""


@contextmanager
def jitter_from(draw: Callable[[], float] | None) -> Generator[None]:
    """Have `JITTER` give what *draw* does, from 0 to 1, in the block and what it begins."""
    if draw is None:
        yield
        return
    before = _drawn_from.set(draw)
    try:
        yield
    finally:
        _drawn_from.reset(before)


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
