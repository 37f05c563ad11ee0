"""A chained invoke: another durable function, called as an execution of its own."""

from __future__ import annotations

from typing import Any, TypeVar

from durably.core.effects import Park, Persist, Program
from durably.core.journal import Journal, error_of, result_of
from durably.core.op import Op
from durably.core.operations.values import unseal, write
from durably.errors import InvokeError
from durably.serdes import Serdes
from durably.wire.operation import OperationStatus
from durably.wire.update import ChainedInvokeOptions

T = TypeVar("T")


def invoke(
    journal: Journal,
    op: Op,
    options: ChainedInvokeOptions,
    payload: object,
    serdes: tuple[Serdes[Any], Serdes[T]],
) -> Program[T]:
    """Have the target started once, then sleep until it has ended."""
    payload_serdes, result_serdes = serdes
    while True:
        record = journal.find(op.id)
        if record is None:
            text = write(payload_serdes, payload, op, journal)
            journal.begin(op)
            yield Persist(op.start(payload=text, chained_invoke_options=options), wait=True)
            continue
        match record.status:
            case OperationStatus.SUCCEEDED:
                return unseal(result_serdes, result_of(record), op, journal)
            case OperationStatus.STARTED:
                yield Park(op)
            case _:
                raise InvokeError.from_wire(str(op), error_of(record))
