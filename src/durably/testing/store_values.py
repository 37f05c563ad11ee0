"""What the rules for stores are written with: short ways to say a change, and open stores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TypeVar

import pytest

from durably.engine.store import Change, Claim, KeepClaim, Store, Summary, VersionConflict, Wake

S = TypeVar("S")

T0 = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = 30 * SECOND
KEEP = KeepClaim()


def rule(test: Callable[[S, Store], Awaitable[None]]) -> Callable[[S, Store], None]:
    """Run *test* with the store open, whatever plugins pytest has."""

    @wraps(test)
    def run(self: S, store: Store) -> None:
        asyncio.run(_while_open(store, lambda: test(self, store)))

    return run


def summary_of(name: str, function: str = "f", started_at: datetime = T0) -> Summary:
    """Describe a running execution."""
    return Summary(
        function_name=function, execution_name=name, status="RUNNING", started_at=started_at
    )


def creation(
    name: str, *facts: bytes, wake: Wake = KEEP, function: str = "f", started_at: datetime = T0
) -> Change:
    """Create the execution `function/name`, with one fact unless *facts* says otherwise."""
    return Change(
        arn=f"{function}/{name}",
        expected_version=0,
        facts=facts or (b"started",),
        summary=summary_of(name, function, started_at),
        wake=wake,
    )


def change(
    name: str, version: int, *facts: bytes, wake: Wake = KEEP, epoch: int | None = None
) -> Change:
    """Add *facts* to the execution `f/name`."""
    return Change(
        arn=f"f/{name}",
        expected_version=version,
        facts=facts,
        summary=summary_of(name),
        wake=wake,
        claim_epoch=epoch,
    )


async def claim_at(
    store: Store,
    now: datetime = T0,
    functions: Sequence[str] = ("f",),
    limit: int = 10,
    worker: str = "w",
) -> Sequence[Claim]:
    """Claim what is due at *now*."""
    return await store.claim(worker, functions, now, LEASE, limit)


async def facts_of(store: Store, arn: str) -> tuple[bytes, ...]:
    """Give the facts of an execution that is there."""
    stored = await store.find(arn)
    assert stored is not None, arn
    return stored.facts


async def assert_refused(store: Store, *changes: Change) -> None:
    """Expect that somebody was before *changes*."""
    with pytest.raises(VersionConflict):
        await store.append(changes)


async def _while_open(store: Store, test: Callable[[], Awaitable[None]]) -> None:
    await store.open()
    try:
        await test()
    finally:
        await store.close()
