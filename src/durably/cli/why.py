"""`durably why`: what an execution waits for, and what would wake it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from durably.app.execution import function_in, name_in
from durably.app.names import find_arn
from durably.app.operations import kind_of, label_of, origin_of
from durably.app.settings import DEFAULT_URL, is_postgres
from durably.cli.options import json_option, store_option, with_store, workers_for
from durably.cli.outcome import ended_line, error_text
from durably.cli.printing import counted, safe, short, since, to_json, until, without_none
from durably.cli.stores import Hands, hands_for, read
from durably.clock import SystemClock
from durably.engine.arns import LATEST
from durably.engine.reports import places_in
from durably.engine.rules import EXIT_ERROR
from durably.engine.service import Service
from durably.engine.views import Awaited, Description, Next, Standing, Why
from durably.wire.arns import title_of
from durably.wire.operation import ErrorObject, Operation

_MAX_DEPTH = 5
_MAX_LINES = 20


@click.command()
@click.argument("execution", metavar="ARN|NAME")
@store_option
@json_option
def why(*, execution: str, url: str, as_json: bool) -> None:
    """Print why an execution stands where it does.

    What it waits for and since when, what would wake it, whether its invocations fail again and
    again or it is parked, and whether there is a process that would go on with it.
    """

    async def look(service: Service) -> tuple[Description, Why, list[str], str | None, Hands]:
        arn = await find_arn(service.store, execution)
        found = await service.why(arn)
        description = await service.get(arn)
        origin = await origin_of(service, description)
        lines = await _awaited_by(service, found, url)
        return description, found, lines, origin, await hands_for(service, url, arn)

    description, found, lines, origin, hands = read(url, look)
    if as_json:
        document = _document(found, has_worker=hands.has_worker)
        sys.stdout.write(to_json(document, indent=True) + "\n")
        return
    runs = found.standing is Standing.RUNNING
    is_held = hands.has_owner if runs else hands.has_worker
    now = SystemClock().now()
    for line in sentences(description, found, now, is_held=is_held, origin=origin, url=url):
        click.echo(line)
    for line in lines[:_MAX_LINES]:
        click.echo(line)
    if len(lines) > _MAX_LINES:
        click.echo(f"  … and {len(lines) - _MAX_LINES} more")
    is_over = found.standing is Standing.CLOSED or found.damage is not None
    is_left = is_over or found.standing is Standing.PARKED or (runs and hands.has_owner)
    if not is_left and not hands.has_worker:
        click.echo(_how_to_go_on(description, url, hands.functions))


def _how_to_go_on(description: Description, url: str, functions: frozenset[str] | None) -> str:
    """Say that nobody has the function, and who would; *functions*: those of whoever is there."""
    if is_postgres(url):
        is_latest = description.version == LATEST
        of = "" if is_latest else f" in version {description.version}"
        option = () if is_latest else ("--version", description.version)
        said = f"No worker that is alive has {description.function_name}{of}, so nothing happens"
        return safe(f"{said} until one does: start `{with_store(url, 'worker', 'FILE', *option)}`.")
    name = description.function_name
    does = f"start {workers_for(url, name)}"
    if functions is not None:
        has = f"has no function {name!r}; it has: {', '.join(sorted(functions)) or 'none'}"
        said = f"The process that works on this store {has}. Nothing happens until one has it: "
        return safe(f"{said}end that one, and {does}.")
    run = with_store(url, "run", f"FILE:{name}", "--name", description.execution_name)
    said = "No process works on this store, so nothing happens until one does: "
    return safe(f"{said}{does}; `{run}` goes on with this one alone.")


def _document(found: Why, *, has_worker: bool) -> dict[str, Any]:
    return without_none(
        {
            "DurableExecutionArn": found.arn,
            "Status": found.status,
            "Standing": found.standing,
            "Since": found.since,
            "WakeTimestamp": found.wakes_at,
            "Next": found.next,
            "WaitsFor": [_awaited_document(one) for one in found.waits_for],
            "FailedInvocations": found.failures,
            "LastError": found.last_error,
            "ParkedReason": found.parked_reason,
            "Damage": found.damage,
            "OwedInvocations": found.owed_invocations,
            "HasWorker": has_worker,
        }
    )


def _awaited_document(awaited: Awaited) -> dict[str, Any]:
    callback = awaited.operation.callback_details
    return without_none(
        {
            "Id": awaited.operation.id,
            "Name": awaited.operation.name,
            "Type": awaited.operation.type,
            "Since": awaited.since,
            "DueTimestamp": awaited.due_at,
            "Waker": awaited.waker,
            "LastError": _last_error(awaited.operation),
            "DurableExecutionArn": awaited.child_arn,
            "CallbackId": None if callback is None else callback.callback_id,
        }
    )


def _last_error(operation: Operation) -> ErrorObject | None:
    return None if operation.step_details is None else operation.step_details.error


def sentences(
    description: Description,
    found: Why,
    now: datetime,
    *,
    is_held: bool = True,
    origin: str | None = None,
    url: str = DEFAULT_URL,
) -> Iterator[str]:
    """Say why an execution stands where it does, as far as it is not about what it waits for."""
    name, begun = description.execution_name, since(found.since, now)
    title = safe(title_of(description.arn))
    if found.damage is not None:
        state = found.status.value if description.is_closed else "parked"
        yield f"{title} is {state}: {short(found.damage, 300)}."
        does = "delete" if description.is_closed else "stop"
        command = safe(with_store(url, does, name))
        yield f"`{command}` does that. Other executions are not concerned."
        return
    if found.standing is Standing.CLOSED:
        said = short(error_text(description.error, origin), 300)
        yield f"{ended_line(description)}, at {begun}{': ' if said else '.'}{said}"
        yield from (f"  {safe(place)}" for place in places_in(description.error))
        return
    yield from _standing(found, title, begun, is_held=is_held)
    if found.parked_reason is not None and not found.failures:  # or those are the reason
        yield f"It was parked because of this: {short(found.parked_reason, 300)}"
    if not _deaths(found, is_held=is_held):
        yield from _failures(found)
    if found.standing in _NEEDS_RESUME:
        command = safe(with_store(url, "resume", name))
        mended = "Mend the cause; n" if found.standing is Standing.PARKED else "N"
        yield f"{mended}othing lets it go on before `{command}`."
    if found.standing in (Standing.RETRYING, Standing.WAITING) and found.wakes_at is not None:
        does = _NEXT.get(found.next, "It goes on by itself" if is_held else "It is due to go on")
        yield f"{does} at {until(found.wakes_at, now)}."


def _standing(found: Why, title: str, begun: str, *, is_held: bool) -> Iterator[str]:
    deaths = _deaths(found, is_held=is_held)
    if found.standing is Standing.RUNNING and not is_held:
        yield f"{title} does not run: {_died(deaths)}. It had begun at {begun}."
        return
    yield f"{title} {_STANDINGS[found.standing]}, since {begun}."
    if deaths:
        yield f"Before that {_died(deaths)}."


def _failures(found: Why) -> Iterator[str]:
    if found.failures:
        error = short(error_text(found.last_error), 300)
        many = counted(found.failures, "invocation")
        yield f"It loops: {many} failed in a row, the last one with {error}"
        yield from (f"  {safe(place)}" for place in places_in(found.last_error))


def _deaths(found: Why, *, is_held: bool) -> int:
    """Count how often the process of an execution died in a row; once more if it is dead now."""
    error = found.last_error
    died_before = error is not None and (error.error_type, error.error_message) == EXIT_ERROR
    is_dead = found.standing is Standing.RUNNING and not is_held
    return (found.failures if died_before else 0) + is_dead


def _died(deaths: int) -> str:
    return "its process died" + (f" {deaths} times in a row" if deaths > 1 else "")


_NEXT: dict[Next | None, str] = {
    Next.EXECUTION_TIMEOUT: "Unless something wakes it, it times out",
    Next.CALLBACK_TIMEOUT: "Unless it is answered, its callback times out",
    Next.HEARTBEAT_TIMEOUT: "Unless a heartbeat comes, its callback times out",
}
_NEEDS_RESUME = (Standing.PAUSED, Standing.PARKED)
_STANDINGS = {
    Standing.RUNNING: "runs",
    Standing.QUEUED: "can go on and waits for a worker",
    Standing.WAITING: "waits",
    Standing.RETRYING: "waits for its next try",
    Standing.PAUSED: "is paused",
    Standing.PARKED: "is parked",
}


async def _awaited_by(service: Service, found: Why, url: str, depth: int = 1) -> list[str]:
    """Say what is waited for, and what the invoked ones among that wait for themselves."""
    now = service.clock.now()
    lines: list[str] = []
    for awaited in found.waits_for:
        lines += [f"{'  ' * depth}{line}" for line in _lines_of(awaited, now, url)]
        if awaited.child_arn is not None and depth < _MAX_DEPTH and len(lines) < _MAX_LINES:
            child = await service.why(awaited.child_arn)
            lines.append(f"{'  ' * depth}  which {_clause_of(child, now)}")
            lines += await _awaited_by(service, child, url, depth + 2)
    return lines


def _lines_of(awaited: Awaited, now: datetime, url: str) -> Iterator[str]:
    operation = awaited.operation
    words = f"• {safe(label_of(operation))} ({safe(kind_of(operation))}): {awaited.waker}"
    if awaited.child_arn is not None:
        words += f", {safe(function_in(awaited.child_arn))}/{safe(name_in(awaited.child_arn))}"
    if awaited.due_at is not None:
        at = until(awaited.due_at, now)
        words += f", at {at}" if awaited.operation.callback_details is None else f", by {at}"
    if awaited.since is not None:
        words += f"; since {since(awaited.since, now)}"
    yield words
    error = _last_error(operation)
    if error is not None and operation.step_details is not None:
        number = operation.step_details.attempt
        yield f"  attempt {number} failed with {short(error_text(error), 300)}"
        yield from (f"    {safe(place)}" for place in places_in(error))
    callback = operation.callback_details
    if callback is not None:
        asked = ("succeed", f"{callback.callback_id}", "--payload", "TEXT")
        yield f"  {safe(with_store(url, 'callback', *asked))}"


def _clause_of(found: Why, now: datetime) -> str:
    clause = _STANDINGS.get(found.standing, "has ended")
    if found.standing is Standing.PARKED:
        clause += f" ({short(found.parked_reason, 200)})"
    if found.standing is Standing.RETRYING and found.wakes_at is not None:
        clause += f" at {until(found.wakes_at, now)}"
    return clause
