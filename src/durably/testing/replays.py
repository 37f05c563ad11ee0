"""Replays of whole histories: what executions under way would meet in today's code."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from durably.app.histories import History
from durably.checks import check_kind
from durably.drivers.beside import in_thread
from durably.drivers.futures import Broken
from durably.engine.evolution import evolve, fold
from durably.engine.execution import Execution, readable_operations
from durably.engine.facts import Fact
from durably.errors import UnrecoverableError
from durably.handler import DurableFunction
from durably.testing.differences import Difference, differences_of
from durably.testing.endings import failure_of, other_end_of
from durably.testing.recorded import Trace
from durably.testing.replay import Replay, replay, replay_in_loop

T = TypeVar("T")

MAX_STATES = 300
"""A history that has had more states than this is replayed from a sample of them."""

SAMPLE = 100
"""How many states the sample has, evenly spread; the last one is always among them."""


class NotReplayableError(AssertionError):
    """Today's code asks for something else than a history has recorded.

    Attributes:
        report: what, and where.
    """

    def __init__(self, report: ReplayReport) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True, slots=True)
class Finding:
    """A history that does not replay, and in what; the first state that differs.

    Attributes:
        facts: how many facts of the history that state comes after.
    """

    history: History
    facts: int
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        history = self.history
        name, whole = f"{history.function_name}/{history.execution_name}", len(history.facts)
        lines = [f"{name} does not replay: after {self.facts} of its {whole} facts"]
        lines += [f"  {line}" for one in self.differences for line in str(one).splitlines()]
        lines += [] if self.hint is None else [f"  {self.hint}"]
        return "\n".join(lines)

    @property
    def hint(self) -> str | None:
        """What else may be the reason."""
        return _MASKED if self.history.is_masked else None


_MASKED = (
    "The history is masked: code that decides by a value, or reads it as one of a few, may see "
    "another one than it saw then."
)


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What came of the replays of some histories.

    Attributes:
        histories: how many there were.
        states: how many states they were replayed from.
        findings: the histories that do not replay.
    """

    histories: int
    states: int
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        if self.findings:
            return "\n\n".join(map(str, self.findings))
        many = "1 history replays" if self.histories == 1 else f"{self.histories} histories replay"
        return f"{many}, from {self.states} states"


def assert_replayable(
    history: History, function: DurableFunction, *, same_end: bool = False
) -> None:
    """See that an execution with this history could go on with today's code, from any state of it.

    Every prefix of the history is replayed, up to 300 that differ in an operation; of a longer one
    100, evenly spread, and the whole. No body of a step, submitter or check is run: what is
    recorded is given, and where the record ends the replay does. What the code asks for *after*
    the last operation is free, except that it must not fail where the execution succeeded.

    Args:
        history: of an execution of *function*, or of the function that it was.
        function: today's code.
        same_end: its end must be the recorded one, too: no further operation, and the same result
            or error. For histories of this very code, which must be deterministic.

    Raises:
        NotReplayableError: it could not. The text says what was recorded, what the code asks for
            now, and in which line.
        ValidationError: *history* is none, or *function* is no durable one.
    """
    __tracebackhide__ = True
    report = replay_all([(history, function)], same_end=same_end)
    if report.findings:
        raise NotReplayableError(report)


def replay_all(
    histories: Iterable[tuple[History, DurableFunction]], *, same_end: bool = False
) -> ReplayReport:
    """Replay each of *histories* against a function, as `assert_replayable` does; give a report.

    Args:
        histories: each with the function that it is to be replayed against.
        same_end: their ends must be the recorded ones, too; see `assert_replayable`.

    Raises:
        ValidationError: one is no history, or has no durable function.
    """
    given = list(histories)
    for history, function in given:
        check_kind(history, "history", History, "a history, such as History.read(file) gives")
        check_kind(function, "function", DurableFunction, "a durable function")
    return _outside_of_loops(lambda: asyncio.run(replay_all_in_loop(given, same_end=same_end)))


