"""Clocks and medians. Everything that is compared is measured in turns, in one run."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import TypeVar

from benchmarks.report import Beside

T = TypeVar("T")

MICRO = 1e6
MILLI = 1e3
MIB = 1024 * 1024
_MAX_FAILURE = 80
LINEAR = 1.3
"""What is linear or flat may grow by so much, times, when the load grows tenfold: that is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How hard to try.

    Attributes:
        is_quick: fewer and smaller rounds, for a first look; figures of both are alike, not equal.
        has_peers: measure others, too.
    """

    is_quick: bool = False
    has_peers: bool = True

    def pick(self, thorough: T, quick: T) -> T:
        """Give the one that fits."""
        return quick if self.is_quick else thorough


def progress(text: str) -> None:
    """Say on standard error what is being measured."""
    print(f"  {text}", file=sys.stderr, flush=True)


def seconds(work: Callable[[], object]) -> float:
    """Give how long *work* takes."""
    gc.collect()
    began = perf_counter()
    work()
    return perf_counter() - began


async def seconds_async(work: Callable[[], Awaitable[object]]) -> float:
    """Give how long it takes to await *work*."""
    gc.collect()
    began = perf_counter()
    await work()
    return perf_counter() - began


@dataclass(slots=True)
class Peer:
    """Somebody else's work beside ours. When it fails, ours is measured all the same.

    Attributes:
        name: what it is called in the table.
        work: measures it once.
    """

    name: str
    work: Callable[[], float]
    _values: list[float] = field(default_factory=list[float])
    _failure: str = ""

    def run(self) -> None:
        """Measure once more, unless it has failed."""
        if self._failure:
            return
        try:
            self._values.append(self.work())
        except Exception as error:  # noqa: BLE001 - whatever it is, the table says so
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            self._failure = text if len(text) <= _MAX_FAILURE else f"{text[:_MAX_FAILURE]}…"
            progress(f"{self.name or 'a peer'} failed: {text}")

    def beside(self, factor: float = 1.0, less: float = 0.0) -> Beside:
        """Give the median, *less* what is not its, times *factor*; or why there is none."""
        if self._failure or not self._values:
            return Beside(name=self.name, failure=self._failure or "it was not run")
        return Beside(name=self.name, value=(median(self._values) - less) * factor)


def measured(name: str, work: Callable[[], float], factor: float = 1.0) -> Beside:
    """Measure somebody else's *work* once."""
    peer = Peer(name, work)
    peer.run()
    return peer.beside(factor)


def in_turns(
    works: Mapping[str, Callable[[], float]], rounds: int, peers: Iterable[Peer] = ()
) -> dict[str, float]:
    """Run everything once a round, *peers* too, and give the medians of our own."""
    found: dict[str, list[float]] = {name: [] for name in works}
    peers = tuple(peers)
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
        for peer in peers:
            peer.run()
    return {name: median(values) for name, values in found.items()}


def percentile(values: Iterable[float], percent: int) -> float:
    """Give a percentile from 1 to 99."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def resident_bytes() -> int:
    """Give how much memory this process has now."""
    gc.collect()
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource  # noqa: PLC0415 - the next best where there is no /proc

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def timed_collector() -> list[float]:
    """Give a list to which every pass of the garbage collector adds its seconds from now on."""
    passes: list[float] = []
    began = 0.0

    def note(phase: str, _info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = perf_counter()
        else:
            passes.append(perf_counter() - began)

    gc.callbacks.append(note)
    return passes
