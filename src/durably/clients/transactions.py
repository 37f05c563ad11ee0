"""The transactions that steps of one invocation write in, until their outcomes are known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from durably.core.active import Attempting
from durably.core.effects import Attempt, Err, Ok, Outcome
from durably.engine.store import Begin, Transaction
from durably.errors import TransactionError
from durably.wire.operation import OperationSubType, OperationType
from durably.wire.update import OperationUpdate

C = TypeVar("C")


class OpenTransactions:
    """Gives each attempt of a step one transaction, and finds it again with its outcome.

    Args:
        begin: begins one in the store.
    """

    __slots__ = ("_begin", "_is_over", "_loop", "_open", "_opening", "_refused", "_tasks")

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        self._opening: dict[str, object] = {}
        self._open: dict[str, Transaction[Any]] = {}
        self._refused: dict[str, Err] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, attempting: Attempting, kind: type[C]) -> C:
        """See `Transactions.open`."""
        work = self._opened(attempting, kind, blocking=False)
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def open_blocking(self, attempting: Attempting, kind: type[C]) -> C:
        """See `Transactions.open_blocking`."""
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise TransactionError(_IN_LOOP)
        work = self._opened(attempting, kind, blocking=True)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def judge(self, place: Attempt, outcome: Outcome[Any]) -> Outcome[Any]:
        """See `Transactions.judge`.

        Raises:
            TransactionError: the attempt has used its connection as it may not.
        """
        transaction = self._open.get(place.op.id)
        if transaction is None:
            return outcome
        complaint = transaction.complaint(is_over=isinstance(outcome, Ok))
        if complaint is not None:
            raise TransactionError(f"step {place.op}: {complaint}")
        if isinstance(outcome, Err) and transaction.is_conflict(outcome.error):
            self.drop(place.op.id)
            return msgspec.structs.replace(outcome, is_conflict=True)
        return outcome

    def refusal(self, operation_id: str) -> Err | None:
        """See `Transactions.refusal`."""
        return self._refused.pop(operation_id, None)

    def drop(self, operation_id: str) -> None:
        """See `Transactions.drop`."""
        self._refused.pop(operation_id, None)
        self._opening.pop(operation_id, None)
        transaction = self._open.pop(operation_id, None)
        if transaction is not None:
            with suppress(RuntimeError):  # the loop is closed, and with it the store
                self._loop.call_soon_threadsafe(self._abort_soon, transaction)

    def take(self, updates: Sequence[OperationUpdate]) -> tuple[str, Transaction[Any]] | None:
        """Take the transaction whose outcome one of *updates* is, with the step's id, if any."""
        for update in updates:
            self._opening.pop(update.id, None)  # by code that was given up
            transaction = self._open.pop(update.id, None)
            if transaction is not None:
                return update.id, transaction
        return None

    def refuse(self, operation_id: str, failure: Exception) -> None:
        """Note why the database refused a transaction that was taken."""
        self._refused[operation_id] = Err(failure)

    def end(self) -> None:
        """Let go of all: the invocation is over, even if some of its code still runs."""
        self._is_over = True
        for operation_id in [*self._open, *self._opening]:
            self.drop(operation_id)

    async def _opened(self, attempting: Attempting, kind: type[C], *, blocking: bool) -> C:
        op = attempting.place.op
        if op.type is not OperationType.STEP or op.sub_type == OperationSubType.WAIT_FOR_CONDITION:
            raise TransactionError(_NO_STEP.format(op))
        if attempting.is_over:  # and nothing will let go of what it is given
            raise TransactionError(_GIVEN_UP.format(op))
        if op.id in self._open or op.id in self._opening:
            raise TransactionError(_TWICE.format(op))
        mine = self._opening[op.id] = object()
        try:
            transaction: Transaction[C] = await self._begin(kind, blocking=blocking)
        finally:
            is_wanted = self._opening.get(op.id) is mine
            if is_wanted:
                del self._opening[op.id]
        if not is_wanted or self._is_over:
            await transaction.abort()
            raise TransactionError(_GIVEN_UP.format(op))
        self._open[op.id] = transaction
        return transaction.connection

    def _abort_soon(self, transaction: Transaction[Any]) -> None:
        task = self._loop.create_task(transaction.abort(), name="durably abort")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_NO_STEP = "{} is no step, so that it has no connection. Write in a step of its own"
_TWICE = (
    "the attempt of {} has its connection already, and there is but one. Pass it to the functions "
    "that write with it"
)
_GIVEN_UP = (
    "the attempt of {} had ended, or was given up, before it had its connection. Ask for one in "
    "the step itself, and wait there for whatever it starts"
)
_IN_LOOP = (
    "sync_step_connection() would block the event loop that is to open the connection. Write "
    "`await step_connection(…)` in an `async def`"
)
