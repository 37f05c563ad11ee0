"""An event loop that keeps a time of its own and runs one callback at a time, in a chosen order.

Nothing in it is left to the machine. Time stands still while something can run, but for moments
that callbacks are said to take, and then jumps to whatever is due next. Every callback belongs to a
place, a process or a machine, that may stand still, die, or have a clock that goes wrong.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from itertools import count
from random import Random
from typing import Any, TypeVar

from tests.simulator.policies import Policy

T = TypeVar("T")

_MASK = 2**64 - 1
_LOOK_EVERY = 10_000

_current: ContextVar[Strand] = ContextVar("simulated_strand")
kept_tasks: ContextVar[list[asyncio.Task[Any]] | None] = ContextVar("kept_tasks", default=None)
"""Where the tasks are listed that the code which runs here makes, if anywhere."""


class Stuck(Exception):  # noqa: N818 - a verdict
    """Nothing is going to happen any more, or ever anything else."""


class Place:
    """Where code runs: its memory goes when it dies, its clock goes its own way.

    Attributes:
        rate: how fast its clock goes, against that of the world.
        waiting: what was to run while it stood still; `None` while it does not.
    """

    __slots__ = ("is_alive", "name", "number", "rate", "tasks", "waiting")

    def __init__(self, name: str, rate: float = 1.0) -> None:
        self.name = name
        self.number = 0
        self.rate = rate
        self.is_alive = True
        self.tasks: dict[asyncio.Task[Any], Context] = {}
        self.waiting: list[Turn] | None = None

    @property
    def open_tasks(self) -> list[asyncio.Task[Any]]:
        """Those of its tasks that have not ended."""
        return [task for task in self.tasks if not task.done()]


class Strand:
    """Callbacks that follow from one another: a task, and what it has called later.

    Attributes:
        priority: how much it matters to a policy of priorities; the lowest goes first.
    """

    __slots__ = ("place", "priority")

    def __init__(self, place: Place, priority: float) -> None:
        self.place = place
        self.priority = priority


class Turn:
    """A callback that is to run, now or at a time: a handle of asyncio that knows whose it is."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "place", "strand", "time")

    def __init__(
        self,
        time: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context,
        strand: Strand,
    ) -> None:
        self.time = time
        self.callback = callback
        self.args = args
        self.context = context
        self.strand = strand
        self.place = strand.place
        self.is_cancelled = False

    def when(self) -> float:
        return self.time

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs the world.

    Args:
        policy: chooses what runs next.
        random: where all else that is open comes from.
        max_turns: more callbacks than these are taken for a world that never comes to rest.

    Attributes:
        now: seconds since the world began.
        turns: how many callbacks have run.
        digest: changes with every choice: two runs are the same if theirs are.
        failures: what callbacks raised that nobody has taken.
    """

    def __init__(self, policy: Policy, random: Random, max_turns: int = 1_000_000) -> None:
        super().__init__()
        self.world = Place("world")
        self.root = Strand(self.world, 0.5)
        self.now = 0.0
        self.turns = 0
        self.digest = 0
        self.failures: list[str] = []
        self.log: Callable[[str], None] | None = None
        self._policy = policy
        self._random = random
        self._max_turns = max_turns
        self._queue: list[Turn] = []
        self._timers: list[tuple[float, int, Turn]] = []
        self._number = count()
        self._places = [self.world]
        self._nowhere = Context()
        # Callbacks take no time in most worlds; in some, one in so many takes a moment.
        self._moment_every = random.choice((0, 0, 20, 200))
        self._until_moment = self._moment_every or _LOOK_EVERY
        self.set_exception_handler(_note_failure)

    # Places

    def add_place(self, place: Place) -> None:
        """Let *place* be part of the world."""
        place.number = len(self._places)
        self._places.append(place)

    def run_in(self, place: Place, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Have *work* done in *place*, as a task of it that knows nothing of who asked."""
        context = Context()
        context.run(_current.set, Strand(place, 0.5))
        return self.create_task(work, context=context)

    @property
    def here(self) -> Place:
        """The place of the code that runs now."""
        return _current.get(self.root).place

    def kill(self, place: Place) -> None:
        """Let *place* die: nothing of what it was about to do is done, not even its `finally`."""
        place.is_alive = False
        place.waiting = None

    def stand_still(self, place: Place, seconds: float) -> None:
        """Let nothing of *place* run for so long; what comes due meanwhile runs after it."""
        if place.waiting is None and place.is_alive:
            place.waiting = []
            self.run_in(self.world, self._go_on(place, seconds))

    async def _go_on(self, place: Place, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if place.waiting is not None:
            self._queue += place.waiting
            place.waiting = None

    def call_in_world(self, seconds: float, do: Callable[[], object]) -> None:
        """Do something after so many seconds, whoever is alive then."""
        turn = Turn(0.0, do, (), self._nowhere, self.root)
        heapq.heappush(self._timers, (self.now + seconds, next(self._number), turn))

    # What asyncio asks of an event loop

    def time(self) -> float:
        return self.now * _current.get(self.root).place.rate

    def call_soon(  # type: ignore[override]  # a turn is what is asked of a handle, and less
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Turn:
        if context is None:
            context = copy_context()
        turn = Turn(0.0, callback, args, context, context.get(_current, self.root))
        self._queue.append(turn)
        return turn

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # likewise

    def call_at(  # type: ignore[override]  # likewise
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Turn:
        if context is None:
            context = copy_context()
        turn = Turn(when, callback, args, context, context.get(_current, self.root))
        rate = turn.place.rate
        # A moment more, lest rounding has it that the time has not come when it has.
        at = when / rate + 1e-9 if when > self.now * rate else self.now
        heapq.heappush(self._timers, (at, next(self._number), turn))
        return turn

    def call_later(  # type: ignore[override]  # likewise
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Turn:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def create_task(  # type: ignore[override]  # typeshed lets a generator be a task's work, too
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        context = copy_context() if context is None else context
        place = context.get(_current, self.root).place
        context.run(_current.set, Strand(place, self._random.random()))
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        place.tasks[task] = context
        kept = context.get(kept_tasks)
        if kept is not None:
            kept.append(task)
        return task

    def _run_once(self) -> None:  # noqa: C901, PLR0915 - in pieces it takes a fifth longer
        """Run turn after turn until somebody stops the loop."""
        queue, pick = self._queue, self._policy.pick
        while not self._stopping:  # type: ignore[attr-defined]  # of asyncio's own loops
            if not self._until_moment:
                self._take_a_moment()
            self._until_moment -= 1
            while not queue:
                if not self._timers:
                    raise Stuck("nothing is going to happen any more")
                self._pass_time(self._timers[0][0])
            count = len(queue)
            at = pick(queue) if count > 1 else 0
            turn = queue.pop(at)
            place = turn.place
            if turn.is_cancelled or not place.is_alive:
                continue
            if place.waiting is not None:
                place.waiting.append(turn)
                continue
            self.turns += 1
            self.digest = (self.digest * 31 + at * 1009 + count * 17 + place.number) & _MASK
            try:
                turn.context.run(turn.callback, *turn.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - what nobody has taken
                self.failures.append(f"{turn.callback!r}: {type(error).__name__}: {error}")

    def _take_a_moment(self) -> None:
        if self.turns > self._max_turns:
            raise Stuck(f"{self.turns} callbacks, and no end")
        if self._moment_every:
            self._until_moment = self._random.randrange(1, 2 * self._moment_every)
            self._pass_time(self.now + self._random.random() * 0.002)
        else:
            self._until_moment = _LOOK_EVERY

    def _pass_time(self, until: float) -> None:
        """Let the time be *until*, and what is due by then run."""
        timers = self._timers
        while timers and timers[0][0] <= until:
            turn = heapq.heappop(timers)[2]
            if not turn.is_cancelled:
                self._queue.append(turn)
        self.now = max(self.now, until)

    # The end

    def bury(self) -> None:
        """End the world: let go of everything that still waits in it, in no order that matters."""
        for place in self._places:
            place.is_alive = False
            for task, context in place.tasks.items():
                if not task.done():
                    context.run(_close, task)
            place.tasks.clear()
            place.waiting = None
        self._queue.clear()
        self._timers.clear()
        self.close()


def _close(task: asyncio.Task[Any]) -> None:
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio's own runner does
    coroutine = task.get_coro()
    for _ in range(20):  # code that goes on awaiting is closed again there
        try:
            coroutine.close()
        except RuntimeError:
            continue
        except BaseException:  # noqa: BLE001 - nobody is left to whom it matters
            return
        return


def _note_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, SimulatedLoop)
    error = context.get("exception")
    with suppress(RecursionError):
        loop.failures.append(f"{context['message']}: {type(error).__name__}: {error}")
