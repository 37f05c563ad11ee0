"""The branches that one program has spawned, while threads run them."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from durably.core.effects import Err, Ok, Outcome, Program, Spawn
from durably.core.op import Op
from durably.core.scope import Scope
from durably.errors import BranchSuspended, DurableSignal

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

    __slots__ = ("asleep", "context", "index", "make", "nursery", "op", "scope")

    def __init__(self, nursery: Nursery, spawn: Spawn) -> None:
        self.nursery = nursery
        self.index = spawn.index
        self.scope: Scope = spawn.scope
        self.op: Op = spawn.op
        self.make: Callable[[], Program[Any]] = spawn.make
        self.context = contextvars.copy_context()
        self.asleep: Asleep | None = None

    def run(self) -> None:
        """Drive it, from its beginning, until it ends or parks. Threads have no other way back."""
        self.context.copy().run(self._run)

    def _run(self) -> None:
        run = self.nursery.run
        run.strand.set(self)
        outcome: Outcome[Any] | None = None
        asleep: Asleep | None = None
        try:
            outcome = Ok(run.drive(self.scope, self.op, self.make()))
        except BranchParked as parked:
            asleep = parked.asleep
        except DurableSignal:
            pass  # the whole invocation ends, or the batch does without this branch
        except Exception as error:  # noqa: BLE001 - an operation's error, for who spawned it
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
        """Have a branch run; one that is recorded as ended needs no thread."""
        branch = Branch(self, effect)
        record = self.run.journal.find(effect.op.id)
        if record is not None and record.is_terminal:
            with self.run.lock:
                self.running += 1
            branch.run()
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
