"""What everything in a simulated world shares: its loop, its chance, what is written down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from random import Random

from durably.wire.update import OperationUpdate
from tests.simulator.faults import Faults
from tests.simulator.loop import Place, SimulatedLoop
from tests.simulator.observed import Invocation, Round, Write, WriteKind
from tests.simulator.trace import Trace

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class Attempted:
    """A write by an owner while it is under way; `Write` says what the fields mean."""

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

    def seen(self) -> Write:
        """Give it as it is seen in the end."""
        return Write(**{name: getattr(self, name) for name in _FIELDS})


_FIELDS = tuple(field.name for field in fields(Attempted))


@dataclass(slots=True, kw_only=True)
class Visited:
    """An invocation while it runs; `Invocation` says what the fields mean."""

    id: str
    execution: str
    node: str
    epoch: int
    token: str
    began: int
    ended: int | None = None
    answer: str | None = None
    tasks: int = 0

    def seen(self) -> Invocation:
        """Give it as it is seen in the end."""
        return Invocation(
            id=self.id,
            execution=self.execution,
            node=self.node,
            epoch=self.epoch,
            token=self.token,
            began=self.began,
            ended=self.ended,
            answer=self.answer,
            tasks=self.tasks,
        )


@dataclass(slots=True)
class Stage:
    """One world.

    Attributes:
        random: chance in what is neither a fault nor the order of callbacks.
        writes: what owners of executions have written, or have tried to.
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
    visits: dict[str, Visited] = field(default_factory=dict[str, Visited])
    rounds: list[Round] = field(default_factory=list[Round])
    in_flight: Counter[str] = field(default_factory=Counter[str])
    jump_seconds: float = 0.0
    offsets: dict[str, float] = field(default_factory=dict[str, float])

    def is_likely(self, chance: float) -> bool:
        """Draw whether something is so."""
        return self.random.random() < chance


class BackendClock:
    """The clock of the backend, one for all services: it jumps, and nothing else is wrong with it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def now(self) -> datetime:
        stage = self._stage
        return BEGIN + timedelta(seconds=stage.loop.now + stage.jump_seconds)

    def monotonic(self) -> float:
        return self._stage.loop.time()


class PlaceClock:
    """The clock of one machine: set wrong, going at its own rate, and put right or wrong at times.

    Attributes:
        offset_seconds: by how much it is wrong.
    """

    def __init__(self, stage: Stage, place: Place) -> None:
        self._stage = stage
        self._place = place
        self.offset_seconds = stage.random.choice((0.0, 0.0, -90.0, 45.0, 3600.0))

    def now(self) -> datetime:
        offset = self._stage.offsets.get(self._place.name, self.offset_seconds)
        seconds = self._stage.loop.now * self._place.rate + offset
        return BEGIN + timedelta(seconds=seconds)

    def monotonic(self) -> float:
        return self._stage.loop.now * self._place.rate
