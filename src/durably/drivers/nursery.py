"""The branches that one program has spawned, while threads run them."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from durably.core.effects import Effect, Err, Ok, Outcome, Program, Spawn
from durably.core.op import Op
from durably.core.scope import Scope
from durably.drivers.sleeping import Asleep
from durably.errors import DurableOperationError, DurableSignal

if TYPE_CHECKING:
    from durably.drivers.threads import ThreadRun


class BranchRun:
    """One spawned program: ready, running, asleep or ended.

    Attributes:
        asleep: what it waits for while its thread unwinds and when it has; it is sticky, so that
            nothing is recorded meanwhile.
    """

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
        try:
            primed, self.primed = self.primed, None
            program, effect = primed or (self.make(), None)
            outcome = Ok(run.drive(self.scope, program, effect))
        except DurableSignal:
            pass  # it is asleep, or the batch does without it, or the whole invocation ends
        except Exception as error:  # noqa: BLE001 - whatever the program raises is its end
            outcome = Err(error)
        except BaseException as crash:  # noqa: BLE001 - raised again in the thread of the invocation
            run.crash(crash)
        self.nursery.note(self, outcome)


class Nursery:
    """The branches of one program. All of it is guarded by the lock of the invocation."""

    __slots__ = ("_asleep", "_is_dropped", "_ready", "_running", "_scope", "ended", "run")

    def __init__(self, run: ThreadRun) -> None:
        self.run = run
        self.ended: deque[tuple[int, Outcome[Any]]] = deque()
        self._ready: deque[BranchRun] = deque()
        self._asleep: dict[BranchRun, None] = {}
        self._running = 0
        self._scope: Scope | None = None
        self._is_dropped = False

    def spawn(self, effect: Spawn) -> None:
        """Start a branch in this thread, so that starts have an order, and have others go on.

        A branch that is recorded as ended needs no other thread.
        """
        self._scope = effect.scope
        program = effect.make()
        try:
            first = self.run.prime(effect.scope, program)
        except StopIteration as end:
            self.ended.append((effect.index, Ok(end.value)))
            return
        except DurableOperationError as error:
            self.ended.append((effect.index, Err(error)))
            return
        branch = BranchRun(self, effect)
        branch.primed = (program, first)
        with self.run.lock:
            self._ready.append(branch)
            self.run.crew.offer(self)

    def take(self) -> BranchRun | None:
        """Give a branch to run, under the lock."""
        if not self._ready:
            return None
        self._running += 1
        return self._ready.popleft()

    def note(self, branch: BranchRun, outcome: Outcome[Any] | None) -> None:
        """Note how a run of *branch* ended."""
        with self.run.lock:
            self._running -= 1
            if self._is_dropped:
                pass
            elif branch.asleep is not None:
                self._asleep[branch] = None
                if branch.asleep.has_news(self.run.journal):
                    self.wake(branch)
                else:
                    self.run.sleepers.add(branch, branch.asleep)
            elif outcome is not None:
                self.ended.append((branch.index, outcome))
            self.run.changed.notify_all()

    def wake(self, branch: BranchRun) -> None:
        """Have *branch* run again, under the lock."""
        del self._asleep[branch]
        branch.asleep = None
        self._ready.append(branch)
        self.run.crew.offer(self)

    def drop(self) -> None:
        """Give up the branches that have not ended; those that run find out at their next call."""
        with self.run.lock:
            self._is_dropped = True
            if self._scope is not None:
                self._scope.is_closed = True
            for branch in self._asleep:
                self.run.sleepers.remove(branch)
            self._asleep.clear()
            self._ready.clear()

    @property
    def is_asleep(self) -> bool:
        """Whether no branch can go on, and none has ended that nobody has asked for."""
        return not (self.ended or self._ready or self._running)

    @property
    def sleepers(self) -> list[Asleep]:
        """What each of the sleeping branches waits for."""
        return [branch.asleep for branch in self._asleep if branch.asleep is not None]

    def asleep(self) -> Asleep:
        """Everything that the sleeping branches wait for."""
        return Asleep([one for asleep in self.sleepers for one in asleep.awaited])
