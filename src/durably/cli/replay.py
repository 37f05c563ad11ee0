"""`durably replay`: a recorded history, against the code of today."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from durably.app.histories import History
from durably.app.operations import find_operations, kind_of, path_of
from durably.cli.errors import FAILED, Trouble
from durably.cli.loading import load_function, load_functions
from durably.cli.outcome import error_text
from durably.cli.printing import colored, counted, length, print_grid, safe, safe_lines, short
from durably.cli.run import stdout_for_results
from durably.engine.evolution import evolve, fold
from durably.engine.execution import Execution
from durably.errors import ValidationError
from durably.handler import DurableFunction
from durably.wire.operation import Operation

if TYPE_CHECKING:
    from durably.cli.debugging import Stand
    from durably.testing.differences import Difference
    from durably.testing.places import Place
    from durably.testing.replays import Finding, Replayer

_VALUE_WIDTH = 2000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line.

    Attributes:
        is_debugged: whether to stand in the debugger.
    """

    history: History
    function: DurableFunction
    is_debugged: bool

    @property
    def title(self) -> str:
        """What the execution is called."""
        return f"{self.history.function_name}/{self.history.execution_name}"


@click.command(short_help="Replay an exported history against today's code.")
@click.argument("file", metavar="HISTORY")
@click.argument("target", metavar="FILE:FUNCTION")
@click.option(
    "--at",
    "text",
    metavar="OPERATION",
    help="Stop where the code asks for this operation, a name, a path or an id, and print what is"
    " recorded of it.",
)
@click.option(
    "--pdb",
    "is_debugged",
    is_flag=True,
    help="Stand there in the debugger, or else where the code asks for something else.",
)
@click.pass_context
def replay(
    ctx: click.Context, *, file: str, target: str, text: str | None, is_debugged: bool
) -> None:
    """Replay HISTORY, a file of `durably history --export`, against FUNCTION in FILE.

    Every state that the execution has had is replayed: of a long history, a sample. No body of a
    step is run, and nothing is written. FILE alone will do if the function is called what it was.

    Exit codes: 0 it replays; 1 it does not; 2 it could not be tried.
    """
    apart: AbstractContextManager[Any] = nullcontext() if is_debugged else stdout_for_results()
    with apart:
        history = _read(file)
        wanted = Wanted(history, _function_for(target, history), is_debugged)
        done = _replay(wanted) if text is None else _replay_to(wanted, text)
    ctx.exit(done.tell())


