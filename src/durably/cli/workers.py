"""`durably workers`: who works on a database, and what there is to do."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click

from durably.app.settings import shown_url
from durably.cli.errors import Trouble
from durably.cli.options import json_option, store_option, with_store
from durably.cli.printing import (
    clock_time,
    console,
    length,
    print_grid,
    safe,
    to_json,
)
from durably.cli.stores import read
from durably.engine.roster import Backlog, Roster, Seen
from durably.engine.service import Service
from durably.wire.base import Timestamp


@click.command()
@store_option
@json_option
def workers(*, url: str, as_json: bool) -> None:
    """Print who works on a database, and what there is to do.

    Who is alive, what each holds, and what waits for a worker.

    A worker that is silent for longer than its lease is taken for dead, and what it holds goes to
    others. Those that are long dead are not shown.
    """

    async def look(service: Service) -> tuple[Roster, datetime]:
        if service.sharing is None:
            shows = safe(with_store(url, "list"))
            step = f"`{shows}` shows what goes on there; workers are those of postgresql://…"
            raise Trouble(f"{safe(shown_url(url))} is for one process at a time.", step)
        return await service.sharing.roster(), service.clock.now()

    roster, now = read(url, look)
    if as_json:
        sys.stdout.write(to_json(_document(roster, now), indent=True) + "\n")
        return
    if roster.workers:
        _print_workers(roster, now)
    else:
        worker = safe(with_store(url, "worker", "FILE"))
        click.echo(f"Nobody works on it: `{worker}` would.", err=True)
    if roster.backlogs:
        _print_backlogs(roster, now)
    elif roster.workers:
        click.echo("Nothing waits for a worker.", err=True)


def _state_of(seen: Seen) -> str:
    if not seen.is_alive:
        return "dead"
    return "draining" if seen.presence.is_draining else "alive"


def _document(roster: Roster, now: datetime) -> dict[str, Any]:
    return {
        "Workers": [
            {
                "Worker": seen.presence.worker,
                "State": _state_of(seen),
                "Functions": seen.presence.functions,
                "Held": seen.held,
                "MaxConcurrency": seen.presence.max_concurrency,
                "StartTimestamp": Timestamp.of(seen.presence.started_at),
                "SeenTimestamp": Timestamp.of(seen.seen_at),
                "LeaseSeconds": seen.presence.lease.total_seconds(),
            }
            for seen in roster.workers
        ],
        "Backlogs": [
            {
                "Function": backlog.name,
                "Due": backlog.due,
                "LagSeconds": _lag(backlog, now),
                "HasWorker": roster.has_worker_for(backlog.name),
            }
            for backlog in roster.backlogs
        ],
    }


def _lag(backlog: Backlog, now: datetime) -> float:
    return max((now - backlog.due_since).total_seconds(), 0.0)


_STYLES = {"alive": "green", "draining": "yellow", "dead": "red"}


def _print_workers(roster: Roster, now: datetime) -> None:
    from rich import box  # noqa: PLC0415 - takes a while, and JSON needs none
    from rich.table import Table  # noqa: PLC0415 - loaded only where it is used: it is slow to load
    from rich.text import Text  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    is_seen = console().is_terminal
    table = Table(box=box.SIMPLE_HEAD if is_seen else None, pad_edge=False)
    for title in ("WORKER", "STATE", "HOLDS", "OF", "STARTED", "SEEN", "FUNCTIONS"):
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for seen in roster.workers:
        state = _state_of(seen)
        table.add_row(
            Text(safe(seen.presence.worker)),
            Text(state, _STYLES[state]),
            str(seen.held),
            str(seen.presence.max_concurrency),
            clock_time(seen.presence.started_at, now),
            f"{length(now - seen.seen_at)} ago",
            Text(safe(", ".join(seen.presence.functions)), "dim"),
        )
    print_grid(table)


def _print_backlogs(roster: Roster, now: datetime) -> None:
    from rich import box  # noqa: PLC0415 - takes a while, and JSON needs none
    from rich.table import Table  # noqa: PLC0415 - loaded only where it is used: it is slow to load
    from rich.text import Text  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    is_seen = console().is_terminal
    table = Table(box=box.SIMPLE_HEAD if is_seen else None, pad_edge=False)
    for title in ("FUNCTION", "DUE", "LAG", ""):
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for backlog in roster.backlogs:
        table.add_row(
            Text(safe(backlog.name)),
            str(backlog.due),
            length(now - backlog.due_since),
            Text("" if roster.has_worker_for(backlog.name) else "no worker has it", "red"),
        )
    print_grid(table)
