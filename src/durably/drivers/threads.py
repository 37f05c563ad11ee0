"""Runs programs for plain functions: one invocation of a `def` handler, in threads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from durably.core.active import active, check_use, misuse, not_owner
from durably.core.effects import (
    Attempt,
    Call,
    Drop,
    Effect,
    Next,
    Ok,
    Outcome,
    Park,
    Persist,
    Program,
    Spawn,
)
from durably.core.journal import Journal
from durably.core.lifecycle import reason_to_stop
from durably.core.op import Op
from durably.core.scope import Scope
from durably.drivers.bodies import outcome_of, releasing, root_scope, stopped
from durably.drivers.crew import Crew
from durably.drivers.deadline import before_end
from durably.drivers.futures import Broken, Ending, Raised, Returned, Suspended, is_final
from durably.drivers.logs import log_left_behind
from durably.drivers.news import News
from durably.drivers.nursery import BranchRun, Nursery
from durably.drivers.settings import RunSettings
from durably.drivers.sleeping import Asleep, Awaited, BranchAsleep, Sleepers
from durably.drivers.starting import start_thread
from durably.drivers.thread_backends import ThreadBackend
from durably.drivers.thread_bodies import run_attempt, wrapped
from durably.drivers.unwinding import Swallowed
from durably.errors import (
    ContextUsageError,
    DurableSignal,
    InvocationSuspended,
    NonDeterministicExecutionError,
    OrphanedBranch,
    TerminationReason,
    UnrecoverableError,
    UnrecoverableInvocationError,
)
from durably.wire.operation import Operation, OperationType
from durably.wire.update import OperationUpdate

T = TypeVar("T")


class ThreadRun:
    """One invocation. Its handler and its branches run in threads, each operation blocking.

    A thread that runs the handler or a branch is a *strand* of it.

    Attributes:
        journal: what is known of each operation; what the backend says changes it under *lock*.
        lock: guards everything here. Never held while user code runs.
        changed: told whenever something here has changed.
        crew: the threads that branches run in.
        sleepers: the branches that are asleep.
        news: what plugins have not heard of yet.
        strand: which branch a thread runs; nothing in the thread of the handler.
    """

    def __init__(
        self,
        journal: Journal,
        settings: RunSettings,
        make_backend: Callable[[ThreadRun], ThreadBackend],
    ) -> None:
        self.journal = journal
        self.settings = settings
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.crew = Crew(self.lock)
        self.sleepers = Sleepers()
        self.news = News(settings.observers, self.lock)
        self.strand: contextvars.ContextVar[BranchRun | None] = contextvars.ContextVar(
            "durably_strand", default=None
        )
        self._swallowed = Swallowed(settings.max_swallowed_signals)
        self._ending: Ending | None = None
        self._is_over = self._is_leaked = False
        self._crash: BaseException | None = None
        self._backend = make_backend(self)  # last: from here on it may push

    # What contexts call

    def begin(self, scope: Scope, name: str | None, type_: OperationType, sub_type: str) -> Op:
        """Give the operation that is being called on *scope* its identity.

        Raises:
            ContextUsageError: it must not be called from here. Nothing was recorded.
        """
        check_use(scope, name, threading.get_ident())
        self._admit(scope)
        try:
            return scope.allot(name, type_, sub_type)
        except NonDeterministicExecutionError as different:
            raise self.break_off(different) from different

    def launch(self, scope: Scope, op: Op, program: Program[T]) -> T:
        """Run *program* to its end, blocking this thread."""
        place = active.get()
        if not isinstance(place, Scope) or place.owner != threading.get_ident():
            raise misuse(scope, op.name) or not_owner(op.name)
        try:
            return self.drive(scope, releasing(self.settings, op, program))
        finally:
            scope.note_awaited(op)

    # The driver

    def prime(self, scope: Scope, program: Program[Any]) -> Effect:
        """Run *program* to its first effect that takes time.

        Raises:
            StopIteration: there is none; its value is the program's.
        """
        while True:
            effect = program.send(None)
            if not (isinstance(effect, Persist) and not effect.wait):
                return effect
            self._persist(scope, effect.update, wait=False)

    def drive(self, scope: Scope, program: Program[T], primed: Effect | None = None) -> T:
        """Carry out what *program* asks for, until it has ended."""
        answer: Any = None
        nursery: Nursery | None = None
        try:
            while True:
                seen = self.journal.changes
                effect = primed or program.send(answer)
                primed = None
                if isinstance(effect, Spawn | Next | Drop):
                    nursery = nursery or Nursery(self)
                    answer = self._branch(scope, nursery, effect)
                else:
                    answer = self._perform(scope, effect, seen)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typeshed: the value is Any
        except UnrecoverableError as error:
            raise self.break_off(error) from error
        finally:
            program.close()
            if nursery is not None:
                nursery.drop()

    def _perform(self, scope: Scope, effect: Persist | Call | Park, seen: int) -> Any:
        match effect:
            case Persist(update, wait):
                return self._persist(scope, update, wait=wait)
            case Call(body, place):
                return self._call(scope, body, place)
            case Park(op, until):
                return self._park(scope, op, until, seen)

    def _branch(self, scope: Scope, nursery: Nursery, effect: Spawn | Next | Drop) -> Any:
        match effect:
            case Spawn():
                nursery.spawn(effect)
            case Next():
                return self._next(scope, nursery)
            case Drop():
                nursery.drop()
        return None

    def _persist(self, scope: Scope, update: OperationUpdate, *, wait: bool) -> None:
        with self.lock:
            self._admit(scope)
            until_accepted = self._backend.persist(update) if wait else None
            if until_accepted is None:
                self._backend.post(update)
        if until_accepted is not None:
            until_accepted()
        self.news.settle()
        self._check_running(scope)

    def _park(self, scope: Scope, op: Op, until: datetime | None, seen: int) -> None:
        """Unwind this strand, unless something has changed since its program looked."""
        with self.lock:
            self._check_running(scope)
            if self.journal.changes == seen:
                self._sleep(Asleep([Awaited(self.journal, op, until)]))

    def _next(self, scope: Scope, nursery: Nursery) -> tuple[int, Outcome[Any]]:
        while True:
            helped: BranchRun | None = None
            with self.lock:
                self._check_running(scope)
                if nursery.ended:
                    return nursery.ended.popleft()
                if nursery.is_asleep:
                    self._sleep(nursery.asleep(), nursery)
                elif not self.crew.is_busy or (helped := nursery.take()) is None:
                    self._wait_for_change(nursery)
            if helped is not None:
                helped.run()

    def _sleep(self, asleep: Asleep, nursery: Nursery | None = None) -> None:
        """Unwind this strand, under the lock; return only if there is news already."""
        branch = self.strand.get()
        if branch is not None:
            branch.asleep = asleep
            if nursery is not None:
                nursery.drop()  # now, so that none of its branches is woken beside their next run
            raise BranchAsleep
        while not self._backend.is_idle():
            self.changed.wait()
            if self._ending is not None or asleep.has_news(self.journal):
                return
        reason = reason_to_stop(one.op for one in asleep.awaited)
        raise self._end(stopped(self.journal, reason or TerminationReason.CALLBACK_PENDING))

    def _wait_for_change(self, nursery: Nursery) -> None:
        """Wait, and ask the backend for news when it is time, if it does not tell by itself."""
        sleepers = [] if self._backend.pushes else nursery.sleepers
        now = self.settings.clock.now()
        delay = min((asleep.delay_seconds(now) for asleep in sleepers), default=None)
        if not self.changed.wait(before_end(delay, self.settings.time_left)):
            for asleep in sleepers:
                asleep.polls += 1
            self._backend.poll()

    # What the backend calls

    def merge(
        self, operations: Sequence[Operation], accepted: Sequence[OperationUpdate] = ()
    ) -> None:
        """Take over records that have changed and wake who waits, as one; note the news."""
        with self.lock:
            try:
                changed = self.journal.take_reply(operations, accepted)
            except NonDeterministicExecutionError as different:
                self.break_off(different)
                return
            self.news.note(changed)
            self.sleepers.wake(changed)
            self.changed.notify_all()

    def hear(self, operations: Sequence[Operation]) -> bool:
        """Take over what has changed outside; at its end, leave it to the next invocation."""
        with self.lock:
            if self._ending is None:
                self.merge(operations)
            return self._ending is None

    def break_off(self, error: UnrecoverableError) -> DurableSignal:
        """End the invocation with *error*; give the signal to raise."""
        return self._end(Broken(error))

    def stop(self, reason: TerminationReason) -> DurableSignal:
        """End the invocation as pending; give the signal to raise."""
        return self._end(Suspended(reason))

    def crash(self, error: BaseException) -> None:
        """Note an interruption of the process: it is no failure of the user's code."""
        self._crash = error
        self.break_off(UnrecoverableInvocationError(TerminationReason.CUSTOM, "interrupted", error))

    @property
    def is_ending(self) -> bool:
        """Whether no operation is accepted any more."""
        return self._ending is not None

    def _end(self, ending: Ending) -> DurableSignal:
        with self.lock:
            self._ending = self._ending or ending
            self.changed.notify_all()
        return InvocationSuspended()

    def _admit(self, scope: Scope) -> None:
        self._check_running(scope)
        if scope.has_closed():
            raise OrphanedBranch

    def _check_running(self, scope: Scope) -> None:
        """Raise the signal again if the invocation ends, or this strand is asleep: it is sticky."""
        branch = self.strand.get()
        is_asleep = branch is not None and branch.asleep is not None
        if self._ending is None and not is_asleep:
            return
        if self._swallowed.note(scope):
            with self.lock:
                self._is_leaked = True
                self.stop(TerminationReason.OPERATION_TERMINATED)
        raise BranchAsleep if is_asleep else InvocationSuspended

    # The whole invocation

    def run(self, body: Callable[[Any], Any]) -> Ending:
        """Run the handler's *body* in a thread of its own, and say how the invocation ended.

        A handler that does not unwind is left behind, without its token.

        Raises:
            UnrecoverableInvocationError: there is no thread to be had.
        """
        root = start_thread("durably handler", contextvars.copy_context().run, self._run_root, body)
        try:
            with self.lock:
                self.changed.wait_for(lambda: self._is_over or self._ending is not None)
        except BaseException as error:
            self.crash(error)
            raise
        finally:
            self._unwind(root)
        if self._crash is not None:
            raise self._crash
        assert self._ending is not None, "a strand ends with an ending"
        ending = self._drained(self._ending)
        self.news.settle(self.settings.unwind_seconds)
        return ending

    def persist_last(self, update: OperationUpdate) -> None:
        """Send the update that closes the execution, after the handler has returned.

        Raises:
            UnrecoverableError: it was not accepted.
        """
        self._backend.persist_last(update)
        self.news.settle()

    def close(self) -> None:
        """Send nothing more, and let go of every thread."""
        self._backend.close()

    def _unwind(self, root: threading.Thread) -> None:
        patience = self.settings.unwind_seconds
        with self.lock:
            self.changed.wait_for(lambda: self._is_over or self._is_leaked, patience)
        if self._is_over:
            root.join()
        else:
            log_left_behind(self.journal.arn)
        has_unwound = self._is_over and not self._is_leaked
        self.crew.dismiss(patience if has_unwound else 0, self.journal.arn)

    def _drained(self, ending: Ending) -> Ending:
        if not is_final(ending):
            return ending
        try:
            has_authority = self._backend.drain()
        except UnrecoverableError as error:
            return Broken(error)
        return ending if has_authority else Suspended(TerminationReason.OPERATION_TERMINATED)

    def _run_root(self, body: Callable[[Any], Any]) -> None:
        scope = root_scope(self.journal, self.settings)
        try:
            outcome = self._run_body(scope, body)
            self._end(Returned(outcome.value) if isinstance(outcome, Ok) else Raised(outcome.error))
        except DurableSignal:
            pass  # whoever raised it has ended the invocation
        except UnrecoverableError as error:
            self.break_off(error)
        except ContextUsageError as error:
            self._end(Raised(error))
        except BaseException as crash:  # noqa: BLE001 - raised again in the thread of the invocation
            self.crash(crash)
        with self.lock:
            self._is_over = True
            self.changed.notify_all()

    # User code

    def _call(self, scope: Scope, body: Callable[..., Any], place: Attempt | Scope) -> Outcome[Any]:
        self.news.settle()
        observers = self.settings.observers
        if observers is None:
            return self._run_user_code(scope, body, place)
        info = observers.body_starts(place)
        body = wrapped(body, place, observers.body_wraps(info))
        outcome = self._run_user_code(scope, body, place)
        observers.body_ends(info, outcome)
        return outcome

    def _run_user_code(
        self, scope: Scope, body: Callable[..., Any], place: Attempt | Scope
    ) -> Outcome[Any]:
        if isinstance(place, Scope):
            return self._run_body(place, body)
        return run_attempt(self.settings, scope, body, place)

    def _run_body(self, scope: Scope, body: Callable[[Any], Any]) -> Outcome[Any]:
        scope.owner = threading.get_ident()
        token = active.set(scope)
        try:
            return outcome_of(lambda: body(self.settings.make_context(scope, self)))
        finally:
            active.reset(token)
            scope.owner = None
