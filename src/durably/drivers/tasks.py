"""Runs programs for coroutines: one invocation of an `async def` handler, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

from durably.core.active import active, check_use, has_ended
from durably.core.effects import Attempt, Ok, Outcome, Program
from durably.core.journal import Journal
from durably.core.lifecycle import Activity, reason_to_stop
from durably.core.op import Op
from durably.core.operations.wait import never
from durably.core.scope import Scope
from durably.drivers.blocks import Bell, Block
from durably.drivers.bodies import foreign_cancellation, releasing, root_scope, stopped
from durably.drivers.client import AnyClient, pushes
from durably.drivers.cooldown import Cooldown
from durably.drivers.futures import Broken, Ending, Raised, Returned, Suspended, is_final
from durably.drivers.logs import log_left_behind, log_left_open, log_not_unwound
from durably.drivers.open_work import OpenWork, current_task
from durably.drivers.parking import Parking, Waiting
from durably.drivers.polls import Polls
from durably.drivers.settings import RunSettings
from durably.drivers.signals import keep, orphaned, suspended
from durably.drivers.task_backends import PushingBackend, QueueingBackend, TaskBackend
from durably.drivers.task_bodies import run_attempt, run_context_body, wrapped
from durably.drivers.task_future import TaskFuture
from durably.drivers.unwinding import Swallowed
from durably.errors import (
    ContextUsageError,
    NonDeterministicExecutionError,
    TerminationReason,
    UnrecoverableError,
    UnrecoverableInvocationError,
)
from durably.wire.operation import Operation, OperationType
from durably.wire.update import OperationUpdate

T = TypeVar("T")


class TaskRun:
    """One invocation. Everything in it happens in one event loop, so every method is atomic.

    Attributes:
        loop: the event loop.
        journal: what is known of each operation.
        activity: what is under way, in numbers.
        work: what is under way.
    """

    def __init__(
        self, journal: Journal, token: str, client: AnyClient, settings: RunSettings
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.journal = journal
        self.settings = settings
        self.activity = Activity()
        self.work = OpenWork(self.loop, self.activity, self._note_crash)
        self._backend: TaskBackend = (
            PushingBackend(journal.arn, client, self)
            if pushes(client)
            else QueueingBackend(journal.arn, token, client, self, settings.ids)
        )
        clock, poll, time_left = settings.clock, self._backend.poll, settings.time_left
        polls = None if self._backend.pushes else Polls(self.loop, clock, poll, time_left)
        self._parking = Parking(polls)
        self._swallowed = Swallowed(settings.max_swallowed_signals)
        self._root: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._ending: Ending | None = None
        self._crash: BaseException | None = None
        self._cooldown = Cooldown(clock, settings.cooldown_seconds, self._look_again)
        self._patience: asyncio.TimerHandle | None = None
        if pushes(client):
            client.listen(self.hear)  # last: from here on it may push

    # What contexts call

    def begin(self, scope: Scope, name: str | None, type_: OperationType, sub_type: str) -> Op:
        """Give the operation that is being called on *scope* its identity.

        Raises:
            ContextUsageError: it must not be called from here. Nothing was recorded.
        """
        check_use(scope, name, current_task())
        self.check_running(scope)
        if scope.has_closed():
            self._refuse(scope, orphaned())
        try:
            return scope.allot(name, type_, sub_type)
        except NonDeterministicExecutionError as different:
            raise self.break_off(different) from different

    def launch(self, scope: Scope, op: Op, program: Program[T]) -> TaskFuture[T]:
        """Start *program*; it is driven by whoever awaits the future, or by a task of its own.

        Raises:
            ContextUsageError: the body of *scope* is over.
        """
        if self._swallowed.are_too_many(scope):
            program.close()
            return TaskFuture(self, scope, op, cast("Program[T]", never(op)), None)
        body = self.work.find(scope)
        if body is None:
            raise has_ended(op.name)
        program = releasing(self.settings, op, program)
        future = TaskFuture(self, scope, op, program, body.future)
        if future.is_primed:
            future.move(body.calls)
            self.work.start_soon(future)
        return future

    def ends_of(
        self, scope: Scope, futures: Sequence[TaskFuture[Any]]
    ) -> Callable[[], Awaitable[None]]:
        """Give what can be awaited again and again: until one more of *futures* has ended."""
        bell = Bell(self, is_drive=False)
        for future in futures:
            future.wake_at_end(bell)
            if future.is_primed:
                self.work.start(future)

        async def one_more() -> None:
            self.check_running(scope)
            if all(future.done() for future in futures):
                raise asyncio.CancelledError(str(foreign_cancellation()))
            await bell.wait()

        return one_more

    # What futures call

    def check_running(self, scope: Scope) -> None:
        """Raise the signal again if the invocation is ending: it is sticky."""
        if self._ending is not None:
            self._refuse(scope, suspended())

    def start_branch(self, branch: TaskFuture[Any]) -> None:
        """Drive *branch* in a task of its own."""
        body = self.work.find(branch.scope)
        assert body is not None, "who spawns branches has opened their scope"
        branch.move(body.calls)
        self.work.start(branch)

    def post(self, scope: Scope, update: OperationUpdate) -> None:
        """Send *update*; nobody waits for it."""
        self._admit(scope)
        self._backend.post(update)
        if self._ending is not None:
            raise suspended()

    async def persist(self, scope: Scope, update: OperationUpdate) -> None:
        """Send *update*, and return when it is accepted."""
        self._admit(scope)
        await self._backend.persist(update)

    async def call(
        self, future: TaskFuture[Any], body: Callable[..., Any], place: Attempt | Scope
    ) -> Outcome[Any]:
        """Run user code: an attempt of a step, or the body of a context."""
        observers = self.settings.observers
        if observers is None:
            return await self._call(future, body, place)
        info = observers.body_starts(place)
        body = wrapped(body, place, observers.body_wraps(info))
        outcome = await self._call(future, body, place)
        observers.body_ends(info, outcome)
        return outcome

    async def _call(
        self, future: TaskFuture[Any], body: Callable[..., Any], place: Attempt | Scope
    ) -> Outcome[Any]:
        if not isinstance(place, Scope):
            return await run_attempt(self.settings, future.scope, body, place)
        self.activity.moving -= 1
        try:
            return await self._run_body(place, body, future)
        finally:
            self.activity.moving += 1

    async def park(self, future: TaskFuture[Any], op: Op, expected_at: datetime | None) -> None:
        """Wait until the record of *op* changes."""
        block = Block(self.activity, is_drive=True, owns=self.work.owns_a_context())
        waiting = Waiting(future, op, block)
        self._parking.add(waiting, expected_at)
        try:
            await self.block(block)
        finally:
            self._parking.remove(waiting)

    async def block(self, block: Block) -> None:
        """Wait in a durable future, unless that means that the invocation is over."""
        self.note_quiet()
        await block.wait()

    def cancel_with_waiter(self, future: TaskFuture[Any]) -> None:
        """Give *future* up because who awaited it was cancelled, as `asyncio` does with tasks."""
        if self.work.is_ours(future.driver):
            future.abandon()

    def note_ended(self) -> None:
        """See what it means that an operation has ended."""
        if self._ending is None:
            self.note_quiet()
        else:
            self.work.note_ended()

    # What the backend calls

    def merge(
        self, operations: Sequence[Operation], accepted: Sequence[OperationUpdate] = ()
    ) -> None:
        """Take over records that have changed, and wake who waits for them."""
        try:
            changed = self.journal.take_reply(operations, accepted)
        except NonDeterministicExecutionError as different:
            self.break_off(different)
            return
        if self._parking:
            self._parking.wake(changed)
        if self.settings.observers is not None:
            self.settings.observers.operations_changed(changed)

    def hear(self, operations: Sequence[Operation]) -> bool:
        """Take over what has changed outside; at its end, leave it to the next invocation."""
        if self._ending is None:
            self.merge(operations)
        return self._ending is None

    def note_quiet(self) -> None:
        """See whether the invocation may stop: at once if that is certain, else after a look away.

        The second look is needed where tasks of the user's may still go on, such as when the
        handler waits in a `gather`.
        """
        if self.activity.moving or not self._parking or self._ending is not None:
            return
        if not self._backend.is_idle():
            return
        if self.activity.is_certainly_over:
            self._stop_if_awaited()
        else:
            self._cooldown.start()

    def break_off(self, error: UnrecoverableError) -> BaseException:
        """End the invocation with *error*; give the signal to raise."""
        self._end(Broken(error))
        return suspended()

    def stop(self, reason: TerminationReason) -> BaseException:
        """End the invocation as pending; give the signal to raise."""
        self._end(Suspended(reason))
        return suspended()

    # The whole invocation

    async def run(self, body: Callable[[Any], Awaitable[Any]]) -> Ending:
        """Run the handler's *body*, and say how it ended. If it does not unwind, it is left."""
        scope = root_scope(self.journal, self.settings)
        self._root = self.loop.create_task(self._run_root(scope, body), name="durably handler")
        self._root.add_done_callback(self._note_over)
        try:
            ending = await self._come_to_end()
        except BaseException:
            await self._backend.close(self.settings.unwind_seconds)
            raise
        if isinstance(ending, Broken):
            await self._backend.close(self.settings.unwind_seconds)
        return ending

    async def _come_to_end(self) -> Ending:
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            self.break_off(foreign_cancellation())
            await self._over.wait()
            raise
        finally:
            await self._close()
        if self._crash is not None:
            raise self._crash
        assert self._ending is not None, "the root task sets it"
        return await self._drained(self._ending)

    async def persist_last(self, update: OperationUpdate) -> None:
        """Send the update that closes the execution, after the handler has returned.

        Raises:
            UnrecoverableError: it was not accepted.
        """
        await self._backend.persist_last(update)

    async def _run_root(self, scope: Scope, body: Callable[[Any], Awaitable[Any]]) -> None:
        ending: Ending
        try:
            outcome = await self._run_body(scope, body, None)
            ending = Returned(outcome.value) if isinstance(outcome, Ok) else Raised(outcome.error)
        except ContextUsageError as error:
            ending = Raised(error)
        except UnrecoverableError as error:
            ending = Broken(error)
        except asyncio.CancelledError:
            ending = Broken(foreign_cancellation())
        if self._ending is None:
            self._ending = ending

    def _note_over(self, root: asyncio.Task[None]) -> None:
        if not root.cancelled() and root.exception() is not None:
            self._note_crash(root.exception())
        self._over.set()

    def _note_crash(self, error: BaseException | None) -> None:
        """Note an interruption of the process: it is no failure of the user's code."""
        self._crash = error
        self.break_off(UnrecoverableInvocationError(TerminationReason.CUSTOM, "interrupted", error))

    async def _drained(self, ending: Ending) -> Ending:
        if not is_final(ending):
            return ending
        try:
            has_authority = await self._backend.drain()
        except UnrecoverableError as error:
            return Broken(error)
        return ending if has_authority else Suspended(TerminationReason.OPERATION_TERMINATED)

    async def _close(self) -> None:
        self._cooldown.cancel()
        if self._patience is not None:
            self._patience.cancel()
        self._parking.close()
        if self._ending is None or not is_final(self._ending):
            await self._backend.close(self.settings.unwind_seconds)
        has_unwound = self._root is not None and self._root.done()
        left = await self.work.close_all(self.settings.unwind_seconds if has_unwound else 0)
        if left:
            log_not_unwound(self.journal.arn, (future.op for future in left))

    # Ending it

    def _end(self, ending: Ending) -> None:
        if self._ending is not None:
            return
        self._ending = ending
        assert self._root is not None, "something has called an operation"
        self._root.cancel()
        self.work.abandon()
        self._patience = self.loop.call_later(self.settings.unwind_seconds, self._give_up_unwinding)

    def _give_up_unwinding(self) -> None:
        if not self._over.is_set():
            log_left_behind(self.journal.arn)
            assert self._root is not None, "its code swallows signals"
            keep(self._root)
            self._over.set()

    def _look_again(self) -> None:
        if not self.activity.moving and self._ending is None and self._backend.is_idle():
            self._stop_if_awaited()

    def _stop_if_awaited(self) -> None:
        reason = reason_to_stop(self._parking.awaited())
        if reason is not None:
            self._end(stopped(self.journal, reason))

    def _refuse(self, scope: Scope, signal: BaseException) -> None:
        """Raise *signal*. Code that has swallowed too many waits instead, lest it keep the loop."""
        if self._swallowed.are_too_many(scope):
            return
        if self._swallowed.note(scope) and self._ending is not None:
            self._give_up_unwinding()
        raise signal

    def _admit(self, scope: Scope) -> None:
        if self._ending is not None:
            raise suspended()
        if scope.has_closed():
            raise orphaned()

    # User code

    async def _run_body(
        self, scope: Scope, body: Callable[..., Any], future: TaskFuture[Any] | None
    ) -> Outcome[Any]:
        self.work.enter(scope, future)
        token = active.set(scope)
        self.note_quiet()
        outcome: Outcome[Any] | None = None
        try:
            outcome = await run_context_body(body, self.settings.make_context(scope, self))
            return outcome
        finally:
            active.reset(token)
            left = self.work.leave(scope)
            if left and outcome is not None and self._ending is None:
                log_left_open(self.journal.arn, (one.op for one in left))
