"""Who has invoked an execution, and the first thing that is written of one that is invoked."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from durably.engine.children import child_start, has_invoked
from durably.engine.decisions import decide
from durably.engine.execution import Execution
from durably.engine.facts import ChainedInvokeStarted
from durably.engine.policy import ServicePolicy
from durably.engine.store import Change
from durably.engine.tips import Tip
from durably.errors import ResourceNotFoundException


class Pins(Protocol):
    """Where the latest states of executions are had; see `Journals`."""

    async def pin(self, arn: str) -> Tip:
        """Give the latest state of an execution."""
        ...

    def unpin(self, tip: Tip) -> None:
        """Let go of it."""
        ...

    async def drop_if_outdated(self, tip: Tip) -> bool:
        """Drop it if it is not what is stored, and say so."""
        ...


async def pin_parent(pins: Pins, child: Execution) -> Tip | None:
    """Give the latest state of a child's parent; `None` if it is gone, or knows of no child.

    One that is worked on here may not know yet what another process has recorded: that there is
    a child to wait for.
    """
    assert child.start.parent_arn is not None, "it is asked for because it is named"
    while True:
        try:
            parent = await pins.pin(child.start.parent_arn)
        except ResourceNotFoundException:
            return None
        if has_invoked(parent.execution, child):
            return parent
        try:
            if not await pins.drop_if_outdated(parent):
                return None
        finally:
            pins.unpin(parent)


def first_change(
    parent: Execution, fact: ChainedInvokeStarted, policy: ServicePolicy, now: datetime
) -> Change:
    """Give what begins the execution that an invoke stands for."""
    child = Tip(Execution())
    command = child_start(parent.start, fact, policy)
    return child.take(decide(child.execution, command, now))
