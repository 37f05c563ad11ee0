"""What unwinds coroutines: cancellations whose text tells whoever catches one what to write."""

from __future__ import annotations

import asyncio
from typing import Final

from durably.errors import InvocationSuspended, OrphanedBranch


def suspended() -> asyncio.CancelledError:
    """The invocation ends."""
    return asyncio.CancelledError(InvocationSuspended.advice)


def orphaned() -> asyncio.CancelledError:
    """The context around this code has finished."""
    return asyncio.CancelledError(f"The context around it has finished. {OrphanedBranch.advice}")


def keep(task: asyncio.Task[None]) -> None:
    """Keep what would not unwind until it ends: collected as garbage, it would be woken by that.

    The loop forgets it, or `asyncio.run` would wait for it at its end.
    """
    asyncio.tasks._unregister_task(task)  # noqa: SLF001 - asyncio documents it for this
    kept.add(task)
    task.add_done_callback(kept.discard)


kept: Final[set[asyncio.Task[None]]] = set()
"""What would not unwind."""