def _read(file: str) -> History:
    try:
        return History.read(file)
    except OSError as error:
        raise Trouble(f"{file!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Trouble(f"{file!r} is not UTF-8 text: {error.reason}.") from error
    except ValidationError as error:
        raise Trouble(f"{file!r} cannot be replayed: {error.message}.") from error


def _function_for(target: str, history: History) -> DurableFunction:
    if ":" in target:
        return load_function(target)[0]
    functions = load_functions(target)
    found = functions.get(history.function_name)
    return load_function(target)[0] if found is None else found


# The whole history


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of all states.

    Attributes:
        states: how many were replayed.
        finding: the first that differs.
    """

    wanted: Wanted
    states: int
    finding: Finding | None

    def tell(self) -> int:
        """Print it, and give the exit code."""
        title = safe(self.wanted.title)
        if self.finding is not None:
            if not self.wanted.is_debugged:  # else it was told before
                _tell(self.finding, self.wanted)
            return FAILED
        many = counted(self.states, "state")
        click.echo(f"{title} {colored('replays', 'green')}: {many}, without a difference")
        return 0


def _tell(finding: Finding, wanted: Wanted) -> None:
    verdict = colored("does not replay", "red")
    whole = counted(len(finding.history.facts), "fact")
    click.echo(f"{safe(wanted.title)} {verdict}: after {finding.facts} of its {whole}")
    for difference in finding.differences:
        for line in difference_lines(difference):
            click.echo(f"  {line}")
    if finding.hint is not None:
        click.echo(f"  {finding.hint}")


def difference_lines(difference: Difference) -> Iterator[str]:
    """Say what was recorded, what the code does instead, and where."""
    yield safe(difference.operation)
    yield f"  recorded  {safe_lines(difference.recorded)}"
    yield f"  now       {safe_lines(difference.now)}"
    if difference.place is not None:
        yield f"  {safe(difference.place)}"


def _replay(wanted: Wanted) -> Replayed:
    from durably.testing.replays import Replayer  # noqa: PLC0415 - brings the drivers

    with Replayer() as replayer:
        history, function = wanted.history, wanted.function
        states, finding = replayer.replay_history(history, function, same_end=False)
        if finding is not None and wanted.is_debugged:
            _stand_at(finding, wanted, replayer)
    return Replayed(wanted, states, finding)


def _stand_at(finding: Finding, wanted: Wanted, replayer: Replayer) -> None:
    """Replay the state that differs once more, with the user standing where it does."""
    from durably.cli.debugging import Stand  # noqa: PLC0415 - brings the debugger

    _tell(finding, wanted)
    stand = Stand(finding.differences[0].operation_id, lambda _: None)
    execution = fold(wanted.history.facts[: finding.facts])
    stand.look_back(replayer.replay(execution, wanted.function, stand.trace))
    if not stand.has_stood:
        click.echo("There is no line to stand in: no code of yours asks for it.", err=True)


# One operation


@dataclass(frozen=True, slots=True)
class Stopped:
    """What came of a replay up to one operation.

    Attributes:
        place: where the code asks for it; `None` where that is not known.
        is_asked: whether it does.
    """

    wanted: Wanted
    operation: Operation
    path: str
    is_asked: bool
    place: Place | None
    finding: Finding | None

    def tell(self) -> int:
        """Print it, and give the exit code."""
        if self.is_asked and not self.wanted.is_debugged:
            print_operation(self.operation, self.path, self.place)
        if self.finding is not None:
            _tell(self.finding, self.wanted)
            return FAILED
        if not self.is_asked:
            said = "the code does not ask for it: it ends, or waits, before that"
            click.echo(f"{safe(self.path)}: {said}")
            return FAILED
        return 0


def _replay_to(wanted: Wanted, text: str) -> Stopped:
    from durably.testing.differences import differences_of  # noqa: PLC0415 - brings the drivers
    from durably.testing.recorded import Trace  # noqa: PLC0415 - loaded only where it is used: it is slow to load
    from durably.testing.replays import Finding, Replayer  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    operation, path = _operation(wanted.history, text)
    execution = _when_over(wanted.history, operation.id)
    stand = _stand_in_front_of(operation, path) if wanted.is_debugged else None
    trace = Trace(stops_at=operation.id) if stand is None else stand.trace
    with Replayer() as replayer:
        done = replayer.replay(execution, wanted.function, trace)
    is_left = stand is not None and stand.is_left
    found = () if is_left else tuple(differences_of(done))
    asked = trace.asked.get(operation.id)
    return Stopped(
        wanted=wanted,
        operation=operation,
        path=path,
        is_asked=asked is not None,
        place=None if asked is None else asked.place,
        finding=Finding(wanted.history, execution.version, found) if found else None,
    )


def _stand_in_front_of(operation: Operation, path: str) -> Stand:
    from durably.cli.debugging import Stand  # noqa: PLC0415 - brings the debugger

    return Stand(operation.id, lambda place: print_operation(operation, path, place))


def _operation(history: History, text: str) -> tuple[Operation, str]:
    operations = fold(history.facts).operations
    by_id = {operation.id: operation for operation in operations}
    found = find_operations(operations, text)
    if not found:
        paths = ", ".join(dict.fromkeys(path_of(one, by_id) for one in operations[1:]))
        raise Trouble(f"The history has no operation {text!r}.", f"It has: {short(paths, 500)}")
    if len(found) > 1:
        named = (f"{path_of(one, by_id)} ({one.id})" for one in found[:10])
        raise Trouble(f"Several operations are called {text!r}.", f"Say {' or '.join(named)}.")
    return found[0], path_of(found[0], by_id)


def _when_over(history: History, operation_id: str) -> Execution:
    """Give the execution as it was when an operation had ended, or as it is if that has not.

    Later the context around it may be over, and then its body does not run any more.
    """
    execution = Execution()
    for fact in history.facts:
        evolve(execution, fact)
        operation = execution.find_operation(operation_id)
        if operation is not None and operation.is_terminal:
            break
    return execution


def print_operation(operation: Operation, path: str, place: Place | None) -> None:
    """Print what is recorded of an operation, and the line that asks for it."""
    from rich.table import Table  # noqa: PLC0415 - takes a while, and errors need none
    from rich.text import Text  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for title, value in _facts_of(operation, path, place):
        table.add_row(Text(title, "dim"), Text(value))
    print_grid(table)


def _facts_of(operation: Operation, path: str, place: Place | None) -> Iterator[tuple[str, str]]:
    from durably.core.journal import attempts_of, error_of, result_of  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    yield "operation", safe(path)
    yield "kind", safe(kind_of(operation))
    yield "id", safe(operation.id)
    yield "line", "not one of yours" if place is None else safe(place)
    yield "status", operation.status.value
    if attempts_of(operation) > 1:
        yield "attempts", str(attempts_of(operation))
    if operation.start_timestamp is not None and operation.end_timestamp is not None:
        yield "took", length(operation.end_timestamp - operation.start_timestamp)
    result, error = result_of(operation), error_of(operation)
    if result is not None:
        yield "result", short(result, _VALUE_WIDTH)
    if error is not None:
        yield "error", short(error_text(error), _VALUE_WIDTH)
