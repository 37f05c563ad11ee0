"""`durably history`: what happened in one execution."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import click
import msgspec

from durably.app.histories import History
from durably.app.names import find_arn
from durably.cli.errors import Trouble
from durably.cli.options import json_option, store_option
from durably.cli.outcome import error_text
from durably.cli.printing import (
    console,
    counted,
    harmless_json,
    length,
    print_grid,
    print_json_lines,
    safe,
    short,
)
from durably.cli.stores import read
from durably.engine.service import Service
from durably.wire.history import Event, EventError, EventInput, EventResult

_PAGE = 1000
_DETAILS_WIDTH = 100


@click.command()
@click.argument("execution", metavar="ARN|NAME")
@store_option
@click.option("--limit", type=click.IntRange(1), help="Print at most this many events.")
@click.option("--newest-first", is_flag=True, help="Print the newest first.")
@json_option
@click.option(
    "--export",
    "file",
    metavar="FILE|-",
    help="Print nothing, and write everything that a replay needs to FILE: see `durably replay`.",
)
@click.option(
    "--mask", is_flag=True, help="With --export: replace the values, and keep names, ids and types."
)
def history(  # noqa: PLR0913 - one for each option
    *,
    execution: str,
    url: str,
    limit: int | None,
    newest_first: bool,
    as_json: bool,
    file: str | None,
    mask: bool,
) -> None:
    """Print what happened in an execution, oldest event first."""
    if file is not None:
        if as_json or newest_first or limit is not None:
            raise click.UsageError("--export writes a file of its own form: give it --mask alone.")
        _export(url, execution, file, is_masked=mask)
        return
    if mask:
        raise click.UsageError("--mask is for --export.")
    started_at, events = read(url, _events(execution, limit, newest_first=newest_first))
    if as_json:
        print_json_lines(events)
    else:
        _print_table(started_at, events)


def _export(url: str, execution: str, file: str, *, is_masked: bool) -> None:
    async def look(service: Service) -> History:
        return History(await service.facts(await find_arn(service.store, execution)))

    found = read(url, look)
    found = found.masked() if is_masked else found
    if file == "-":
        sys.stdout.write(harmless_json(found.text))
        return
    if Path(file).is_file():
        raise Trouble(f"There is a file {file!r} already.", "Name another one, or remove it first.")
    try:
        found.write(file)
    except OSError as error:
        raise Trouble(f"{file!r} cannot be written: {error.strerror}.") from error
    masked = ", masked" if is_masked else ""
    click.echo(f"Written: {counted(len(found.facts), 'fact')}{masked}, to {safe(file)}.", err=True)


def _events(
    execution: str, limit: int | None, *, newest_first: bool
) -> Callable[[Service], Awaitable[tuple[datetime, list[Event]]]]:
    async def look(service: Service) -> tuple[datetime, list[Event]]:
        arn = await find_arn(service.store, execution)
        events: list[Event] = []
        marker: str | None = None
        while limit is None or len(events) < limit:
            page = await service.history(
                arn,
                max_items=_PAGE if limit is None else min(_PAGE, limit - len(events)),
                marker=marker,
                oldest_first=not newest_first,
            )
            events += page.events
            marker = page.next_marker
            if marker is None:
                break
        return (await service.get(arn)).started_at, events

    return look


def _print_table(started_at: datetime, events: list[Event]) -> None:
    from rich.table import Table  # noqa: PLC0415 - takes a while, and JSON needs none
    from rich.text import Text  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    if not events:
        return
    table = Table.grid(padding=(0, 2))
    for event in events:
        seconds = event.event_timestamp.timestamp() - started_at.timestamp()
        kind = event.event_type.value
        table.add_row(
            Text(str(event.event_id), "dim", justify="right"),
            Text(f"+{length(timedelta(seconds=seconds))}", "dim", justify="right"),
            Text(kind, _style_of(kind)),
            Text(safe(event.name or (event.id or "")[:8])),
            Text(details_of(event), "dim"),
        )
    console().print(f"{started_at.astimezone():%Y-%m-%d %H:%M:%S %Z}", style="dim")
    print_grid(table)


def _style_of(event_type: str) -> str:
    for ending, style in _STYLES.items():
        if event_type.endswith(ending):
            return style
    return ""


_STYLES = {
    "Succeeded": "green",
    "Failed": "red",
    "TimedOut": "red",
    "Stopped": "red",
    "Started": "cyan",
}


def details_of(event: Event) -> str:
    """Give the details of *event* on one line: what is there, in the order of the protocol."""
    for name in event.__struct_fields__:
        details = getattr(event, name)
        if isinstance(details, msgspec.Struct):
            members = ((one, getattr(details, one)) for one in details.__struct_fields__)
            words = [_word(one, value) for one, value in members if value is not None]
            return short(", ".join(word for word in words if word), _DETAILS_WIDTH)
    return ""


def _word(name: str, value: object) -> str:
    match value:
        case EventInput() | EventResult():
            return value.payload or ""
        case EventError():
            return error_text(value.payload)
        case msgspec.Struct():
            inner = ((one, getattr(value, one)) for one in value.__struct_fields__)
            return ", ".join(_word(one, member) for one, member in inner if member is not None)
        case _ if name.endswith("timestamp") or name == "request_id":
            return ""
        case _:
            said = length(timedelta(seconds=float(str(value)))) if name in _SECONDS else value
            return f"{_WORDS.get(name) or name.replace('_', ' ')} {said}"


_SECONDS = {
    "duration": "for",
    "execution_timeout": "times out after",
    "heartbeat_timeout": "heartbeat within",
    "next_attempt_delay_seconds": "the next one in",
    "timeout": "answer within",
}
_WORDS = {**_SECONDS, "current_attempt": "attempt"}
