"""`durably check-deploy`: would the executions under way go on with this code?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from durably.app.execution import function_in, name_in
from durably.cli.errors import FAILED
from durably.cli.loading import load_functions
from durably.cli.options import json_option, store_option, with_store
from durably.cli.printing import colored, counted, print_json_lines, safe, without_none
from durably.cli.replay import difference_lines
from durably.cli.run import stdout_for_results
from durably.cli.stores import read
from durably.engine.damage import execution_of
from durably.engine.execution import Execution
from durably.engine.service import Service
from durably.engine.store import Query
from durably.handler import DurableFunction
from durably.wire.execution import CLOSED_STATUSES, ExecutionStatus

if TYPE_CHECKING:
    from durably.testing.differences import Difference
    from durably.testing.replays import Replayer

_PAGE = 100
_MAX_NAMES = 20
_UNDER_WAY = tuple(status.value for status in ExecutionStatus if status not in CLOSED_STATUSES)


@dataclass(frozen=True, slots=True)
class Broken:
    """An execution that would not go on.

    Attributes:
        differences: in what its record and the code differ; none if there is no function for it.
    """

    arn: str
    differences: tuple[Difference, ...] = ()


@dataclass(slots=True)
class Checked:
    """What came of all executions under way.

    Attributes:
        count: how many there are.
        unreadable: those whose record cannot be read: no code goes on with them.
    """

    count: int = 0
    broken: list[Broken] = field(default_factory=list[Broken])
    unreadable: list[str] = field(default_factory=list[str])


@click.command("check-deploy", short_help="Say which executions under way new code would break.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@store_option
@json_option
@click.pass_context
def check_deploy(ctx: click.Context, *, files: tuple[str, ...], url: str, as_json: bool) -> None:
    """Say which executions under way would break with the code in FILEs.

    Each is replayed as it stands against the function of its name. No body of a step is run, and
    nothing is written: the process that works on the store need not be stopped. An execution whose
    function none of the FILEs has would break, too.

    Exit codes: 0 all would go on; 1 some would not; 2 it could not be tried.
    """
    with stdout_for_results():
        functions = load_functions(*files)
        checked = _check(url, functions)
    if as_json:
        print_json_lines(document for one in checked.broken for document in _documents(one))
    else:
        _tell(checked.broken)
    _sum_up(checked, url)
    ctx.exit(FAILED if checked.broken else 0)


def _check(url: str, functions: Mapping[str, DurableFunction]) -> Checked:
    from durably.testing.replays import Replayer  # noqa: PLC0415 - brings the drivers

    checked = Checked()
    after: str | None = None
    with Replayer() as replayer:
        while True:
            executions, after = _page(url, after)
            for execution in executions:
                _judge(execution, functions.get(execution.start.function_name), replayer, checked)
            if after is None:
                return checked


def _page(url: str, after: str | None) -> tuple[list[Execution], str | None]:
    """Read some of the executions under way, so that never all of them are held at once."""

    async def look(service: Service) -> tuple[list[Execution], str | None]:
        query = Query(statuses=_UNDER_WAY, oldest_first=True, after=after, limit=_PAGE)
        page = await service.list(query)
        stored = [await service.store.find(listed.arn) for listed in page.executions]
        found = [execution_of(one) for one in stored if one is not None]
        return [one for one in found if not one.is_closed], page.next_marker

    return read(url, look)


def _judge(
    execution: Execution, function: DurableFunction | None, replayer: Replayer, checked: Checked
) -> None:
    checked.count += 1
    if execution.damage is not None:
        checked.unreadable.append(execution.arn)
    elif function is None:
        checked.broken.append(Broken(execution.arn))
    else:
        differences = replayer.differences(execution, function)
        if differences:
            checked.broken.append(Broken(execution.arn, differences))


# What is said


def _tell(broken: Sequence[Broken]) -> None:
    """Print what breaks, once for all executions that it breaks alike."""
    alike: dict[tuple[str, tuple[Difference, ...]], list[str]] = {}
    for one in broken:
        names = alike.setdefault((function_in(one.arn), one.differences), [])
        names.append(name_in(one.arn))
    for (function_name, differences), names in alike.items():
        said = "would break" if differences else "is in none of the files"
        many = counted(len(names), "execution")
        click.echo(f"{safe(function_name)} {colored(said, 'red')}: {many}, {_listed(names)}")
        for difference in differences:
            for line in difference_lines(difference):
                click.echo(f"  {line}")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    listed = ", ".join(safe(name) for name in names[:_MAX_NAMES])
    return f"{listed} and {more} more, which --json names" if more > 0 else listed


def _documents(broken: Broken) -> Iterator[dict[str, Any]]:
    named = {
        "DurableExecutionArn": broken.arn,
        "DurableExecutionName": name_in(broken.arn),
        "FunctionName": function_in(broken.arn),
    }
    if not broken.differences:
        yield {**named, "Problem": "NoSuchFunction"}
    for one in broken.differences:
        place = one.place
        yield without_none(
            {
                **named,
                "Problem": "Difference",
                "Operation": one.operation,
                "OperationId": one.operation_id,
                "Recorded": one.recorded,
                "Now": one.now,
                "File": None if place is None else place.file,
                "Line": None if place is None else place.line,
                "Function": None if place is None else place.function,
                "Source": None if place is None else place.source,
            }
        )


def _sum_up(checked: Checked, url: str) -> None:
    for arn in checked.unreadable:
        why = with_store(url, "why", name_in(arn))
        said = f"{name_in(arn)} cannot be read, whatever the code is; see `{why}`."
        click.echo(safe(said), err=True)
    count, broken = checked.count, len(checked.broken)
    many = counted(count, "execution")
    verdict = f"{broken} of them would break" if broken else "all of them would go on"
    click.echo(f"{many} under way: {verdict}." if count else "Nothing is under way.", err=True)
