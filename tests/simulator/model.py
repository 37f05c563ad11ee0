"""The model: a program replayed over a history, by rules of its own.

It allots ids as the protocol says, looks up what is recorded under each, holds that against what
the program plans, and goes on with what is recorded. So whatever chance decides (who won a race,
which answer came first, which items a batch was over without) it takes from the record, once it has
seen that it may be so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from tests.simulator.outcomes import ModelError, Outcome, WaitingError, agrees
from tests.simulator.programs import Block, Node, Path, Program, Single, named
from tests.simulator.records import Record


class DivergedError(Exception):
    """The program asks for another operation than the one recorded."""


def wire_id(step_id: str) -> str:
    """Hash an operation's place, as the protocol does."""
    return hashlib.md5(step_id.encode(), usedforsecurity=False).hexdigest()[:16]


@dataclass(slots=True)
class Scope:
    """A context: who counts its operations, and what their parent is.

    Attributes:
        clock: the event up to which its code has got.
    """

    prefix: str = ""
    parent: Any = None
    clock: int = 0
    count: int = 0

    def next(self) -> Place:
        """Allot the next place."""
        self.count += 1
        step_id = f"{self.prefix}{self.count}"
        return Place(step_id, wire_id(step_id), self.parent, self.clock)

    def inside(self, place: Place, *, virtual: bool, clock: int) -> Scope:
        """Open the context at *place*."""
        return Scope(f"{place.step_id}-", self.parent if virtual else place.id, clock)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operation is. *after* is the event up to which the code had got at its call."""

    step_id: str
    id: str
    parent: Any
    after: int


@dataclass(slots=True)
class Evidence:
    """What a model is held against.

    Attributes:
        seen: what the handler saw, by path.
        told: callback ids, by path.
        begun: paths of branches that were entered.
        instants: of the events, by id.
        trusts: whatever is recorded is believed, even what the program does not plan.
    """

    records: Mapping[str, Record]
    seen: Mapping[Path, Any] = field(default_factory=dict)
    told: Mapping[Path, str] = field(default_factory=dict)
    begun: frozenset[Path] = frozenset()
    instants: Mapping[int, datetime] = field(default_factory=dict)
    trusts: bool = False


Look: TypeAlias = Callable[["Model", Scope, Place, Any, Path], Outcome]
"""Looks at what one operation has come to; its place was taken at the call."""
Run: TypeAlias = Callable[["Model", Scope, Any, Path], Any]
"""Runs what is more than one operation; raises what it raises."""


class Model:
    """Runs one program over the evidence.

    Attributes:
        problems: what the program cannot have made.
        bounds: of entries, by path and attempt.
        visited: the path of each operation that the program has asked for, by id.
        interrupted: how many attempts are recorded as cut off.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        program: Program,
        evidence: Evidence,
        kinds: tuple[Mapping[type[Any], Look], Mapping[type[Any], Run]],
    ) -> None:
        self.programs = programs
        self.is_plain = program.flavour == "def"
        self.evidence = evidence
        self.problems: list[str] = []
        self.bounds: dict[tuple[Path, int], tuple[int, int]] = {}
        self.visited: dict[str, Path] = {}
        self.interrupted = 0
        self._looks, self._runs = kinds

    def blame(self, path: Path, text: str) -> None:
        """Note what cannot be."""
        self.problems.append(f"{named(path)}: {text}")

    # Blocks

    def block(self, scope: Scope, block: Block, path: Path) -> list[Any]:
        """Run node after node."""
        return [self.node(scope, node, (*path, place)) for place, node in enumerate(block)]

    def node(self, scope: Scope, node: Node, path: Path) -> Any:
        """Run a node, and hold it against what the handler saw of it."""
        try:
            if isinstance(node, Single):
                value = self.take(scope, self.call(scope, node, path)())
            else:
                value = self._runs[type(node)](self, scope, node, path)
        except ModelError as error:
            if self._sees(path, error.shown()):
                seen = self.evidence.seen[path]
                raise ModelError(seen["raised"], seen["of"], seen["says"]) from error
            raise
        return self.evidence.seen[path] if self._sees(path, value) else value

    def _sees(self, path: Path, value: Any) -> bool:
        """Whether the handler saw just this of a node, if it did see it; then that is all known."""
        if path not in self.evidence.seen:
            return False
        seen = self.evidence.seen[path]
        if not agrees(value, seen):
            self.blame(path, f"the handler saw {seen}, not {value}")
            return False
        return True

    def take(self, scope: Scope, outcome: Outcome) -> Any:
        """Await an outcome."""
        if outcome.waits is not None:
            raise WaitingError(outcome.waits)
        scope.clock = max(scope.clock, outcome.ended)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def capture(self, scope: Scope, run: Callable[[], Any]) -> Outcome:
        """Run the body of a context, and say how it stands."""
        try:
            value = run()
        except ModelError as error:
            return Outcome(error=error, ended=scope.clock)
        except WaitingError as waiting:
            return Outcome(waits=waiting.waits)
        return Outcome(value, ended=scope.clock)

    # Operations

    def call(self, scope: Scope, node: Single, path: Path) -> Callable[[], Outcome]:
        """Call an operation: its place is taken now, and it is looked at when it is awaited."""
        return partial(self._looks[type(node)], self, scope, scope.next(), node, path)

    def find(self, place: Place, path: Path, kind: str, sub_type: Any, name: Any) -> Record | None:
        """Look up a record, and hold it against what the program asks for.

        Raises:
            DivergedError: it is of another operation.
        """
        self.visited[place.id] = path
        record = self.evidence.records.get(place.id)
        if record is None:
            return None
        wanted = [kind, sub_type, name, place.parent]
        found = [record.kind, record.sub_type, record.name, record.parent]
        if not agrees(wanted, found):
            raise DivergedError(f"{named(path)}: recorded is {found}, the program has {wanted}")
        if record.started <= place.after:
            self.blame(
                path, f"began with event {record.started}, before {place.after} that came first"
            )
        return record
