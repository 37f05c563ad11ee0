"""Programs that do nothing new: what is recorded they give, and where that ends they park.

This stands between the contexts of a handler and the driver that runs it. The driver is the real
one, and so are the programs of the operations; of their effects, only those pass that a replay
needs. No body of a step is run, and nothing is ever sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any, TypeVar, cast

from durably.batch_result import BatchCompletionReason
from durably.core.calls import FutureLauncher, Launcher
from durably.core.effects import Attempt, Call, Effect, Park, Persist, Program, Spawn
from durably.core.ids import hash_id
from durably.core.journal import Journal
from durably.core.op import Op
from durably.core.scope import Scope
from durably.errors import UnrecoverableError
from durably.testing.places import Place, place_of_frame, user_frame
from durably.wire.operation import Operation, OperationType

T = TypeVar("T")

_ALL_COMPLETED = f'"{BatchCompletionReason.ALL_COMPLETED}"'

_caller: ContextVar[FrameType | None] = ContextVar("durably_replay_caller", default=None)
"""The user's code that calls an operation just now."""

OnAsked = Callable[[Op, Operation | None, FrameType | None], None]
"""Told of each operation that the code asks for, its record, and the frame that asks."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation that the code has asked for, and where."""

    op: Op
    place: Place | None


@dataclass(slots=True)
class Trace:
    """What a replay has come to.

    Attributes:
        on_asked: told before an operation is compared with its record.
        stops_at: an operation that parks though it is recorded.
        asked: every operation that the code has asked for, by its id.
        beyond: the first operation that goes on where its record ends.
        complete: contexts that will ask for nothing more, by their place in the program.
        broken: the operation whose record could not be read.
    """

    on_asked: OnAsked | None = None
    stops_at: str | None = None
    asked: dict[str, Asked] = field(default_factory=dict[str, Asked])
    beyond: Op | None = None
    complete: set[str] = field(default_factory=set[str])
    broken: Op | None = None
    _counts: dict[str, int] = field(default_factory=dict[str, int])
    _places: dict[str, Place | None] = field(default_factory=dict[str, "Place | None"])

    def note_asked(self, op: Op, record: Operation | None) -> None:
        """Note that *op* is asked for: by the code that calls it, or by the one around it."""
        context, _, number = op.step_id.rpartition("-")
        frame = _caller.get()
        place = self.place_of(context) if frame is None else place_of_frame(frame)
        self._places[op.step_id] = place
        self._counts[context] = int(number)
        self.asked[op.id] = Asked(op, place)
        if self.on_asked is not None:
            self.on_asked(op, record, frame)

    def note_new(self, op: Op, effect: Effect) -> None:
        """Note what *op* would do that is new: a batch of which every item has ended has no more.

        One that is over for another reason, or not yet, may have been further than it gets now:
        how many items begin depends on settings, which are not recorded.
        """
        if isinstance(effect, Persist) and _ALL_COMPLETED in (effect.update.payload or ""):
            self.complete.add(op.step_id)

    def place_of(self, context: str) -> Place | None:
        """Say where the context at this place in the program was asked for."""
        return self._places.get(context)

    def id_of_next(self, context: str) -> str:
        """Give the id of the operation that *context* would have asked for next."""
        number = self._counts.get(context, 0) + 1
        return hash_id(f"{context}-{number}" if context else str(number))


class RecordedJournal(Journal):
    """A journal that nothing is added to, and that notes what it is asked for."""

    __slots__ = ("_trace",)

    def __init__(self, arn: str, operations: Iterable[Operation], trace: Trace) -> None:
        super().__init__(arn, operations)
        self._trace = trace

    def check(self, op: Op) -> Operation | None:
        """See `Journal.check`."""
        self._trace.note_asked(op, self.find(op.id))
        return super().check(op)

    def begin(self, op: Op) -> None:
        """Begin nothing."""

    def has_outstanding(self) -> bool:
        """Whether anything waits: what is recorded as open, or what would go on beyond."""
        return self._trace.beyond is not None or super().has_outstanding()


class RecordedLauncher:
    """Launches what the contexts of a handler call, as far as it is recorded."""

    def __init__(self, run: Launcher, trace: Trace) -> None:
        self._run = run
        self._trace = trace

    def begin(self, scope: Scope, name: str | None, type_: OperationType, sub_type: str) -> Op:
        """See `Launcher.begin`."""
        token = _caller.set(user_frame())
        try:
            return self._run.begin(scope, name, type_, sub_type)
        finally:
            _caller.reset(token)

    def launch(self, scope: Scope, op: Op, program: Program[Any]) -> Any:
        """See `Launcher.launch`."""
        return self._run.launch(scope, op, recorded_only(self._trace, op, program))

    def ends_of(self, scope: Scope, futures: Sequence[Any]) -> Callable[[], Awaitable[None]]:
        """See `FutureLauncher.ends_of`."""
        return cast("FutureLauncher", self._run).ends_of(scope, futures)


def recorded_only(trace: Trace, op: Op, program: Program[T]) -> Program[T]:
    """Run *program* of *op* as far as it gets without doing anything new, and park there."""
    answer: Any = None
    while op.id != trace.stops_at:
        try:
            effect = program.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typeshed: the value is Any
        except UnrecoverableError:
            trace.broken = op
            raise
        if _is_new(effect):
            trace.note_new(op, effect)
            break
        answer = yield _guarded(trace, effect)
        if isinstance(effect, Call) and isinstance(effect.place, Scope):
            trace.complete.add(effect.place.step_id)
    trace.beyond = trace.beyond or op
    while True:
        yield Park(op)


def _is_new(effect: Effect) -> bool:
    """Whether *effect* would change a record, or run the body of a step."""
    is_attempt = isinstance(effect, Call) and isinstance(effect.place, Attempt)
    return is_attempt or isinstance(effect, Persist)


def _guarded(trace: Trace, effect: Effect) -> Effect:
    """Give *effect* so that a branch that it spawns does nothing new either."""
    if not isinstance(effect, Spawn):
        return effect
    make = partial(_made, trace, effect.op, effect.make)
    return Spawn(effect.index, effect.scope, effect.op, make)


def _made(trace: Trace, op: Op, make: Callable[[], Program[Any]]) -> Program[Any]:
    return recorded_only(trace, op, make())
