"""One invocation, as the service sees it: what it is given, what it sends, what it is told."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from durably.engine.arns import parse_execution_arn
from durably.engine.commands import (
    BeginInvocation,
    Checkpoint,
    EndInvocation,
    FailInvocation,
    Surroundings,
)
from durably.engine.execution import (
    Execution,
    changed_since,
    readable_operations,
    updated_operation_ids,
)
from durably.engine.journals import Journals
from durably.engine.paging import page_of
from durably.engine.rules import INVALID_TOKEN, LOST_TYPE, UNRECORDED
from durably.engine.store import Claim, VersionConflict
from durably.engine.tips import Push, Tip
from durably.errors import InvalidParameterValueException, ResourceNotFoundException
from durably.wire.api import CheckpointResponse, GetExecutionStateResponse
from durably.wire.arns import title_of
from durably.wire.base import encode_invocation
from durably.wire.invocation import ExecutionState, InvocationInput, InvocationOutput
from durably.wire.operation import ErrorObject, Operation, OperationType
from durably.wire.update import OperationUpdate

log = logging.getLogger("durably.engine")

_WRITTEN_AT_ONCE = (OperationType.EXECUTION, OperationType.CHAINED_INVOKE)


class Listener(Protocol):
    """Whoever wants to be told."""

    def __call__(self, operations: Sequence[Operation], /) -> bool:
        """Take note of operations that have changed from outside.

        `False`: the invocation ends anyway, and what it is told does not count.
        """
        ...


class Session:
    """One invocation under one claim of this process.

    An invocation in this process calls `checkpoint` and `post`, and is told by its listener. One
    that is handed out comes in with tokens, through the service; of this it uses only the end.

    Attributes:
        epoch: the claim.
        request_id: what the history calls it.
        token: its first checkpoint token.
        is_over: whether it has lost its authority, or given it up.
    """

    __slots__ = (
        "_heard",
        "_is_handed_out",
        "_journals",
        "_listener",
        "_operations",
        "_surroundings",
        "_tip",
        "_told",
        "_undelivered",
        "_updated",
        "epoch",
        "is_over",
        "request_id",
        "token",
    )

    def __init__(
        self, journals: Journals, tip: Tip, token: str, surroundings: Surroundings
    ) -> None:
        self._journals = journals
        self._tip = tip
        self._surroundings = surroundings
        self._listener: Listener | None = None
        self._is_handed_out = False
        self._undelivered: deque[Push] = deque()
        self._operations = readable_operations(tip.execution)
        self._updated = updated_operation_ids(tip.execution)
        self._told = self._heard = len(tip.execution.changes)
        invocation = tip.execution.invocation
        assert invocation is not None, "it has just begun"
        self.epoch = invocation.epoch
        self.request_id = invocation.request_id
        self.token = token
        self.is_over = False

    @property
    def arn(self) -> str:
        """The execution."""
        return self._tip.execution.arn

    @property
    def function_name(self) -> str:
        """The function to call."""
        return self._tip.execution.start.function_name

    @property
    def tenant_id(self) -> str | None:
        """The tenant it is called for."""
        return self._tip.execution.start.tenant_id

    @property
    def trace_id(self) -> str | None:
        """The trace it belongs to."""
        return self._tip.execution.start.trace_id

    @property
    def function_arn(self) -> str:
        """The arn of the function to call, with its version."""
        return parse_execution_arn(self.arn).function_arn

    @property
    def input_payload(self) -> str | None:
        """What the execution was started with, as JSON text."""
        return self._tip.execution.start.input_payload

    def input(self) -> InvocationInput:
        """Give what a handler in this process is called with: the state as it was at the begin."""
        return self._input(len(self._operations))

    def hand_out(self) -> bytes | None:
        """Give what a handler elsewhere is sent: a large state only as its first page.

        From here on, nothing but its checkpoints tells what it has seen. `None` when the
        invocation is over, and no handler may be called any more.
        """
        if self.is_over:
            return None
        self._is_handed_out = True
        return encode_invocation(self._input(page_of(self._operations)))

    def _input(self, page: int) -> InvocationInput:
        execution, operations = self._tip.execution, self._operations
        has_more = page < len(operations)
        state = ExecutionState(
            operations=tuple(operations[:page]),
            next_marker=str(execution.places[operations[page].id]) if has_more else None,
        )
        return InvocationInput(
            durable_execution_arn=execution.arn,
            checkpoint_token=self.token,
            initial_execution_state=state,
            updated_operation_ids=self._updated or None,
        )

    async def checkpoint(self, updates: tuple[OperationUpdate, ...]) -> CheckpointResponse:
        """Accept *updates* together; return what has changed when that is durable.

        Raises:
            InvalidParameterValueException: refused, or this invocation has no authority any more.
            StoreError: they could not be written.
        """
        if self.is_over:
            raise InvalidParameterValueException(INVALID_TOKEN)
        tip = self._tip
        command = Checkpoint(self.epoch, updates, self._surroundings)
        try:
            if updates and updates[-1].type is OperationType.EXECUTION:
                await self._journals.ask_tip(tip, command, self.epoch)
                return CheckpointResponse()
            plan = self._journals.plan(tip, command, self.epoch)
            push = self._capture()
            await self._journals.write(plan)
        except VersionConflict as error:
            raise InvalidParameterValueException(INVALID_TOKEN) from error
        is_news = self._is_next(push)
        self._heard = max(self._heard, push.mark)
        return CheckpointResponse(
            checkpoint_token=self.token if self._has_authority() else None,
            new_execution_state=ExecutionState(operations=push.operations if is_news else ()),
        )

    def _has_authority(self) -> bool:
        return not self.is_over and self._tip.execution.is_listening

    def post(self, update: OperationUpdate) -> None:
        """Accept *update*, to be durable soon. A failure shows at the next checkpoint.

        Only for what starts or ends no execution.

        Raises:
            InvalidParameterValueException: refused, or this invocation has no authority any more.
        """
        assert update.type not in _WRITTEN_AT_ONCE, "it starts or ends an execution"
        if self.is_over:
            raise InvalidParameterValueException(INVALID_TOKEN)
        command = Checkpoint(self.epoch, (update,), self._surroundings)
        self._journals.post(self._tip, command, self.epoch)

    def state(self, marker: str | None, max_items: int) -> GetExecutionStateResponse:
        """Give one page of the state."""
        return state_page(self._tip.execution, marker, max_items)

    def listen(self, listener: Listener) -> None:
        """Tell *listener* what changes from outside from now on, and what has until now."""
        self._listener = listener
        if self._told < len(self._tip.execution.changes) and not self._tip.writing:
            self.tell(self._capture())

    def capture(self) -> Push:
        """See `Audience.capture`. What nobody listens for is left for the next reply."""
        return Push((), 0) if self._listener is None else self._capture()

    def _capture(self) -> Push:
        execution = self._tip.execution
        operations = changed_since(execution, self._told)
        self._told = len(execution.changes)
        push = Push(operations, self._told)
        self._undelivered.append(push)
        return push

    def tell(self, push: Push) -> None:
        """See `Audience.tell`. What is not taken note of owes another invocation at the end."""
        if self._is_next(push):
            self._tell(push)
        elif not push.mark and self._listener is not None:
            self.listen(self._listener)  # it was decided when nobody listened, and is durable now

    def _tell(self, push: Push) -> None:
        if push.operations and self._listener is not None and self._listener(push.operations):
            self._heard = max(self._heard, push.mark)

    def _is_next(self, push: Push) -> bool:
        """Whether *push*, which is durable now, is still to be delivered; have those before told.

        Whoever waits for an earlier one may be woken later. It is durable, too, and must not
        undo in the invocation's eyes what this one says.
        """
        if all(one is not push for one in self._undelivered):
            return False
        while (earlier := self._undelivered.popleft()) is not push:
            self._tell(earlier)
        return True

    def release(self) -> None:
        """See `Audience.release`."""
        self.is_over = True

    async def end(self, output: InvocationOutput) -> None:
        """Take the handler's answer.

        Raises:
            StoreError: it could not be written; the claim will run out.
        """
        seen = None if self._is_handed_out else self._heard
        await self._finish(EndInvocation(self.epoch, output, seen))

    async def fail(self, error: ErrorObject, *, is_counted: bool = True) -> None:
        """Take that there is no answer; raises as `end` does."""
        await self._finish(FailInvocation(self.epoch, error, is_counted))

    async def _finish(self, command: EndInvocation | FailInvocation) -> None:
        if self._tip.failure is not None:
            # Something that it rests on may not have been written: only that it ended is said. It
            # counts as a failure only where the invocation before it was lost, too.
            lost = ErrorObject(error_type=LOST_TYPE, error_message=str(self._tip.failure))
            command = FailInvocation(self.epoch, lost, is_counted=False)
        elif self.is_over:
            return  # it was ended from outside, and its claim given up with that
        anew = command
        if isinstance(command, EndInvocation) and command.seen is not None:
            # In a state that somebody else has changed, that number does not mean the same.
            anew = replace(command, seen=0)
        try:
            await self._journals.ask(self.arn, command, self.epoch, if_overtaken=anew)
        except VersionConflict:
            return  # the claim is lost, and with it whatever this invocation had to say
        finally:
            self.is_over = True


async def begin_session(
    journals: Journals,
    claim: Claim,
    command: BeginInvocation,
    token: str,
    surroundings: Surroundings,
) -> Session | None:
    """Begin an invocation under *claim*, if one is owed; otherwise give the claim up.

    That it has begun is written with its first checkpoint: the claim is durable already, and if
    nothing more comes, whoever takes it over is told of a lost invocation. All else that it is
    told of is durable.

    Raises:
        VersionConflict: the claim does not stand any more.
    """
    while True:
        tip = await journals.pin(claim.arn)
        try:
            _end_earlier(tip)
            await journals.ask_tip(tip, command, claim.epoch, is_soon=True)
            await journals.settle(tip)
            invocation = tip.execution.invocation
            if invocation is None or invocation.epoch != claim.epoch:
                _log_damage(tip)
                return None
            session = Session(journals, tip, token, surroundings)
            journals.open_session(tip, session)
        except VersionConflict:
            if not await journals.is_claimed_under(claim.arn, claim.epoch):
                raise
        else:
            return session
        finally:
            journals.unpin(tip)


def _log_damage(tip: Tip) -> None:
    execution = tip.execution
    if execution.damage is not None:
        arn = execution.arn
        log.error("%s was parked: %s", title_of(arn), execution.damage, extra={"executionArn": arn})


async def give_back(journals: Journals, claim: Claim) -> None:
    """Give up a claim without an answer, whatever was begun under it; it is due again at once.

    Raises:
        StoreError: it could not be written; the claim stands.
    """
    lost = ErrorObject(error_type=LOST_TYPE, error_message=UNRECORDED)
    command = FailInvocation(claim.epoch, lost, is_counted=False)
    with suppress(ResourceNotFoundException, VersionConflict):  # it is gone, or somebody else's
        await journals.ask(claim.arn, command, claim.epoch)


def _end_earlier(tip: Tip) -> None:
    """End an invocation that still runs here though its lease ran out: this claim counts."""
    if tip.session is not None:
        tip.session.release()
        tip.session = None


def state_page(
    execution: Execution, marker: str | None, max_items: int
) -> GetExecutionStateResponse:
    """Give one page of the operations of an execution, those that a replay needs.

    Raises:
        InvalidParameterValueException: *marker* is not one that was given.
    """
    places = execution.places
    first = _place_of(marker, len(execution.operations))
    operations = [one for one in readable_operations(execution) if places[one.id] >= first]
    page = page_of(operations, max_items)
    has_more = page < len(operations)
    return GetExecutionStateResponse(
        operations=tuple(operations[:page]),
        next_marker=str(places[operations[page].id]) if has_more else None,
    )


def _place_of(marker: str | None, count: int) -> int:
    if not marker:
        return 0
    if marker.isascii() and marker.isdigit() and len(marker) <= len(str(count)):
        place = int(marker)
        if 0 < place < count:
            return place
    raise InvalidParameterValueException("Marker is not one that this state has given.")
