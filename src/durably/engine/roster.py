"""Who works on a store that several processes share, and what there is for them to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from durably.engine.arns import LATEST

DEFAULT_LEASE = timedelta(seconds=30)


def claim_name(function_name: str, version: str) -> str:
    """Give the name by which executions of a version of a function are claimed."""
    return function_name if version == LATEST else f"{function_name}:{version}"


def claim_names(function_names: Sequence[str], version: str) -> tuple[str, ...]:
    """Give those of many functions, of one version."""
    if version == LATEST:
        return tuple(function_names)
    return tuple([claim_name(name, version) for name in function_names])


def split_claim_name(name: str) -> tuple[str, str]:
    """Give the function's name, and its version."""
    function_name, _, version = name.partition(":")
    return function_name, version or LATEST


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of itself, again and again.

    Attributes:
        worker: HOST/PROCESS/SOMETHING, of no other worker at any time.
        functions: those that it runs, by the names that it claims by.
        max_concurrency: how many invocations it runs at once.
        started_at: since when it has been at work.
        lease: without a word for so long, it counts as dead.
        is_draining: it claims nothing more.
    """

    worker: str
    functions: tuple[str, ...]
    max_concurrency: int
    started_at: datetime
    lease: timedelta
    is_draining: bool = False


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A worker, as others see it.

    Attributes:
        seen_at: when it last said that it is there.
        is_alive: whether that is not longer ago than its lease.
        held: how many executions it has claimed and not released.
    """

    presence: Presence
    seen_at: datetime
    is_alive: bool
    held: int


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to do for one version of one function.

    Attributes:
        name: the one that it is claimed by.
        due: how many executions wait for a worker; a store may stop counting at 10,000.
        due_since: since when the one that has waited longest does.
    """

    name: str
    due: int
    due_since: datetime


class Roster(msgspec.Struct, frozen=True):
    """All workers, those first that began first, and what there is to do."""

    workers: tuple[Seen, ...]
    backlogs: tuple[Backlog, ...]

    def has_worker_for(self, name: str) -> bool:
        """Whether somebody alive claims executions by *name*."""
        return any(
            seen.is_alive and not seen.presence.is_draining and name in seen.presence.functions
            for seen in self.workers
        )
