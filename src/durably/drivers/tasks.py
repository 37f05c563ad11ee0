"""Runs programs for coroutines: one invocation of an `async def` handler, in one event loop."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from durably.core.active import active, misuse, not_owner
from durably.core.effects import Attempt, Err, Ok, Outcome, Park, Program
from durably.core.journal import Journal
from durably.core.lifecycle import (
    COOLDOWN_SECONDS,
    MAX_SWALLOWED_SIGNALS,
    MAX_UNWIND_SECONDS,
    Activity,
    reason_to_stop,
)
from durably.core.op import Op
from durably.core.scope import Scope
from durably.drivers.bodies import root_scope
from durably.drivers.client import AnyClient, PushingClient
from durably.drivers.futures import Broken, Ending, Raised, Returned, Suspended
from durably.drivers.logs import package_log
from durably.drivers.polls import Polls
from durably.drivers.settings import RunSettings
from durably.drivers.task_backends import Backend, PushingBackend, QueueingBackend
from durably.drivers.task_bodies import run_attempt
from durably.drivers.task_future import Block, TaskFuture
from durably.errors import (
    ContextUsageError,
    InvocationSuspended,
    NonDeterministicExecutionError,
    TerminationReason,
    UnrecoverableError,
    UnrecoverableInvocationError,
)
from durably.wire.operation import Operation, OperationType
from durably.wire.update import OperationUpdate

T = TypeVar("T")


class _Parked:
    """An operation that waits for its record to change."""

    __slots__ = ("block", "future", "op")

    def __init__(self, future: TaskFuture[Any], op: Op, block: Block) -> None:
        self.future = future
        self.op = op
        self.block = block

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for it who is waited for himself, and it is no orphan."""
        if not self.future.is_awaited:
            return False
        scope: Scope | None = self.future.scope
        while scope is not None:
            if scope.is_closed or not scope.is_awaited:
                return False
            scope = scope.parent
        return True


