"""The store of an execution whose worker is to die: what is written before, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from durably.engine.facts import Fact, OperationStarted, StepFailed, StepRetried, decode_fact
from durably.engine.store import Change, Stored
from durably.testing.processes import Process, process
from durably.testing.store import TestStore
from durably.wire.arns import title_of
from durably.wire.operation import ErrorObject

_BEFORE = "before "
_INTERRUPTED = "StepInterruptedError"


class CrashStore(TestStore):
    """Loses what a dead process had not written, and takes nothing from it afterwards.

    What nobody waits for is written with whatever comes next, as on a disk.

    Attributes:
        interrupted: the steps of which an at-most-once attempt was given up, with their executions.
    """

    def __init__(self) -> None:
        super().__init__()
        self._soon: list[Change] = []
        self._paths: dict[tuple[str, str], str] = {}
        self._root = ""
        self.interrupted: set[tuple[str, str]] = set()

    async def append(self, changes: Sequence[Change]) -> None:
        """See `MemoryStore.append`; the process may die before it or after it."""
        if not self._root:
            self._root = changes[0].arn
        owner, label = process.get(), self._label_of(changes)
        _check(owner)
        if owner is not None and label and owner.passes(f"{_BEFORE}{label}"):
            raise asyncio.CancelledError
        self.flush()
        await super().append(changes)
        if owner is not None and label and owner.passes(f"after {label}"):
            raise asyncio.CancelledError

    def append_soon(self, change: Change) -> None:
        """See `MemoryStore.append_soon`; it is lost if the process dies before anything else."""
        owner = process.get()
        if owner is None or not owner.is_dead:
            self._label_of((change,))
            self._soon.append(change)

    async def find(self, arn: str) -> Stored | None:
        """See `MemoryStore.find`."""
        owner = process.get()
        if owner is None or not owner.is_dead:
            self.flush()
        return await super().find(arn)

    def flush(self) -> None:
        """Write what nobody waits for."""
        changes, self._soon = self._soon, []
        for change in changes:
            super().append_soon(change)

    def settle_death(self, life: Process) -> None:
        """Write or lose what nobody waited for, by where the process has died."""
        if life.points[-1].startswith(_BEFORE):
            self._soon.clear()
        self.flush()

    def path_of(self, arn: str, operation_id: str) -> str:
        """Give the names on the way to an operation; those of another function's after its name."""
        return self._paths.get((arn, operation_id), operation_id[:6])

    def _label_of(self, changes: Sequence[Change]) -> str:
        """Say what a worker's changes are about; nothing for those from outside."""
        label = ""
        for change in changes:
            facts = [decode_fact(fact) for fact in change.facts]
            for fact in facts:
                self._learn(change.arn, fact)
            if change.claim_epoch is not None and facts:
                label = self._said_of(change.arn, facts[-1])
        return label

    def _learn(self, arn: str, fact: Fact) -> None:
        if isinstance(fact, OperationStarted):
            above = "" if fact.parent_id is None else f"{self.path_of(arn, fact.parent_id)}/"
            if not above and arn != self._root:
                above = f"{title_of(arn).partition('/')[0]}:"
            self._paths[arn, fact.id] = above + (fact.name or fact.id[:6])
        elif isinstance(fact, StepFailed | StepRetried) and _is_interruption(fact.error):
            self.interrupted.add((arn, fact.id))

    def _said_of(self, arn: str, fact: Any) -> str:
        verb, operation_id = type(fact).__name__, getattr(fact, "id", None)
        return f"{self.path_of(arn, operation_id)} {verb}" if operation_id else verb


def _is_interruption(error: ErrorObject | None) -> bool:
    return error is not None and error.error_type == _INTERRUPTED


def _check(owner: Process | None) -> None:
    """Do nothing more for a process that is dead."""
    if owner is not None and owner.is_dead:
        raise asyncio.CancelledError
