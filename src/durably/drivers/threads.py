"""Runs programs for plain functions: one invocation of a `def` handler, in threads."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from durably.core.active import active, misuse, not_owner
from durably.core.effects import (
    Attempt,
    Call,
    Drop,
    Effect,
    Err,
    Next,
    Ok,
    Outcome,
    Park,
    Persist,
    Program,
    Spawn,
)
from durably.core.journal import Journal
from durably.core.lifecycle import MAX_SWALLOWED_SIGNALS, MAX_UNWIND_SECONDS, reason_to_stop
from durably.core.op import Op
from durably.core.polling import poll_delay_seconds
from durably.core.scope import Scope
from durably.drivers.bodies import root_scope
from durably.drivers.futures import Broken, Ending, Raised, Returned, Suspended
from durably.drivers.logs import package_log
from durably.drivers.nursery import Asleep, Branch, BranchParked, Nursery
from durably.drivers.settings import RunSettings
from durably.drivers.thread_backends import Backend
from durably.drivers.thread_bodies import run_attempt
from durably.errors import (
    ContextUsageError,
    DurableSignal,
    InvocationSuspended,
    NonDeterministicExecutionError,
    OrphanedBranch,
    TerminationReason,
    UnrecoverableError,
)
from durably.wire.operation import Operation, OperationType
from durably.wire.update import OperationUpdate

T = TypeVar("T")

MAX_BRANCH_THREADS = 32
"""Threads that one invocation runs branches in, besides those that wait for branches."""


class ThreadRun:
    """One invocation. Its handler and its branches run in threads, each operation blocking.

    Attributes:
        journal: what is known of each operation; changed under *lock* only.
        lock: guards everything here. Never held while user code or the backend runs.
        changed: told whenever something here has changed.
        strand: which branch a thread runs; nothing in the thread of the handler.
    """

    def __init__(
        self,
        journal: Journal,
        settings: RunSettings,
        make_backend: Callable[[ThreadRun], Backend],
    ) -> None:
        self.journal = journal
        self.settings = settings
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.strand: contextvars.ContextVar[Branch | None] = contextvars.ContextVar(
            "durably_strand", default=None
        )
        self._backend = make_backend(self)
        self._watchers: dict[str, list[Branch]] = {}
        self._offers: deque[Nursery] = deque()
        self._threads: set[threading.Thread] = set()
        self._ending: Ending | None = None
        self._swallowed = 0
        self._is_over = False
        self._is_leaked = False
        self._crash: BaseException | None = None

    # What contexts call

    def begin(self, scope: Scope, name: str | None, type_: OperationType, sub_type: str) -> Op:
        """Give the operation that is being called on *scope* its identity.

        Raises:
            ContextUsageError: it must not be called from here. Nothing was recorded.
        """
        self._check_running()
        error = misuse(scope, name)
        if error is None and scope.owner != threading.get_ident():
            error = not_owner(name)
        if error is not None:
            raise error
        try:
            return scope.allot(name, type_, sub_type)
        except NonDeterministicExecutionError as different:
            raise self.break_off(different) from different

    def launch(self, scope: Scope, op: Op, program: Program[T]) -> T:
        """Run *program* to its end, blocking this thread."""
        if scope.never_resolves(op):
            program = _never(op)
        value = self.drive(scope, program)
        scope.note_awaited(op)
        return value

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
                answer = primed = None
                match effect:
                    case Persist(update, wait):
                        self._persist(scope, update, wait=wait)
                    case Call(body, place):
                        answer = self._call(scope, body, place)
                    case Park(parked, until):
                        self._park(parked, until, seen)
                    case Spawn() | Next() | Drop():
                        nursery = nursery or Nursery(self)
                        answer = self._branch(nursery, effect)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typeshed: the value is Any
        except UnrecoverableError as error:
            raise self.break_off(error) from error
        finally:
            program.close()

    def _branch(self, nursery: Nursery, effect: Spawn | Next | Drop) -> Any:
        match effect:
            case Spawn():
                nursery.spawn(effect)
            case Next():
                return self._next(nursery)
            case Drop():
                nursery.drop()
        return None

    def _persist(self, scope: Scope, update: OperationUpdate, *, wait: bool) -> None:
        self._check_running()
        if scope.has_closed():
            raise OrphanedBranch
        if wait:
            self._backend.persist(update)
            self._check_running(count=False)
        else:
            self._backend.post(update)

    def _park(self, op: Op, until: datetime | None, seen: int) -> None:
        """Unwind this strand, unless something has changed since its program looked."""
        with self.lock:
            self._check_running(count=False)
            if self.journal.changes != seen:
                return
        self._sleep({op.id: (op, until)})

    def _sleep(self, ops: dict[str, tuple[Op, datetime | None]]) -> None:
        if self.strand.get() is not None:
            raise BranchParked(Asleep(ops))
        reason = reason_to_stop(op for op, _ in ops.values())
        raise self.stop(reason or TerminationReason.CALLBACK_PENDING)

    def _next(self, nursery: Nursery) -> tuple[int, Outcome[Any]]:
        while True:
            helped: Branch | None = None
            with self.lock:
                self._check_running(count=False)
                if nursery.ended:
                    return nursery.ended.popleft()
                if len(self._threads) >= MAX_BRANCH_THREADS:
                    helped = nursery.take()
                if helped is None and not nursery.running and not nursery.ready:
                    ops = nursery.all_asleep()
                    break
                if helped is None:
                    self._wait_for_change(nursery)
            if helped is not None:
                helped.run()
        self._sleep(ops)
        raise AssertionError("sleeping unwinds")

    def _wait_for_change(self, nursery: Nursery) -> None:
        """Wait, and ask the backend for news when it is time, if it does not tell by itself."""
        if self._backend.pushes or not nursery.asleep:
            self.changed.wait()
            return
        now = self.settings.clock.now()
        sleeping = [branch.asleep for branch in nursery.asleep.values() if branch.asleep]
        delay = min(
            poll_delay_seconds(asleep.polls, now, until)
            for asleep in sleeping
            for _, until in asleep.ops.values()
        )
        if not self.changed.wait(delay):
            for asleep in sleeping:
                asleep.polls += 1
            self._backend.poll()

    # Branches and their threads, all under the lock

    def offer(self, nursery: Nursery) -> None:
        """Have a thread take a branch of *nursery*."""
        self._offers.append(nursery)
        if len(self._threads) < MAX_BRANCH_THREADS:
            thread = threading.Thread(target=self._work, name="durably branch", daemon=True)
            self._threads.add(thread)
            thread.start()
        self.changed.notify_all()

    def watch(self, branch: Branch, asleep: Asleep) -> None:
        """Wake *branch* when a record changes that it waits for."""
        for operation_id in asleep.ops:
            self._watchers.setdefault(operation_id, []).append(branch)

    def unwatch(self, branch: Branch) -> None:
        """Leave *branch* asleep."""
        assert branch.asleep is not None, "it is asleep"
        for operation_id in branch.asleep.ops:
            watching = self._watchers.get(operation_id, [])
            if branch in watching:
                watching.remove(branch)

    def _work(self) -> None:
        while True:
            with self.lock:
                branch = None
                while self._offers and branch is None:
                    branch = self._offers.popleft().take()
                if branch is None:
                    self._threads.discard(threading.current_thread())
                    self.changed.notify_all()
                    return
            branch.run()

    # What the backend calls

    def merge(
        self, operations: Sequence[Operation], accepted: Sequence[OperationUpdate] = ()
    ) -> bool:
        """Take over records that have changed, and wake who waits for them: one critical section."""
        with self.lock:
            changed = self.journal.take_reply(operations, accepted)
            if self.settings.observers is not None:
                self.settings.observers.operations_changed(changed)
            for operation in changed:
                for branch in self._watchers.pop(operation.id, ()):
                    branch.nursery.wake(branch)
            self.changed.notify_all()
            return self._ending is None

    def break_off(self, error: UnrecoverableError) -> DurableSignal:
        """End the invocation with *error*; give the signal to raise."""
        return self._end(Broken(error))

    def stop(self, reason: TerminationReason) -> DurableSignal:
        """End the invocation as pending; give the signal to raise."""
        return self._end(Suspended(reason))

    def _end(self, ending: Ending) -> DurableSignal:
        with self.lock:
            if self._ending is None:
                self._ending = ending
            self.changed.notify_all()
        return InvocationSuspended()

    def _check_running(self, *, count: bool = True) -> None:
        """Raise the signal again if the invocation is ending: it is sticky."""
        if self._ending is None:
            return
        self._swallowed += count
        if self._swallowed == MAX_SWALLOWED_SIGNALS:
            with self.lock:
                self._is_leaked = True
                self.changed.notify_all()
        raise InvocationSuspended

    @property
    def is_ending(self) -> bool:
        """Whether no operation is accepted any more."""
        return self._ending is not None

    # The whole invocation

    def run(self, body: Callable[[Any], Any]) -> Ending:
        """Run the handler's *body* in a thread of its own, and say how the invocation ended.

        A handler that does not unwind is left behind, without its token.
        """
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._run_root, body), name="durably handler", daemon=True
        )
        thread.start()
        with self.lock:
            self.changed.wait_for(lambda: self._is_over or self._ending is not None)
            self.changed.wait_for(lambda: self._is_over or self._is_leaked, MAX_UNWIND_SECONDS)
            if not self._is_over:
                package_log.error(
                    "the handler does not unwind, and is left behind without its token",
                    extra={"executionArn": self.journal.arn},
                )
        if self._crash is not None:
            raise self._crash
        self._join()
        if isinstance(self._ending, Returned | Raised):
            try:
                self._backend.drain()
            except UnrecoverableError as error:
                self._ending = Broken(error)
        assert self._ending is not None, "a signal is raised only with an ending"
        return self._ending

    def persist_last(self, update: OperationUpdate) -> None:
        """Send the update that closes the execution, after the handler has returned.

        Raises:
            UnrecoverableError: it was not accepted.
        """
        self._backend.post(update)
        self._backend.drain()

    def close(self) -> None:
        """Let go of every thread."""
        self._backend.close()

    def _run_root(self, body: Callable[[Any], Any]) -> None:
        scope = root_scope(self.journal, self.settings)
        try:
            self._note_outcome(self._run_body(scope, body))
        except DurableSignal:
            pass
        except UnrecoverableError as error:
            self.break_off(error)
        except ContextUsageError as error:
            self._note_outcome(Err(error))
        except BaseException as crash:
            self._crash = crash
        with self.lock:
            self._is_over = True
            self.changed.notify_all()

    def _note_outcome(self, outcome: Outcome[Any]) -> None:
        match outcome:
            case Ok(value):
                self._end(Returned(value))
            case Err(error):
                self._end(Raised(error))

    def _join(self) -> None:
        with self.lock:
            self._offers.clear()
            done = self.changed.wait_for(lambda: not self._threads, MAX_UNWIND_SECONDS)
        if not done:
            package_log.error(
                "branches do not unwind, and are left behind",
                extra={"executionArn": self.journal.arn},
            )

    # User code

    def _call(self, scope: Scope, body: Callable[..., Any], place: Attempt | Scope) -> Outcome[Any]:
        observers = self.settings.observers
        info = None if observers is None else observers.body_starts(place)
        if isinstance(place, Scope):
            outcome = self._run_body(place, body)
        else:
            outcome = run_attempt(self.settings, scope, body, place)
        if observers is not None and info is not None:
            observers.body_ends(info, outcome)
        return outcome

    def _run_body(self, scope: Scope, body: Callable[[Any], Any]) -> Outcome[Any]:
        scope.owner = threading.get_ident()
        token = active.set(scope)
        try:
            return Ok(body(self.settings.make_context(scope, self)))
        except (ContextUsageError, UnrecoverableError):
            raise
        except Exception as error:
            return Err(error)
        finally:
            active.reset(token)


def _never(op: Op) -> Program[Any]:
    """Stay open for ever, as the operation did when its context was closed."""
    while True:
        yield Park(op)
