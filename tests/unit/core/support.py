"""Programs driven by hand: records in, effects out."""

from datetime import UTC, datetime
from typing import Any

import pytest

from durably.core.effects import Effect, Persist, Program
from durably.core.ids import hash_id
from durably.core.journal import Journal
from durably.core.op import Op
from durably.core.scope import Scope
from durably.wire.base import Timestamp
from durably.wire.operation import Operation, OperationStatus, OperationSubType, OperationType
from durably.wire.update import OperationUpdate

ARN = "arn:aws:lambda:local:000000000000:function:f:$LATEST/durable-execution/e/1"
NOW = Timestamp.of(datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
LATER = Timestamp.of(datetime(2026, 11, 22, 12, 5, tzinfo=UTC))


def an_op(
    type_: OperationType = OperationType.STEP,
    sub_type: str = OperationSubType.STEP,
    *,
    step_id: str = "1",
    name: str | None = "work",
    parent_id: str | None = None,
) -> Op:
    return Op(hash_id(step_id), step_id, parent_id, name, type_, sub_type)


STEP = an_op()
CONTEXT = an_op(OperationType.CONTEXT, OperationSubType.RUN_IN_CHILD_CONTEXT)


def record(op: Op, status: OperationStatus, **details: Any) -> Operation:
    return Operation(
        id=op.id,
        type=op.type,
        status=status,
        parent_id=op.parent_id,
        name=op.name,
        sub_type=op.sub_type,
        **details,
    )


def journal_of(*records: Operation) -> Journal:
    return Journal(ARN, records)


def scope_of(*records: Operation) -> Scope:
    return Scope(journal_of(*records), NOW)


def must_not_run(*_: object) -> Any:
    pytest.fail("this must not run")


def result_of(program: Program[Any]) -> Any:
    """Give the result of a program that asks for nothing more."""
    with pytest.raises(StopIteration) as end:
        pytest.fail(f"the program asked for {program.send(None)}")
    return end.value.value


class ByHand:
    """Drives one program: what it persists is accepted, and recorded as it was sent.

    Attributes:
        replies: what the backend says, by operation id, instead of nothing.
    """

    def __init__(self, journal: Journal, program: Program[Any]) -> None:
        self.journal = journal
        self.program = program
        self.sent: list[OperationUpdate] = []
        self.replies: dict[str, tuple[Operation, ...]] = {}
        self.waited: list[bool] = []

    def until_asked(self, answer: Any = None) -> Effect:
        """Go on to the first effect that is not to persist something."""
        while True:
            effect = self.program.send(answer)
            answer = None
            if not isinstance(effect, Persist):
                return effect
            self.sent.append(effect.update)
            self.waited.append(effect.wait)
            self.journal.take_reply(self.replies.pop(effect.update.id, ()), (effect.update,))

    def to_end(self, answer: Any = None) -> Any:
        """Go on to the end, and give the result."""
        with pytest.raises(StopIteration) as end:
            pytest.fail(f"the program asked for {self.until_asked(answer)}")
        return end.value.value

    @property
    def last(self) -> OperationUpdate:
        """Give what was sent last."""
        return self.sent[-1]
