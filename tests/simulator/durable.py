"""Which requests a write makes durable.

That is seen by what it records, not by who has it written: what one request asked for may be
written in the course of another, and whoever asked may be gone by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from durably.engine.facts import AnyFact, CheckpointAccepted, decode_fact
from durably.engine.store import Change
from durably.wire.operation import OperationType
from durably.wire.update import OperationAction, OperationUpdate
from tests.simulator.stage import Attempted, Stage


def noting(stage: Stage, changes: Sequence[Change], note: Callable[[], None]) -> Callable[[], None]:
    """Give what to call when a write is durable: whatever it was asked for is accepted then."""

    def accept() -> None:
        note()
        for change in changes:
            if change.claim_epoch is not None and stage.asked[change.arn]:
                _accept(stage, change)

    return accept


def _accept(stage: Stage, change: Change) -> None:
    facts = [decode_fact(fact) for fact in change.facts]
    for write in tuple(stage.asked[change.arn]):
        if write.epoch == change.claim_epoch and _is_recorded(write, facts):
            write.accept(stage.trace.tick())
            stage.asked[change.arn].remove(write)


def _is_recorded(write: Attempted, facts: Iterable[AnyFact]) -> bool:
    if write.token_in:
        tokens = {one.client_token for one in facts if isinstance(one, CheckpointAccepted)}
        return write.client_token in tokens
    recorded = {(getattr(one, "id", ""), type(one).__name__) for one in facts}
    return bool(write.updates) and all(_fact_of(one) in recorded for one in write.updates)


def _fact_of(update: OperationUpdate) -> tuple[str, str]:
    kind = _KINDS[update.type] + _ENDINGS[update.action]
    return ("" if update.type is OperationType.EXECUTION else update.id), kind


_KINDS = {
    OperationType.EXECUTION: "Execution",
    OperationType.CONTEXT: "Context",
    OperationType.STEP: "Step",
    OperationType.WAIT: "Wait",
    OperationType.CALLBACK: "Callback",
    OperationType.CHAINED_INVOKE: "ChainedInvoke",
}
_ENDINGS = {
    OperationAction.START: "Started",
    OperationAction.SUCCEED: "Succeeded",
    OperationAction.FAIL: "Failed",
    OperationAction.RETRY: "Retried",
    OperationAction.CANCEL: "Cancelled",
}
