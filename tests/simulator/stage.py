"""What everything in a simulated world shares: its loop, its chance, what is written down."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from random import Random

from durably.clock import Timer
from durably.wire.update import OperationUpdate
from tests.simulator.faults import Faults
from tests.simulator.ledger import Entry, Ledger, Visit
from tests.simulator.loop import Place, SimulatedLoop
from tests.simulator.observed import Claimed, Invocation, Round, Write, WriteKind
from tests.simulator.trace import Trace

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(slots=True, kw_only=True, eq=False)
class Attempted:
    """A write by an owner while it is under way; `Write` says what the fields mean.

    Attributes:
        is_given_up: who sent it was cancelled, so that no answer rests on it.
    """

    kind: WriteKind
    execution: str
    invocation: str
    node: str
    epoch: int
    sent: int
    done: int | None = None
    accepted: bool | None = None
    acknowledged: bool = False
    updates: tuple[OperationUpdate, ...] = ()
    token_in: str = ""
    token_out: str | None = None
    client_token: str = ""
    is_given_up: bool = False

    def accept(self, tick: int) -> None:
        """Note that it is durable, unless that is known."""
        if self.accepted is None:
            self.done, self.accepted = tick, True

    def seen(self) -> Write:
        """Give it as it is seen in the end."""
        write = Write(**{name: getattr(self, name) for name in _FIELDS})
        if self.is_given_up:
            updates = self.updates if self.accepted else ()
            return replace(write, acknowledged=bool(self.accepted), updates=updates)
        return write


_FIELDS = tuple(field.name for field in fields(Write))


passes: ContextVar[list[int] | None] = ContextVar("passes", default=None)
"""Set where one invocation calls its handler again and again: its number, once it has one."""


handed_out: ContextVar[int] = ContextVar("handed_out")
"""The tick at which the invocation that runs here was given what it knows."""


class WorldLedger(Ledger):
    """A ledger to which an invocation that calls its handler several times is still one.

    Attributes:
        known_at: the tick of what an invocation knew when it began, by its number.
    """

    def __init__(self, tick: Callable[[], int], now: Callable[[], float]) -> None:
        super().__init__(tick, now)
        self.known_at: dict[int, int] = {}

    def begin(self, execution: str, node: str) -> Visit:
        known = passes.get()
        if known:
            return Visit(self, execution, known[0], node)
        visit = super().begin(execution, node)
        self.known_at[visit.invocation] = handed_out.get()
        if known is not None:
            known.append(visit.invocation)
        return visit

    def seen(self) -> list[Entry]:
        """Give all entries, as if each invocation had begun at once with what it knew."""
        return [
            replace(one, tick=self.known_at[one.invocation]) if one.phase == "begin" else one
            for one in self.entries
        ]


@dataclass(slots=True, kw_only=True)
class Visited:
    """An invocation while it runs; `Invocation` says what the fields mean.

    Attributes:
        at: virtual seconds, when it began.
        is_dismissed: a reply gave it no token, so that nobody reads its answer.
    """

    id: str
    execution: str
    node: str
    epoch: int
    token: str
    began: int
    at: float
    ended: int | None = None
    answer: str | None = None
    tasks: int = 0
    is_dismissed: bool = False

    def seen(self) -> Invocation:
        """Give it as it is seen in the end. Who is dismissed answers PENDING, and means nothing."""
        is_void = self.is_dismissed and self.answer == "PENDING"
        return Invocation(
            id=self.id,
            execution=self.execution,
            node=self.node,
            epoch=self.epoch,
            token=self.token,
            began=self.began,
            ended=self.ended,
            answer="RAISED" if is_void else self.answer,
            tasks=self.tasks,
        )


@dataclass(slots=True)
class Stage:
    """One world.

    Attributes:
        random: chance in what is neither a fault nor the order of callbacks.
        writes: what owners of executions have written, or have tried to.
        asked: checkpoints that are neither accepted nor refused yet, by the execution.
        claims: which executions were given to workers.
        visits: invocations, by their ids.
        in_flight: how many writes of an execution's owner are under way.
        jump_seconds: how far the backend's clock has been put forward.
        offsets: by how much the clocks of machines have been put wrong, by the place's name.
    """

    loop: SimulatedLoop
    random: Random
    faults: Faults
    trace: Trace
    lease: timedelta
    writes: list[Attempted] = field(default_factory=list[Attempted])
    asked: defaultdict[str, list[Attempted]] = field(default_factory=lambda: defaultdict(list))
    claims: list[Claimed] = field(default_factory=list[Claimed])
    visits: dict[str, Visited] = field(default_factory=dict[str, Visited])
    rounds: list[Round] = field(default_factory=list[Round])
    in_flight: Counter[str] = field(default_factory=Counter[str])
    jump_seconds: float = 0.0
    offsets: dict[str, float] = field(default_factory=dict[str, float])

    def ask(self, write: Attempted) -> None:
        """Note that a checkpoint is about to be carried out."""
        self.writes.append(write)
        self.asked[write.execution].append(write)

    def answer(self, write: Attempted, *, is_accepted: bool) -> None:
        """Note what came of a checkpoint."""
        if write in self.asked[write.execution]:
            self.asked[write.execution].remove(write)
        tick = self.trace.tick()
        if is_accepted:
            write.accept(tick)
        else:
            write.done, write.accepted = tick, False

    def is_likely(self, chance: float) -> bool:
        """Draw whether something is so."""
        return self.random.random() < chance


class _LoopClock:
    """What clocks of a simulated world have in common: their timers are the loop's."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        return self._stage.loop.call_later(seconds, callback, *args)

    def call_when_quiet(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return self._stage.loop.call_later(seconds, callback)

    def wait(self, event: threading.Event, seconds: float) -> None:
        raise AssertionError("there are no threads in a simulated world")


class BackendClock(_LoopClock):
    """The clock of the backend, one for all services: it jumps, and is right otherwise."""

    def now(self) -> datetime:
        stage = self._stage
        return BEGIN + timedelta(seconds=stage.loop.now + stage.jump_seconds)

    def monotonic(self) -> float:
        return self._stage.loop.time()


class PlaceClock(_LoopClock):
    """The clock of one machine: set wrong, going at its own rate, and put right or wrong at times.

    Attributes:
        offset_seconds: by how much it is wrong.
    """

    def __init__(self, stage: Stage, place: Place) -> None:
        super().__init__(stage)
        self._place = place
        self.offset_seconds = stage.random.choice((0.0, 0.0, -90.0, 45.0, 3600.0))

    def now(self) -> datetime:
        offset = self._stage.offsets.get(self._place.name, self.offset_seconds)
        seconds = self._stage.loop.now * self._place.rate + offset
        return BEGIN + timedelta(seconds=seconds)

    def monotonic(self) -> float:
        return self._stage.loop.now * self._place.rate
