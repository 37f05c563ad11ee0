"""What unwinds coroutines: cancellations whose text tells whoever catches one what to write."""

from __future__ import annotations

import asyncio

from durably.errors import InvocationSuspended, OrphanedBranch


def suspended() -> asyncio.CancelledError:
    """The invocation ends."""
    return asyncio.CancelledError(InvocationSuspended.advice)


def orphaned() -> asyncio.CancelledError:
    """The context around this code has finished."""
    return asyncio.CancelledError(f"The context around it has finished. {OrphanedBranch.advice}")


def keep(task: asyncio.Task[None]) -> None:
    """Keep what would not unwind until it ends: collected as garbage, it would be woken by that."""
    _kept.add(task)
    task.add_done_callback(_kept.discard)


_kept: set[asyncio.Task[None]] = set()
