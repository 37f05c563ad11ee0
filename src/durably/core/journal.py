"""What this invocation knows of each operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from msgspec.structs import replace

from durably.core.op import Op
from durably.errors import NonDeterministicExecutionError
from durably.wire.operation import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    ErrorObject,
    Operation,
    OperationStatus,
    OperationType,
    StepDetails,
)
from durably.wire.update import OperationAction, OperationUpdate

_STATUS_AFTER = {
    OperationAction.START: OperationStatus.STARTED,
    OperationAction.SUCCEED: OperationStatus.SUCCEEDED,
    OperationAction.FAIL: OperationStatus.FAILED,
    OperationAction.RETRY: OperationStatus.PENDING,
    OperationAction.CANCEL: OperationStatus.CANCELLED,
}
_OUTSIDE = (OperationType.WAIT, OperationType.CALLBACK, OperationType.CHAINED_INVOKE)


class Journal:
    """The records of one execution, as far as this invocation has heard of them.

    It has one owner, the driver: programs read it, and only replies of the backend and the
    driver's own beginnings change it.

    Attributes:
        changes: how often something outside has changed a record; grows with each.
    """

    __slots__ = ("_began", "_records", "arn", "changes")

    def __init__(self, arn: str, operations: Iterable[Operation]) -> None:
        self.arn = arn
        self._records = {operation.id: operation for operation in operations}
        self._began: set[str] = set()
        self.changes = 0

    def __contains__(self, operation_id: str) -> bool:
        return operation_id in self._records

    @property
    def records(self) -> Mapping[str, Operation]:
        """Every record by operation id, in the order they became known."""
        return self._records

    def snapshot(self) -> Mapping[str, Operation]:
        """Give `records` as they are now. Nothing changes them any more."""
        return MappingProxyType(self._records.copy())

    def has_outstanding(self) -> bool:
        """Whether anything is recorded that an invocation may end for as PENDING."""
        return any(is_outstanding(record) for record in reversed(self._records.values()))

    def find(self, operation_id: str) -> Operation | None:
        """Give the record of an operation, `None` while it has none."""
        return self._records.get(operation_id)

    def check(self, op: Op) -> Operation | None:
        """Give the record of *op* if it was recorded by the same call of the same program.

        Raises:
            NonDeterministicExecutionError: the record is another operation's. The recorded data
                is not handed out.
        """
        record = self._records.get(op.id)
        if record is None or (
            record.type == op.type
            and record.name == op.name
            and record.sub_type == op.sub_type
            and record.parent_id == op.parent_id
        ):
            return record
        raise NonDeterministicExecutionError(_difference(op, record), operation_id=op.id)

    def begin(self, op: Op) -> None:
        """Note that this invocation has sent the START of *op*."""
        self._began.add(op.id)
        known = self._records.get(op.id)
        if known is None:
            self._records[op.id] = Operation(
                id=op.id,
                type=op.type,
                status=OperationStatus.STARTED,
                parent_id=op.parent_id,
                name=op.name,
                sub_type=op.sub_type,
            )
        else:
            self._records[op.id] = replace(known, status=OperationStatus.STARTED)

    def began_here(self, op: Op) -> bool:
        """Whether the latest START of *op* was sent by this invocation."""
        return op.id in self._began

    def merge(self, operations: Iterable[Operation]) -> list[Operation]:
        """Take over what the backend says; give the records that really changed.

        What is terminal stays as it is: nothing that arrives late can open it again.

        Raises:
            NonDeterministicExecutionError: what it says of an operation is another one's.
        """
        changed: list[Operation] = []
        for operation in operations:
            known = self._records.get(operation.id)
            if known is None or (known != operation and not known.is_terminal):
                if known is not None and known.type != operation.type:
                    text = _MIXED_UP.format(known.id, known.type, operation.type)
                    raise NonDeterministicExecutionError(text, operation_id=known.id)
                self._records[operation.id] = operation
                changed.append(operation)
        self.changes += len(changed)
        return changed

    def take_reply(
        self, operations: Sequence[Operation], accepted: Sequence[OperationUpdate]
    ) -> list[Operation]:
        """Take over the reply to a checkpoint of *accepted*; give the records that changed.

        Raises:
            NonDeterministicExecutionError: it tells of another operation than was sent.
        """
        changed = self.merge(operations)
        if accepted:
            told = {operation.id for operation in operations}
            # What closes the execution is no operation of its own.
            told |= {update.id for update in accepted if update.type is OperationType.EXECUTION}
            settled = [self._settle(update) for update in accepted if update.id not in told]
            changed += [record for record in settled if record is not None]
        return changed

    def _settle(self, update: OperationUpdate) -> Operation | None:
        """Apply an accepted update that the backend's reply did not mention.

        A reply holds every operation that was touched, so this is only for
        stand-ins that answer with less. When it ended is not known then: the time of the context
        stays where it was, and a replay over a full state may be told a later one.
        """
        known = self._records.get(update.id)
        status = _STATUS_AFTER[update.action]
        if known is not None and (known.is_terminal or known.status is status):
            return None
        settled = replace(known or _unrecorded(update), status=status)
        if update.action is not OperationAction.START:
            settled = replace(
                settled,
                step_details=_step_details(update, known),
                context_details=_context_details(update),
            )
        self._records[update.id] = settled
        self.changes += 1
        return settled


def _unrecorded(update: OperationUpdate) -> Operation:
    return Operation(
        id=update.id,
        type=update.type,
        status=OperationStatus.STARTED,
        parent_id=update.parent_id,
        name=update.name,
        sub_type=update.sub_type,
    )


def _step_details(update: OperationUpdate, record: Operation | None) -> StepDetails | None:
    if update.type != OperationType.STEP:
        return None
    finished = attempts_of(record)
    return StepDetails(attempt=finished + 1, result=update.payload, error=update.error)


def _context_details(update: OperationUpdate) -> ContextDetails | None:
    if update.type != OperationType.CONTEXT:
        return None
    options = update.context_options
    return ContextDetails(
        replay_children=options is not None and options.replay_children,
        result=update.payload,
        error=update.error,
    )


def attempts_of(record: Operation | None) -> int:
    """Count the finished attempts of a step."""
    if record is None or record.step_details is None:
        return 0
    return record.step_details.attempt


def due_at(record: Operation) -> datetime | None:
    """Say when the backend will change a record by itself, `None` when it has not said."""
    if record.step_details is not None:
        return record.step_details.next_attempt_timestamp
    if record.wait_details is not None:
        return record.wait_details.scheduled_end_timestamp
    if record.callback_details is not None:
        return record.callback_details.scheduled_timeout_timestamp
    return None


def is_outstanding(record: Operation) -> bool:
    """Whether something outside will change a record: it is what an invocation may wait for."""
    if record.type is OperationType.STEP:
        return record.status is OperationStatus.PENDING
    return record.type in _OUTSIDE and record.status is OperationStatus.STARTED


def result_of(record: Operation) -> str | None:
    """Give the recorded result of an operation of any type."""
    details = _details(record)
    return None if details is None else details.result


def error_of(record: Operation) -> ErrorObject | None:
    """Give the recorded error of an operation of any type."""
    details = _details(record)
    return None if details is None else details.error


def _details(
    record: Operation,
) -> StepDetails | ContextDetails | CallbackDetails | ChainedInvokeDetails | None:
    return (
        record.step_details
        or record.context_details
        or record.callback_details
        or record.chained_invoke_details
    )


_MIXED_UP = (
    "operation {} is a {} here, and the backend tells of a {}: what it says is of another "
    "execution, or of other code than this"
)


def _difference(op: Op, record: Operation) -> str:
    pairs = (
        ("type", record.type, op.type),
        ("subtype", record.sub_type, op.sub_type),
        ("name", record.name, op.name),
        ("parent", record.parent_id, op.parent_id),
    )
    said = "; ".join(
        f"its {what} was recorded as {recorded!s}, and the code now asks for {now!s}"
        for what, recorded, now in pairs
        if recorded != now
    )
    return (
        f"operation {op.id} (number {op.step_id} of the program) is not the one that was "
        f"recorded: {said}. Code that executions under way have run must keep the order, types "
        f"and names of its operations"
    )
