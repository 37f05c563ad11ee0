"""`durably list`: which executions there are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from durably.app.names import find_arn
from durably.app.operations import kind_of, label_of
from durably.app.settings import is_postgres
from durably.cli.options import json_option, store_option, workers_for
from durably.cli.printing import (
    clock_time,
    console,
    left,
    length,
    print_grid,
    print_json_lines,
    safe,
    short,
    without_none,
)
from durably.cli.stores import functions_of_holder, is_held, read
from durably.clock import SystemClock
from durably.engine.arns import LATEST
from durably.engine.roster import Roster, claim_name
from durably.engine.service import Service
from durably.engine.store import Listed, Page, Query
from durably.engine.views import Next, Standing, Why
from durably.wire.base import Timestamp
from durably.wire.execution import ExecutionStatus

STYLES = {
    ExecutionStatus.RUNNING: "cyan",
    ExecutionStatus.PAUSING: "yellow",
    ExecutionStatus.PAUSED: "yellow",
    ExecutionStatus.SUCCEEDED: "green",
    ExecutionStatus.FAILED: "red",
    ExecutionStatus.TIMED_OUT: "red",
    ExecutionStatus.STOPPED: "red",
}
_IN_A_ROW = re.compile(r"^(\d+) invocations failed in a row; the last with ")
_INSTANT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])


@click.command("list")
@store_option
@click.option("--function", "function_name", help="Only those of this function.")
@click.option("--name", help="Only those of this name.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in STYLES], case_sensitive=False),
    help="Only those that stand so; may be given several times.",
)
@click.option("--parked", is_flag=True, help="Only those that nothing wakes before `resume`.")
@click.option("--parent", help="Only those that this execution, an ARN or NAME, has invoked.")
@click.option("--started-after", type=_INSTANT, help="Local time, as in 2026-11-22T09:30:00.")
@click.option("--started-before", type=_INSTANT, help="Local time.")
@click.option("--oldest-first", is_flag=True, help="Print the oldest first.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
@click.option("--after", metavar="MARKER", help="Go on where a page ended.")
@json_option
def list_executions(*, url: str, as_json: bool, parent: str | None, **filters: Any) -> None:
    """Print the executions in the store, newest first."""
    has_owner = None if is_postgres(url) else is_held(url)
    functions = functions_of_holder(url) if has_owner else None

    async def look(service: Service) -> tuple[Page, list[str], Roster | None]:
        parent_arn = None if parent is None else await find_arn(service.store, parent)
        page = await service.list(_query(parent_arn=parent_arn, **filters))
        roster = None if service.sharing is None else await service.sharing.roster()
        if as_json:
            return page, [], roster
        nexts = [
            await _next(service, one, roster, has_owner=has_owner, functions=functions)
            for one in page.executions
        ]
        return page, nexts, roster

    page, nexts, roster = read(url, look)
    if as_json:
        print_json_lines(_document(listed, roster) for listed in page.executions)
    elif page.executions:
        _print_table(page, nexts)
        if has_owner is False and any(_goes_on(one) for one in page.executions):
            said = "No process works on this store, so nothing happens until one does: start "
            click.echo(f"{said}{safe(workers_for(url))}.", err=True)
    else:
        click.echo("There are none.", err=True)
    if page.next_marker is not None:
        click.echo(f"There are more: --after {page.next_marker}", err=True)


def _goes_on(listed: Listed) -> bool:
    """Whether an execution needs no more than a process to go on some time."""
    return listed.summary.ended_at is None and listed.summary.parked_reason is None


def _query(  # noqa: PLR0913 - one for each option
    *,
    function_name: str | None,
    name: str | None,
    statuses: tuple[str, ...],
    parked: bool,
    parent_arn: str | None,
    started_after: datetime | None,
    started_before: datetime | None,
    oldest_first: bool,
    limit: int,
    after: str | None,
) -> Query:
    return Query(
        function_name=function_name,
        execution_name=name,
        statuses=statuses,
        started_after=_aware(started_after),
        started_before=_aware(started_before),
        parent_arn=parent_arn,
        is_parked=True if parked else None,
        oldest_first=oldest_first,
        after=after,
        limit=limit,
    )


def _aware(local: datetime | None) -> datetime | None:
    return None if local is None else local.astimezone(UTC)


def _document(listed: Listed, roster: Roster | None) -> dict[str, Any]:
    summary, wake_at = listed.summary, None if listed.is_claimed else listed.wake_at
    is_open = summary.ended_at is None
    return without_none(
        {
            "DurableExecutionArn": listed.arn,
            "DurableExecutionName": summary.execution_name,
            "FunctionName": summary.function_name,
            "Status": summary.status,
            "StartTimestamp": Timestamp.of(summary.started_at),
            "EndTimestamp": summary.ended_at and Timestamp.of(summary.ended_at),
            "ParentArn": summary.parent_arn,
            "ParkedReason": summary.parked_reason,
            "WakeTimestamp": wake_at and Timestamp.of(wake_at),
            "HasWorker": has_worker_for(listed, roster) if is_open and roster else None,
        }
    )


def _print_table(page: Page, nexts: Sequence[str]) -> None:
    from rich import box  # noqa: PLC0415 - takes a while, and JSON needs none
    from rich.table import Table  # noqa: PLC0415 - loaded only where it is used: it is slow to load
    from rich.text import Text  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    now = SystemClock().now()
    out = console()
    rows = [
        {
            "NAME": Text(safe(one.summary.execution_name)),
            "FUNCTION": Text(safe(one.summary.function_name)),
            "STATUS": status_text(one.summary.status, one.summary.parked_reason),
            "STARTED": Text(clock_time(one.summary.started_at, now)),
            "TOOK": Text(length((one.summary.ended_at or now) - one.summary.started_at)),
            "NEXT": Text(said, "dim"),
        }
        for one, said in zip(page.executions, nexts, strict=True)
    ]
    widths = {title: max(len(title), *(row[title].cell_len for row in rows)) for title in rows[0]}
    titles, width = fitting(widths, out.width)
    table = Table(box=box.SIMPLE_HEAD if out.is_terminal else None, pad_edge=False)
    for title in titles:
        table.add_column(title, no_wrap=title != "NEXT", overflow="fold")
    for row in rows:
        table.add_row(*(row[title] for title in titles))
    print_grid(table, width)


def fitting(widths: Mapping[str, int], room: int) -> tuple[list[str], int]:
    """Choose the columns that there is room for, and how wide their table is.

    None is ever cut. What comes next is wrapped, and how long it took and of which function it is
    make way for that. Where the rest does not fit, the table is as wide as it has to be.
    """
    titles = list(widths)
    for title in ("", "TOOK", "FUNCTION"):
        titles = [one for one in titles if one != title]
        taken = sum(widths[one] + _GAP for one in titles if one != "NEXT")
        if taken + min(widths["NEXT"], _NARROW_NEXT) <= room:
            return titles, room
    return titles, max(room, taken + min(widths["NEXT"], _NARROWEST_NEXT))


_GAP = 3
_NARROW_NEXT = 24
_NARROWEST_NEXT = 12


def status_text(status: str, parked_reason: str | None) -> Any:
    """Give a status in its colour."""
    from rich.text import Text  # noqa: PLC0415 - takes a while, and JSON needs none

    if parked_reason is not None:
        return Text("PARKED", "yellow")
    return Text(safe(status), STYLES.get(ExecutionStatus(status), ""))


def has_worker_for(listed: Listed, roster: Roster) -> bool:
    """Whether a worker that is alive goes on with an execution."""
    summary = listed.summary
    return roster.has_worker_for(claim_name(summary.function_name, summary.version))


async def _next(
    service: Service,
    listed: Listed,
    roster: Roster | None,
    *,
    has_owner: bool | None,
    functions: frozenset[str] | None,
) -> str:
    """Say what is going to happen next, which only the record of an execution tells."""
    summary = listed.summary
    if summary.ended_at is not None or summary.parked_reason is not None:
        return short(_IN_A_ROW.sub(r"\1 failed: ", summary.parked_reason or ""), 60)
    is_due = listed.wake_at is not None and listed.wake_at <= service.clock.now()
    if is_due and roster is not None and not has_worker_for(listed, roster):
        in_version = "" if summary.version == LATEST else f" in version {summary.version}"
        return f"no worker has it{in_version}"
    if is_due and functions is not None and summary.function_name not in functions:
        return "no process has it"
    if listed.is_claimed:
        silent = "its process died" if has_owner is False else "its worker is silent"
        return silent if has_owner is False or (is_due and roster is not None) else "at work"
    return await _next_by_itself(service, listed)


async def _next_by_itself(service: Service, listed: Listed) -> str:
    found = await service.why(listed.arn)
    if found.standing is Standing.PAUSED:
        return "until resume"
    if found.damage is not None or found.wakes_at is None or found.next is None:
        return short(found.damage or "", 60)
    return f"{_awaited(found)}{found.next.value} {left(found.wakes_at, service.clock.now())}"


def _awaited(found: Why) -> str:
    """Say what has to happen, unless an execution goes on by itself."""
    if found.next not in _TIMES_OUT or not found.waits_for:
        return ""
    first, more = found.waits_for[0].operation, len(found.waits_for) - 1
    of = f"{kind_of(first)} {label_of(first)}" + (f" and {more} more" if more else "")
    return f"waits for {short(of, 60)}; "


_TIMES_OUT = (Next.CALLBACK_TIMEOUT, Next.HEARTBEAT_TIMEOUT, Next.EXECUTION_TIMEOUT)
