"""The histories that a test has produced, replayed against the very code that produced them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from durably.app.histories import History
from durably.handler import DurableFunction
from durably.testing.collected import Collected
from durably.testing.fakes import Fakes
from durably.testing.replays import NotReplayableError, replay_all_in_loop
from durably.testing.store import TestStore

REPLAY_VARIABLE = "DURABLY_REPLAY"
"""Set in the environment, it has the histories replayed where the test does not say it."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How much was replayed.

    Attributes:
        histories: how many histories there were.
        states: from how many states.
    """

    histories: int
    states: int


REPLAYED = Collected[Replayed](REPLAY_VARIABLE)


class Produced:
    """The histories of the executions of one test engine.

    Args:
        functions: those of the engine, by name.
        fakes: what stands in for some of them, and has no operations to be replayed.
    """

    def __init__(self, functions: Mapping[str, DurableFunction], fakes: Fakes) -> None:
        self._functions = functions
        self._fakes = fakes
        self._stores: list[tuple[TestStore, str | None]] = []

    def keep(self, store: TestStore, note: str | None = None) -> None:
        """Keep what is in *store*; the *note* says how it came to be, if that needs saying."""
        self._stores.append((store, note))

    async def replay(self) -> None:
        """Replay all of them, from every state, up to the first store in which one does not.

        Raises:
            NotReplayableError: one does not; the text says in what, and in which line.
        """
        __tracebackhide__ = True
        for store, note in self._stores:
            report = await replay_all_in_loop(list(self._replayable(store)), same_end=True)
            REPLAYED.add([Replayed(report.histories, report.states)])
            if report.findings:
                error = NotReplayableError(report)
                if note is not None:
                    error.add_note(note)
                raise error

    def _replayable(self, store: TestStore) -> Iterator[tuple[History, DurableFunction]]:
        for history in store.histories():
            if history.function_name not in self._fakes.functions:
                yield history, self._functions[history.function_name]
