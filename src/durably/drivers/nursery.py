"""The branches that one program has spawned, while threads run them."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from durably.core.effects import Effect, Err, Ok, Outcome, Program, Spawn
from durably.core.op import Op
from durably.core.scope import Scope
from durably.errors import BranchSuspended, DurableOperationError, DurableSignal

if TYPE_CHECKING:
    from durably.drivers.threads import ThreadRun


class Asleep:
    """What a parked branch waits for: any of these records to change.

    Attributes:
        ops: the operations, each with the time when it is expected to change, if known.
    """

    __slots__ = ("ops", "polls")

    def __init__(self, ops: dict[str, tuple[Op, datetime | None]]) -> None:
        self.ops = ops
        self.polls = 0


class BranchParked(BranchSuspended):
    """Unwinds the thread of a branch that has nothing to do before a record changes."""

    def __init__(self, asleep: Asleep) -> None:
        super().__init__()
        self.asleep = asleep


class Branch:
    """One spawned program: ready, running, asleep or ended."""

    __slots__ = ("asleep", "context", "index", "make", "nursery", "op", "primed", "scope")

    def __init__(self, nursery: Nursery, spawn: Spawn) -> None:
        self.nursery = nursery
        self.index = spawn.index
        self.scope: Scope = spawn.scope
        self.op: Op = spawn.op
        self.make: Callable[[], Program[Any]] = spawn.make
        self.context = contextvars.copy_context()
        self.asleep: Asleep | None = None
        self.primed: tuple[Program[Any], Effect] | None = None

    def run(self) -> None:
        """Drive it, from its beginning, until it ends or parks. Threads have no other way back."""
        self.context.copy().run(self._run)

    def _run(self) -> None:
        run = self.nursery.run
        run.strand.set(self)
        outcome: Outcome[Any] | None = None
        asleep: Asleep | None = None
        try:
            primed, self.primed = self.primed, None
            program, effect = primed or (self.make(), None)
            outcome = Ok(run.drive(self.scope, program, effect))
        except BranchParked as parked:
            asleep = parked.asleep
        except DurableSignal:
            pass  # the whole invocation ends, or the batch does without this branch
        except Exception as error:
            outcome = Err(error)
        self.nursery.note(self, outcome, asleep)


class Nursery:
    """The branches of one program. All of it is guarded by the lock of the invocation."""

    __slots__ = ("_is_dropped", "asleep", "ended", "ready", "run", "running")

    def __init__(self, run: ThreadRun) -> None:
        self.run = run
        self.ready: deque[Branch] = deque()
        self.asleep: dict[int, Branch] = {}
        self.ended: deque[tuple[int, Outcome[Any]]] = deque()
        self.running = 0
        self._is_dropped = False

    def spawn(self, effect: Spawn) -> None:
        """Start a branch in this thread, so that starts have an order, and have others go on.

        A branch that is recorded as ended needs no other thread.
        """
        branch = Branch(self, effect)
        program = branch.make()
        try:
            branch.primed = (program, self.run.prime(effect.scope, program))
        except StopIteration as end:
            self.ended.append((effect.index, Ok(end.value)))
            return
        except DurableOperationError as error:
            self.ended.append((effect.index, Err(error)))
            return
        with self.run.lock:
            self.ready.append(branch)
            self.run.offer(self)

    def take(self) -> Branch | None:
        """Give a branch to run, under the lock."""
        if not self.ready:
            return None
        self.running += 1
        return self.ready.popleft()

    def note(self, branch: Branch, outcome: Outcome[Any] | None, asleep: Asleep | None) -> None:
        """Note how a run of *branch* ended."""
        with self.run.lock:
            self.running -= 1
            if outcome is not None:
                self.ended.append((branch.index, outcome))
            elif asleep is not None and not self._is_dropped:
                branch.asleep = asleep
                self.asleep[branch.index] = branch
                self.run.watch(branch, asleep)
            self.run.changed.notify_all()

    def wake(self, branch: Branch) -> None:
        """Have *branch* run again, under the lock."""
        if self.asleep.pop(branch.index, None) is not None:
            branch.asleep = None
            self.ready.append(branch)
            self.run.offer(self)

    def drop(self) -> None:
        """Give up the branches that have not ended; those that run find out at their next call."""
        with self.run.lock:
            self._is_dropped = True
            for branch in self.asleep.values():
                self.run.unwatch(branch)
            self.asleep.clear()
            self.ready.clear()

    def all_asleep(self) -> dict[str, tuple[Op, datetime | None]]:
        """Give everything that the sleeping branches wait for."""
        waited: dict[str, tuple[Op, datetime | None]] = {}
        for branch in self.asleep.values():
            assert branch.asleep is not None, "it is asleep"
            waited.update(branch.asleep.ops)
        return waited