async def replay_all_in_loop(
    histories: Sequence[tuple[History, DurableFunction]], *, same_end: bool
) -> ReplayReport:
    """Do what `replay_all` does in the running event loop, which is that of the handlers."""
    findings: list[Finding] = []
    states = 0
    for history, function in histories:
        count, finding = await _replay_history(history, function, same_end=same_end)
        states += count
        findings += [] if finding is None else [finding]
    return ReplayReport(len(histories), states, tuple(findings))


class Replayer:
    """Replays states one after the other, in this thread."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runner.close()

    def replay(
        self, execution: Execution, function: DurableFunction, trace: Trace | None = None
    ) -> Replay:
        """Replay the state of *execution* against *function*."""
        operations = readable_operations(execution)
        words = (function, execution.arn, operations, trace or Trace())
        return self._runner.run(replay_in_loop(*words)) if function.is_async else replay(*words)

    def differences(
        self, execution: Execution, function: DurableFunction
    ) -> tuple[Difference, ...]:
        """Say in what the state of *execution*, which is under way, and *function* differ."""
        done = self.replay(execution, function)
        failure = failure_of(execution, done)
        found = tuple(differences_of(done))
        return found if found or failure is None else (failure,)

    def replay_history(
        self, history: History, function: DurableFunction, *, same_end: bool
    ) -> tuple[int, Finding | None]:
        """Replay every state of *history*; say how many those were, and what differs first."""
        return self._runner.run(_replay_history(history, function, same_end=same_end))


async def _replay_history(
    history: History, function: DurableFunction, *, same_end: bool
) -> tuple[int, Finding | None]:
    whole = fold(history.facts)
    count = 0
    for facts, execution in _states(history.facts):
        count += 1
        done = await _replay_state(execution, function)
        found = list(differences_of(done))
        if same_end and isinstance(done.ending, Broken) and _is_known(done.ending.error, whole):
            found = []
        elif not found and facts == len(history.facts):
            found = _at_the_end(execution, done, history, same_end=same_end)
        if found:
            return count, Finding(history, facts, tuple(found))
    return count, None


def _is_known(error: UnrecoverableError, whole: Execution) -> bool:
    """Whether the execution has ended with this very *error*, or its last invocation has."""
    end, last = whole.error, whole.last_error
    is_end = end is not None and end.error_type == type(error).__name__
    return is_end or (last is not None and last.error_message == str(error))


async def _replay_state(execution: Execution, function: DurableFunction) -> Replay:
    """Replay one state; a `def` handler in a thread, as nothing may block the event loop."""
    words = (function, execution.arn, readable_operations(execution), Trace())
    if function.is_async:
        return await replay_in_loop(*words)
    return await in_thread(partial(replay, *words), "durably replay")


def _at_the_end(
    execution: Execution, done: Replay, history: History, *, same_end: bool
) -> list[Difference]:
    found = failure_of(execution, done)
    if found is None and same_end:
        found = other_end_of(execution, done, is_masked=history.is_masked)
    return [] if found is None else [found]


def _states(facts: Sequence[Fact]) -> Iterator[tuple[int, Execution]]:
    """Give the execution as it was after so many facts; not where nothing had changed for it."""
    chosen = frozenset(_chosen(facts))
    execution = Execution()
    for count, fact in enumerate(facts, 1):
        evolve(execution, fact)
        if count in chosen:
            yield count, execution


def _chosen(facts: Sequence[Fact]) -> list[int]:
    execution = Execution()
    changed: list[int] = []
    for count, fact in enumerate(facts, 1):
        before = len(execution.changes)
        if len(evolve(execution, fact).changes) > before:
            changed.append(count)
    changed[-1] = len(facts)  # what comes after the last change belongs to the end
    if len(changed) <= MAX_STATES:
        return changed
    last = len(changed) - 1
    return [changed[last * place // (SAMPLE - 1)] for place in range(SAMPLE)]


def _outside_of_loops(work: Callable[[], T]) -> T:
    """Do *work*, which runs an event loop, where none is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, "durably replay") as pool:
        return pool.submit(context.run, work).result()