class TaskRun:
    """One invocation. Everything in it happens in one event loop, so every method is atomic.

    Attributes:
        loop: the event loop.
        journal: what is known of each operation.
        activity: what is under way.
    """

    def __init__(
        self, journal: Journal, token: str, client: AnyClient, settings: RunSettings
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.journal = journal
        self.activity = Activity()
        self.settings = settings
        self._backend: Backend = (
            PushingBackend(journal.arn, client, self)
            if isinstance(client, PushingClient)
            else QueueingBackend(journal.arn, token, client, self, settings.ids)
        )
        self._parked: dict[str, list[_Parked]] = {}
        self._owners: Counter[asyncio.Task[Any] | None] = Counter()
        self._unstarted: list[TaskFuture[Any]] = []
        self._tasks: dict[asyncio.Task[None], TaskFuture[Any]] = {}
        self._ending: Ending | None = None
        self._swallowed = 0
        self._root: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] = self.loop.create_future()
        self._cooldown: asyncio.TimerHandle | None = None
        self._polls = (
            None if self._backend.pushes else Polls(self.loop, settings.clock, self._backend.poll)
        )

    # What contexts call

    def begin(self, scope: Scope, name: str | None, type_: OperationType, sub_type: str) -> Op:
        """Give the operation that is being called on *scope* its identity.

        Raises:
            ContextUsageError: it must not be called from here. Nothing was recorded.
        """
        self.check_running()
        error = misuse(scope, name)
        if error is None and scope.owner is not asyncio.current_task():
            error = not_owner(name)
        if error is not None:
            raise error
        try:
            return scope.allot(name, type_, sub_type)
        except NonDeterministicExecutionError as different:
            raise self.break_off(different) from different

    def launch(self, scope: Scope, op: Op, program: Program[T]) -> TaskFuture[T]:
        """Start *program*; it is driven by whoever awaits the future, or by a task of its own."""
        if scope.never_resolves(op):
            program = _never(op)
        scope.open_calls += 1
        future = TaskFuture(self, scope, op, program)
        if future.is_primed:
            if not self._unstarted:
                self.loop.call_soon(self._start_unawaited)
            future.task_context = contextvars.copy_context()
            self._unstarted.append(future)
        return future

    # What futures call

    def check_running(self) -> None:
        """Raise the signal again if the invocation is ending: it is sticky."""
        if self._ending is None:
            return
        self._swallowed += 1
        if self._swallowed >= MAX_SWALLOWED_SIGNALS:
            self._give_up_unwinding()
        raise _signal()

    def forget_unstarted(self, future: TaskFuture[Any]) -> None:
        """Note that *future* is driven by who awaits it."""
        if self._unstarted and self._unstarted[-1] is future:
            self._unstarted.pop()

    def start_task(self, future: TaskFuture[Any]) -> None:
        """Drive *future* in a task of its own."""
        future.claim()
        context = future.task_context or contextvars.copy_context()
        task = self.loop.create_task(future.drive(), name=f"durably {future.op}", context=context)
        future.task = task
        self._tasks[task] = future
        task.add_done_callback(self._forget_task)

    def owns_a_context(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether *task* runs the body of an open context."""
        return task in self._owners

    def post(self, scope: Scope, update: OperationUpdate) -> None:
        """Send *update*; nobody waits for it."""
        self._admit(scope)
        self._backend.post(update)

    async def persist(self, scope: Scope, update: OperationUpdate) -> None:
        """Send *update*, and return when it is accepted."""
        self._admit(scope)
        await self._backend.persist(update)

    async def call(
        self, future: TaskFuture[Any], body: Callable[..., Any], place: Attempt | Scope
    ) -> Outcome[Any]:
        """Run user code: an attempt of a step, or the body of a context."""
        observers = self.settings.observers
        info = None if observers is None else observers.body_starts(place)
        if isinstance(place, Scope):
            outcome = await self._call_context_body(future, body, place)
        else:
            outcome = await run_attempt(self.settings, future.scope, body, place)
        if observers is not None and info is not None:
            observers.body_ends(info, outcome)
        return outcome

    async def park(self, future: TaskFuture[Any], op: Op, expected_at: datetime | None) -> None:
        """Wait until the record of *op* changes."""
        parked = _Parked(future, op, Block(self, is_drive=True))
        self._parked.setdefault(op.id, []).append(parked)
        if self._polls is not None:
            self._polls.watch(op.id, expected_at)
        try:
            await self.block(parked.block)
        finally:
            same = self._parked[op.id]
            same.remove(parked)
            if not same:
                del self._parked[op.id]
                if self._polls is not None:
                    self._polls.forget(op.id)

    async def block(self, block: Block) -> None:
        """Wait inside a durable future, unless that means that the invocation is over."""
        self.note_quiet()
        await block.wait()

    async def first_ended(self, futures: Sequence[TaskFuture[Any]]) -> None:
        """Wait until one more of *futures* has ended."""
        self.check_running()
        block = Block(self, is_drive=False)
        for future in futures:
            future.wake_at_end(block)
            if future.is_primed:
                self.start_task(future)
        await self.block(block)

    # What the backend calls

    def merge(
        self, operations: Sequence[Operation], accepted: Sequence[OperationUpdate] = ()
    ) -> bool:
        """Take over records that have changed, and wake who waits for them."""
        changed = self.journal.take_reply(operations, accepted)
        if self.settings.observers is not None:
            self.settings.observers.operations_changed(changed)
        if self._parked:
            for operation in changed:
                for parked in self._parked.get(operation.id, ()):
                    parked.block.wake()
        return self._ending is None

    def note_quiet(self) -> None:
        """See whether the invocation may stop: at once if that is certain, else after a look away.

        The second look is needed where tasks of the user's may still go on, such as when the
        handler waits in a `gather`.
        """
        if self.activity.moving or not self._parked or self._ending is not None:
            return
        if not self._backend.is_idle():
            return
        if self.activity.is_certainly_over:
            self._stop_if_awaited()
        elif self._cooldown is None:
            self._cooldown = self.loop.call_later(COOLDOWN_SECONDS, self._look_again)

    def break_off(self, error: UnrecoverableError) -> BaseException:
        """End the invocation with *error*; give the signal to raise."""
        self._end(Broken(error))
        return _signal()

    def stop(self, reason: TerminationReason) -> BaseException:
        """End the invocation as pending; give the signal to raise."""
        self._end(Suspended(reason))
        return _signal()

    # The whole invocation

    async def run(self, body: Callable[[Any], Awaitable[Any]]) -> Ending:
        """Run the handler's *body* with the root context, and say how the invocation ended."""
        scope = root_scope(self.journal, self.settings)
        self._root = self.loop.create_task(self._run_root(scope, body), name="durably handler")
        self._root.add_done_callback(lambda _: self._over.done() or self._over.set_result(None))
        try:
            await self._over
            if isinstance(self._ending, Returned | Raised):
                await self._close_tasks(warn=True)
                await self._drain()
        finally:
            self._root.cancel()
            await self._close_tasks(warn=False)
            if self._cooldown is not None:
                self._cooldown.cancel()
            if self._polls is not None:
                self._polls.close()
        assert self._ending is not None, "the root task sets it"
        return self._ending

    async def persist_last(self, update: OperationUpdate) -> None:
        """Send the update that closes the execution, after the handler has returned.

        Raises:
            UnrecoverableError: it was not accepted.
        """
        self._backend.post(update)
        await self._backend.drain()

    async def _run_root(self, scope: Scope, body: Callable[[Any], Awaitable[Any]]) -> None:
        try:
            outcome = await self._run_body(scope, body)
        except asyncio.CancelledError:
            if self._ending is None:
                text = "the handler was cancelled by something other than durably"
                error = UnrecoverableInvocationError(TerminationReason.CUSTOM, text)
                self._ending = Broken(error)
            return
        except ContextUsageError as error:
            outcome = Err(error)
        if self._ending is None:
            self._ending = (
                Returned(outcome.value) if isinstance(outcome, Ok) else Raised(outcome.error)
            )

    async def _drain(self) -> None:
        try:
            await self._backend.drain()
        except UnrecoverableError as error:
            self._ending = Broken(error)

    async def _close_tasks(self, *, warn: bool) -> None:
        opened = [*self._tasks.values(), *self._unstarted]
        if warn and opened:
            package_log.warning(
                "futures were still open when the handler returned, and are cancelled",
                extra={"operations": [str(future.op) for future in opened]},
            )
        for future in self._unstarted:
            future.close()
        self._unstarted.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=MAX_UNWIND_SECONDS)
            for task in left:
                package_log.error(
                    "code does not unwind, and is left behind", extra={"task": task.get_name()}
                )

    # Ending it

    def _end(self, ending: Ending) -> None:
        if self._ending is not None:
            return
        self._ending = ending
        if self._root is not None:
            self._root.cancel()
            self.loop.call_later(MAX_UNWIND_SECONDS, self._give_up_unwinding)
        for parked in list(self._parked.values()):
            for one in parked:
                one.block.cancel()

    def _give_up_unwinding(self) -> None:
        if self._root is not None and not self._root.done() and not self._over.done():
            package_log.error(
                "the handler does not unwind, and is left behind without its token",
                extra={"executionArn": self.journal.arn},
            )
            self._over.set_result(None)

    def _look_again(self) -> None:
        self._cooldown = None
        if self.activity.moving == 0 and self._ending is None and self._backend.is_idle():
            self._stop_if_awaited()

    def _stop_if_awaited(self) -> None:
        awaited = (one.op for parked in self._parked.values() for one in parked if one.is_awaited)
        reason = reason_to_stop(awaited)
        if reason is not None:
            self.stop(reason)

    def _admit(self, scope: Scope) -> None:
        self.check_running()
        if scope.has_closed():
            raise asyncio.CancelledError(_ORPHANED)

    # Tasks and polls

    def _start_unawaited(self) -> None:
        unstarted, self._unstarted = self._unstarted, []
        for future in unstarted:
            if future.is_primed:
                self.start_task(future)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        future = self._tasks.pop(task)
        if not future.done():
            future.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.loop.call_exception_handler(
                {"message": f"operation {future.op} broke", "exception": error, "task": task}
            )

    # User code

    async def _call_context_body(
        self, future: TaskFuture[Any], body: Callable[..., Any], scope: Scope
    ) -> Outcome[Any]:
        scope.is_awaited = future.is_awaited
        future.body_scope = scope
        self.activity.moving -= 1
        try:
            return await self._run_body(scope, body)
        finally:
            self.activity.moving += 1
            self._cancel_open_under(scope)

    async def _run_body(self, scope: Scope, body: Callable[..., Any]) -> Outcome[Any]:
        owner = scope.owner = asyncio.current_task()
        self._owners[owner] += 1
        self.activity.owners = len(self._owners)
        token = active.set(scope)
        try:
            value = body(self.settings.make_context(scope, self))
            if inspect.isawaitable(value):
                value = await value
            return Ok(value)
        except (ContextUsageError, UnrecoverableError):
            raise
        except Exception as error:
            return Err(error)
        finally:
            active.reset(token)
            self._owners[owner] -= 1
            if not self._owners[owner]:
                del self._owners[owner]
            self.activity.owners = len(self._owners)

    def _cancel_open_under(self, scope: Scope) -> None:
        if not scope.open_calls:
            return
        left = [
            *(future for future in self._tasks.values() if future.scope is scope),
            *(future for future in self._unstarted if future.scope is scope),
        ]
        for future in left:
            if future.task is not None:
                future.task.cancel()
            elif future.is_primed:
                self._unstarted.remove(future)
                future.close()
        if left and self._ending is None:
            package_log.warning(
                "futures were still open when the body of their context returned",
                extra={"operations": [str(future.op) for future in left]},
            )


def _never(op: Op) -> Program[Any]:
    """Stay open for ever, as the operation did when its context was closed."""
    while True:
        yield Park(op)


_ORPHANED = (
    "The context around this code has finished, so nothing that it does is recorded any more. "
    "Await every branch before its context returns."
)


def _signal() -> asyncio.CancelledError:
    return asyncio.CancelledError(InvocationSuspended.advice)
