"""Kills that are aimed: the worker ends itself with SIGKILL at the n-th moment of some kind.

Kills at random moments seldom meet the few microseconds that matter: those between an effect and
its record, a record and who is told of it. These do.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from random import Random
from threading import Event
from typing import Any, NoReturn

from durably.engine.journals import Journals
from durably.stores.postgres_writer import PostgresWriter
from durably.stores.sqlite_ledger import Ledger as Tables
from tests.chaos.ledger import Answered, Entered, Finished, Left, Line, Started

BEFORE_COMMIT = "before a commit"
AFTER_COMMIT = "after a commit"
_SLOW_SECONDS = 0.004

_LINES: dict[str, Callable[[Line], bool]] = {
    "after an acknowledged start": lambda line: isinstance(line, Started),
    "after an acknowledged answer": lambda line: isinstance(line, Answered),
    "after an acknowledged result": lambda line: isinstance(line, Finished),
    "inside a step": lambda line: isinstance(line, Entered),
    "inside an at-most-once step": lambda line: isinstance(line, Entered) and line.once,
    "at the end of a step": lambda line: isinstance(line, Left),
}
# How often each kind is drawn, and about how many such moments a life of a second or two has.
_KINDS = {
    "after an acknowledged start": (3, 150),
    "after an acknowledged answer": (2, 15),
    "after an acknowledged result": (2, 15),
    "inside a step": (1, 200),
    "inside an at-most-once step": (2, 20),
    "at the end of a step": (2, 200),
    BEFORE_COMMIT: (2, 500),
    AFTER_COMMIT: (2, 500),
}


def draw(random: Random) -> str:
    """Draw a kind of moments, a number, and whether the disk is slow, as a worker takes them."""
    [kind] = random.choices(list(_KINDS), [weight for weight, _ in _KINDS.values()])
    disk = random.choice(("fast", "slow"))
    return f"{kind}:{random.randint(1, _KINDS[kind][1])}:{disk}"


def take(aim: str) -> Callable[[Line], bool]:
    """Aim at what `draw` has said; give whether to end with a line that has just been written."""
    kind, number, disk = aim.split(":")
    if disk == "slow":
        _slow_down_commits()
    if kind in _LINES:
        return _countdown(_LINES[kind], int(number))
    _aim_at_commits(kind, int(number))
    return lambda _: False


def end() -> NoReturn:
    """End this process, as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nothing comes after it")


def _countdown(matches: Callable[[Line], bool], number: int) -> Callable[[Line], bool]:
    left = number

    def is_time(line: Line) -> bool:
        nonlocal left
        left -= matches(line)
        return left <= 0

    return is_time


def _aim_at_commits(kind: str, number: int) -> None:
    left = number
    commit, append = Tables.commit, PostgresWriter._try

    def come_to(place: str) -> None:
        nonlocal left
        left -= place == BEFORE_COMMIT
        if kind == place and left <= 0:
            end()

    def aimed(self: Tables) -> None:
        come_to(BEFORE_COMMIT)
        commit(self)
        come_to(AFTER_COMMIT)

    async def aimed_far(self: PostgresWriter, bundles: Any) -> dict[int, str]:
        come_to(BEFORE_COMMIT)
        refused = await append(self, bundles)
        come_to(AFTER_COMMIT)
        return refused

    Tables.commit = aimed  # type: ignore[method-assign]  # on purpose
    PostgresWriter._try = aimed_far  # type: ignore[method-assign]  # on purpose


def _slow_down_commits() -> None:
    """Have the disk take its time, so that whoever does not wait for it is found out."""
    commit, append = Tables.commit, PostgresWriter._try

    def slow(self: Tables) -> None:
        Event().wait(_SLOW_SECONDS)
        commit(self)

    async def slow_far(self: PostgresWriter, bundles: Any) -> dict[int, str]:
        await asyncio.sleep(_SLOW_SECONDS)
        return await append(self, bundles)

    Tables.commit = slow  # type: ignore[method-assign]  # on purpose
    PostgresWriter._try = slow_far  # type: ignore[method-assign]  # on purpose


def note_refusals(note: Callable[[str], None]) -> None:
    """Have *note* called with each execution of which this worker finds its claim lost.

    It looks when something that it had to say was refused.
    """
    look = Journals.is_claimed_under

    async def noted(self: Journals, arn: str, epoch: int) -> bool:
        is_ours = await look(self, arn, epoch)
        if not is_ours:
            note(arn)
        return is_ours

    Journals.is_claimed_under = noted  # type: ignore[method-assign]  # on purpose
