"""What user code has really done, kept where no fault of a scenario can undo or hide it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Literal, TypeAlias

from tests.simulator.programs import Path
from tests.simulator.values import Json

Phase: TypeAlias = Literal[
    "begin", "end", "cut off", "enter", "exit", "raise", "cut", "saw", "told"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that user code did.

    Attributes:
        tick: its place among everything that was observed.
        at: virtual seconds.
        execution: the ARN.
        path: of the node in the program; empty for the handler itself.
        invocation: counted from 1 over all executions.
        phase: `begin`, `end` and `cut off` of a handler (returned or raised; unwound); `enter`,
            `exit`, `raise` and `cut` (unwound) of a body; `saw` an outcome; `told` a callback id.
        attempt: of a body of a step or a check, from 1; else 0.
        operation_id: of a body of a step or a check; the callback id of `told`.
        value: what was returned, raised or seen, as `shown`.
    """

    tick: int
    at: float
    execution: str
    path: Path
    invocation: int
    node: str
    phase: Phase
    attempt: int = 0
    operation_id: str | None = None
    value: Json = None


class Ledger:
    """Collects entries.

    Attributes:
        entries: in the order in which they were made.
        listeners: called with each new entry, such as those that answer callbacks.
    """

    def __init__(
        self, tick: Callable[[], int] | None = None, now: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.entries: list[Entry] = []
        self.listeners: list[Callable[[Entry], None]] = []
        self._tick = count(1).__next__ if tick is None else tick
        self._now = now
        self._invocations = count(1)

    def begin(self, execution: str, node: str) -> Visit:
        """Open the page of an invocation that begins."""
        visit = Visit(self, execution, next(self._invocations), node)
        visit.note((), "begin")
        return visit

    def add(
        self, visit: Visit, path: Path, phase: Phase, attempt: int, told: str | None, value: Json
    ) -> None:
        """Write an entry."""
        entry = Entry(
            tick=self._tick(),
            at=self._now(),
            execution=visit.execution,
            path=path,
            invocation=visit.invocation,
            node=visit.node,
            phase=phase,
            attempt=attempt,
            operation_id=told,
            value=value,
        )
        self.entries.append(entry)
        for listener in self.listeners:
            listener(entry)


@dataclass(frozen=True, slots=True)
class Visit:
    """The page of one invocation."""

    ledger: Ledger
    execution: str
    invocation: int
    node: str

    def note(
        self,
        path: Path,
        phase: Phase,
        value: Json = None,
        *,
        attempt: int = 0,
        operation_id: str | None = None,
    ) -> None:
        """Write an entry of this invocation."""
        self.ledger.add(self, path, phase, attempt, operation_id, value)
