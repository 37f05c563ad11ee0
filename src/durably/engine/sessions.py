"""One invocation, as the service sees it: what it is given, what it sends, what it is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from durably.engine.ahead import Ahead, Said
from durably.engine.arns import parse_execution_arn
from durably.engine.commands import (
    BeginInvocation,
    Checkpoint,
    Command,
    EndInvocation,
    FailInvocation,
    Surroundings,
)
from durably.engine.execution import readable_operations, updated_operation_ids
from durably.engine.journals import Journals
from durably.engine.news import NOTHING, News
from durably.engine.paging import first_page, page_of, state_page
from durably.engine.pins import pin_latest
from durably.engine.rules import INVALID_TOKEN
from durably.engine.sharing import look_around
from durably.engine.store import Transaction, VersionConflict
from durably.engine.tips import Listener, Push, Tip
from durably.errors import (
    ApiError,
    InvalidParameterValueException,
    ResourceNotFoundException,
    StoreError,
)
from durably.wire.api import CheckpointResponse, GetExecutionStateResponse
from durably.wire.base import encode_invocation
from durably.wire.invocation import ExecutionState, InvocationInput, InvocationOutput
from durably.wire.operation import ErrorObject, OperationType
from durably.wire.update import OperationUpdate

_WRITTEN_AT_ONCE = (OperationType.EXECUTION, OperationType.CHAINED_INVOKE)


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
        "_ahead",
        "_failure",
        "_is_handed_out",
        "_journals",
        "_news",
        "_operations",
        "_surroundings",
        "_tip",
        "_updated",
        "epoch",
        "is_over",
        "request_id",
        "token",
    )

    def __init__(
        self,
        journals: Journals,
        tip: Tip,
        begin: BeginInvocation,
        token: str,
        surroundings: Surroundings,
    ) -> None:
        self._journals = journals
        self._tip = tip
        self._ahead = Ahead() if journals.is_shared else None
        self._failure: StoreError | None = None
        self._surroundings = surroundings
        self._is_handed_out = False
        self._operations = readable_operations(tip.execution)
        self._updated = updated_operation_ids(tip.execution)
        self._news = News(len(tip.execution.changes))
        self._say(begin, is_awaited=False)  # it is written with what it says first, or soon
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

    async def make_known(self) -> None:
        """Return when other processes know that it has begun: its token may come to them."""
        await self._journals.make_known()

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
        return InvocationInput(
            durable_execution_arn=self.arn,
            checkpoint_token=self.token,
            initial_execution_state=first_page(self._tip.execution, self._operations, page),
            updated_operation_ids=self._updated or None,
        )

    async def checkpoint(
        self, updates: tuple[OperationUpdate, ...], transaction: Transaction[object] | None = None
    ) -> CheckpointResponse:
        """Accept *updates* together, or in vain if *transaction* is; return what has changed then.

        Raises:
            InvalidParameterValueException: refused, or this invocation has no authority any more.
            StoreError: they could not be written.
        """
        if self.is_over:
            raise InvalidParameterValueException(INVALID_TOKEN)
        if self._ahead is not None:
            await look_around(self._surroundings, updates)
        command = Checkpoint(self.epoch, updates, self._surroundings)
        said = self._say(command, is_awaited=True, is_once=transaction is not None)
        settle = None if said is None else said.settle
        try:
            self._check_turn()
            if updates and updates[-1].type is OperationType.EXECUTION:
                await self._journals.ask_tip(self._tip, command, self.epoch, on_durable=settle)
                return CheckpointResponse()
            plan = self._journals.plan(self._tip, command, self.epoch)
            plan.on_durable = settle
            push = self._news.capture(self._tip.execution)
            await self._journals.write(plan, transaction)
        except VersionConflict as error:
            push = await self._say_again(said, error)
        except ApiError:
            if said is not None:
                said.withdraw()
            raise
        return await self._reply(push)

    async def _reply(self, push: Push) -> CheckpointResponse:
        is_news = self._news.tell_before(push)
        if not is_news:
            await self._catch_up()  # the listener has been told, or is told by the end of it
        self._news.hear(push.mark)
        has_authority = not self.is_over and self._tip.execution.is_listening
        return CheckpointResponse(
            checkpoint_token=self.token if has_authority else None,
            new_execution_state=ExecutionState(operations=push.operations if is_news else ()),
        )

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
        said = self._say(command, is_awaited=False)
        try:
            self._check_turn()
            self._journals.post(self._tip, command, self.epoch)
        except VersionConflict as error:
            if said is None:
                raise InvalidParameterValueException(INVALID_TOKEN) from error
        except ApiError:
            if said is not None:
                said.withdraw()
            raise

    def state(self, marker: str | None, max_items: int) -> GetExecutionStateResponse:
        """Give one page of the state."""
        return state_page(self._tip.execution, marker, max_items)

    def listen(self, listener: Listener) -> None:
        """Tell *listener* what changes from outside from now on, and what has until now."""
        self._news.listener = listener
        if self._tip.is_durable and self._news.are_there(self._tip.execution):
            self.tell(self.capture())

    def capture(self) -> Push:
        """See `Audience.capture`. What nobody listens for is left for the next reply."""
        return NOTHING if self._news.listener is None else self._news.capture(self._tip.execution)

    def tell(self, push: Push) -> None:
        """See `Audience.tell`. What is not taken note of owes another invocation at the end."""
        if self._news.tell_before(push):
            self._news.tell(push)
        elif push is NOTHING and self._news.listener is not None:
            self.listen(self._news.listener)  # decided when nobody listened, and durable now

    def release(self) -> None:
        """See `Audience.release`."""
        self.is_over = True

    def lose(self, failure: BaseException) -> None:
        """See `Audience.lose`. Where somebody else was first, what was said is said again."""
        if self._ahead is None or not isinstance(failure, VersionConflict):
            self.release()
        else:
            self._journals.background.spawn(self._catch_up())

    # Where other processes write, too: see `ahead.py`

    def _say(self, command: Command, **how: bool) -> Said | None:
        return None if self._ahead is None else self._ahead.note(command, **how)

    def _check_turn(self) -> None:
        """Check that nothing that was said before is being said again: that comes first.

        Raises:
            VersionConflict: it is; whatever has been noted is said with it.
        """
        if self._ahead is not None and self._ahead.is_behind:
            raise VersionConflict(self.arn)

    async def _say_again(self, said: Said | None, conflict: VersionConflict) -> Push:
        """Have *said* decided anew, and give what has changed by now.

        Raises:
            InvalidParameterValueException: the claim is lost, or it was refused.
            StoreError: nobody knows what becomes of it.
        """
        if said is not None and not said.is_once:
            self.is_over = False  # if it was released, then by an end that did not come to be
        await self._catch_up()
        if said is None or said.is_open or (said.is_once and self.is_over):
            if self._failure is not None:
                raise self._failure
            raise InvalidParameterValueException(INVALID_TOKEN) from conflict
        if said.error is not None:
            raise said.error
        with suppress(VersionConflict):  # then what comes of that is told in its turn
            await self._tip.settle()
            return self._news.capture(self._tip.execution)
        return NOTHING

    async def _catch_up(self) -> None:
        """Go on from what the execution is now, and say again what was not written."""
        if self._ahead is None:
            return
        async with self._ahead.turn:
            while self._tip.is_overtaken and not self.is_over:
                try:
                    await self._rejoin(self._ahead)
                except VersionConflict:
                    continue  # somebody was first once more
                except ResourceNotFoundException:
                    self.is_over = True
                except StoreError as error:
                    self.is_over, self._failure = True, error
        if isinstance(self._tip.failure, StoreError):  # nobody knows what was written
            self.is_over, self._failure = True, self._tip.failure

    async def _rejoin(self, ahead: Ahead) -> None:
        with suppress(VersionConflict):
            await self._tip.settle()  # of what is being written, nobody knows whether it will be
        if not self._tip.is_overtaken:
            return  # and of some of it, nobody ever will
        tip = await pin_latest(self._journals, self.arn)
        try:
            if not await self._journals.is_claimed_under(self.arn, self.epoch):
                self.is_over = True
                return
            self._tip = tip
            self._news.go_back()
            self._journals.open_session(tip, self)
            ahead.is_behind = True
            await tip.settle()  # somebody else may be changing it
            while (said := ahead.first()) is not None:
                await self._decide_anew(said)
                await tip.settle()
            ahead.is_behind = False
            self.tell(self.capture())
        except asyncio.CancelledError:
            self._journals.drop(tip, VersionConflict(self.arn))  # the rest is said by another task
            raise
        finally:
            ahead.is_behind = False
            self._journals.unpin(tip)

    async def _decide_anew(self, said: Said) -> None:
        """Say once more what was not written, and note if it is refused now.

        Raises:
            VersionConflict: somebody was first once more.
            StoreError: it could not be written, or nobody knows.
        """
        if said.is_once:
            said.settle()
            return
        if isinstance(said.command, Checkpoint):
            await look_around(self._surroundings, said.command.updates)
        try:
            await self._journals.ask_tip(
                self._tip, said.command, self.epoch, on_durable=said.settle
            )
        except ApiError as refusal:
            said.error = refusal
            said.withdraw()

    async def end(self, output: InvocationOutput) -> None:
        """Take the handler's answer.

        Raises:
            StoreError: it could not be written; the claim will run out.
        """
        seen = None if self._is_handed_out else self._news.heard
        await self._finish(EndInvocation(self.epoch, output, seen))

    async def fail(self, error: ErrorObject, *, is_counted: bool = True) -> None:
        """Take that there is no answer; raises as `end` does."""
        await self._finish(FailInvocation(self.epoch, error, is_counted))

    async def _finish(self, command: EndInvocation | FailInvocation) -> None:
        await self._catch_up()
        is_broken = not (self._tip.failure is None or self._tip.is_overtaken)
        if self._tip.failure is not None:
            # Something that it rests on may not have been written: only that it ended is said.
            command = FailInvocation.lost(self.epoch, self.request_id, str(self._tip.failure))
        elif self.is_over:
            return  # it was ended from outside, and its claim given up with that
        anew = command
        if isinstance(command, EndInvocation) and command.seen is not None:
            # In a state that somebody else has changed, that number does not mean the same.
            anew = replace(command, seen=0)
        said = None if is_broken else self._say(anew, is_awaited=True)
        try:
            if said is None:
                await self._journals.ask(self.arn, command, self.epoch, if_overtaken=anew)
            else:
                await self._finish_among_others(command)
        except VersionConflict:
            return  # the claim is lost, and with it whatever this invocation had to say
        finally:
            self.is_over = True

    async def _finish_among_others(self, command: EndInvocation | FailInvocation) -> None:
        tip = self._tip
        tip.pins += 1
        try:
            await self._journals.ask_tip(tip, command, self.epoch)
        except VersionConflict:
            self.is_over, self._failure = False, None  # released by an end that did not come to be
            await self._catch_up()
            if self._failure is not None:
                raise self._failure from None
        finally:
            self._journals.unpin(tip)
