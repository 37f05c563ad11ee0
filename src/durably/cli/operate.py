"""What operators do: `durably stop`, `pause`, `resume`, `delete`, `rotate-key`."""

from __future__ import annotations

import click

from durably.cli.options import store_option, with_store, workers_for
from durably.cli.printing import safe
from durably.cli.stores import arn_of, ask, has_worker, read
from durably.engine.control import (
    DeleteRequest,
    PauseRequest,
    ResumeRequest,
    RotateKeyRequest,
    StopRequest,
)
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject

_execution = click.argument("execution", metavar="ARN|NAME")


@click.command()
@_execution
@click.option("--reason", help="What to record as the error.")
@store_option
def stop(*, execution: str, reason: str | None, url: str) -> None:
    """End an execution, whatever it does. A closed one is left alone."""
    error = None if reason is None else ErrorObject(error_message=reason)
    arn = arn_of(url, execution)
    ask(url, StopRequest(arn, error))
    found = read(url, lambda service: service.get(arn))
    is_stopped = found.status is ExecutionStatus.STOPPED
    said = "is stopped" if is_stopped else f"was closed before: {found.status.value}"
    click.echo(f"{safe(execution)} {said}.", err=True)


@click.command(short_help="Let no further invocation run until `resume`.")
@_execution
@click.option("--reason", help="Why, for the history.")
@store_option
def pause(*, execution: str, reason: str | None, url: str) -> None:
    """Let no further invocation of an execution run until `resume`."""
    ask(url, PauseRequest(arn_of(url, execution), reason))
    command = safe(with_store(url, "resume", execution))
    click.echo(f"{safe(execution)} is paused. `{command}` ends that.", err=True)


@click.command()
@_execution
@click.option("--reason", help="Why, for the history.")
@store_option
def resume(*, execution: str, reason: str | None, url: str) -> None:
    """End a pause of an execution, or what parked it."""
    arn = arn_of(url, execution)
    ask(url, ResumeRequest(arn, reason))
    if has_worker(url, arn):
        click.echo(f"{safe(execution)} goes on.", err=True)
    else:
        worker = safe(workers_for(url))
        said = f"can go on, and does when a process has its function: start {worker}"
        click.echo(f"{safe(execution)} {said}.", err=True)


@click.command()
@_execution
@store_option
def delete(*, execution: str, url: str) -> None:
    """Remove a closed execution, with everything recorded of it."""
    ask(url, DeleteRequest(arn_of(url, execution)))
    click.echo(f"{safe(execution)} is deleted.", err=True)


@click.command(short_help="Make callback ids and tokens with a new key.")
@store_option
def rotate_key(*, url: str) -> None:
    """Make callback ids and checkpoint tokens with a new key from now on.

    Those that the key before has made stay good until the next time; older ones are refused. On
    PostgreSQL the next time is five minutes later at the earliest.
    """
    ask(url, RotateKeyRequest())
    click.echo("There is a new key. What the one before has made is good until the next.", err=True)
