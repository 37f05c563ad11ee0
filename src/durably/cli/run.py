"""`durably run`: drive one execution to its end."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TextIO

import click
import msgspec

from durably.app.assembly import Assembly
from durably.app.loops import run_loop
from durably.app.names import as_execution_name
from durably.app.operations import origin_of
from durably.app.payloads import check_input
from durably.app.settings import EngineSettings, is_postgres, make_store
from durably.app.signals import StopSignals
from durably.cli.errors import FAILED, INTERRUPTED, SUSPENDED, Trouble
from durably.cli.following import Follower, Left
from durably.cli.loading import load_function
from durably.cli.logs import log_to_console
from durably.cli.options import (
    input_option,
    json_of,
    log_level_option,
    store_option,
    with_store,
    work_options,
)
from durably.cli.others import Others
from durably.cli.outcome import ended_line, failure_lines
from durably.cli.printing import harmless_json, is_terminal, safe
from durably.clock import SystemClock
from durably.engine.arns import execution_name_of
from durably.engine.dispatcher import failures
from durably.engine.policy import StartOptions
from durably.engine.views import Description
from durably.handler import DurableFunction
from durably.stores.sqlite import SqliteStore
from durably.wire.arns import title_of
from durably.wire.execution import ExecutionStatus

_GRACE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line.

    Attributes:
        target: FILE:FUNCTION, as it was typed.
        functions: all of the file.
        payload: the input; `None` when none was given.
    """

    target: str
    function: DurableFunction
    functions: Mapping[str, DurableFunction]
    payload: str | None
    name: str | None
    settings: EngineSettings
    waits: bool
    is_quiet: bool


@click.command(short_help="Run one execution to its end, and print its result.")
@click.argument("target", metavar="FILE:FUNCTION")
@input_option
@click.option("--name", help="What to call the execution. Given again, it goes on.")
@store_option
@click.option(
    "--no-wait",
    is_flag=True,
    help="Leave with exit code 3 as soon as nothing can go on before a time or an event.",
)
@work_options
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@log_level_option
@click.pass_context
def run(  # noqa: PLR0913 - one for each option
    ctx: click.Context,
    *,
    target: str,
    source: str | None,
    name: str | None,
    url: str,
    no_wait: bool,
    max_concurrency: int,
    park_after: int,
    quiet: bool,
    log_level: str,
) -> None:
    """Run one execution of FUNCTION in FILE to its end, and print its result as JSON.

    Every durable function of FILE can be invoked by it. Everything is kept in the store: when the
    process ends before the execution does, however it ends, the same command with the same --name
    goes on where it was; --input may then be left out. A new execution needs --input if it has a
    --name, so that a mistyped name starts nothing. Other executions of these functions that are due
    in the store are worked on, too. Nothing but the result goes to standard output.

    A paused execution goes on when `durably resume NAME` says so, and this waits for it.

    Exit codes: 0 it succeeded; 1 it failed; 2 it could not be run; 3 it is suspended, because of
    --no-wait or because it is parked; 130 interrupted.
    """
    with stdout_for_results() as results:
        log_to_console(log_level)
        as_execution_name(name)
        payload = json_of(source)
        settings = EngineSettings(
            store_url=url, max_concurrency=max_concurrency, park_after=park_after
        )
        function, functions = load_function(target)
        if payload is not None:
            check_input(function, payload)
        elif name is not None and not _is_there(settings.store_url):
            raise _no_such_execution(function.name, name)
        wanted = Wanted(
            target=target,
            function=function,
            functions=functions,
            payload=payload,
            name=name,
            settings=settings,
            waits=not no_wait,
            is_quiet=quiet,
        )
        ctx.exit(run_loop(_carry_out(wanted, results)))


def _is_there(url: str) -> bool:
    """Whether there can be an execution to go on with, lest a mistyped command makes a file."""
    store = make_store(url)
    return is_postgres(url) or (isinstance(store, SqliteStore) and store.path.exists())


async def _carry_out(wanted: Wanted, results: TextIO) -> int:
    settings = wanted.settings
    clock = SystemClock()
    assembly = Assembly(make_store(settings.store_url), wanted.functions, settings)
    async with StopSignals() as signals:
        began_at = clock.now()
        await assembly.open()
        try:
            others = Others(assembly.service, wanted.functions)
            if not wanted.is_quiet:
                await others.look()
            began, is_new = await _begin(assembly, wanted)
            failures.addFilter(partial(_is_of_another, began.arn))  # this one's is told at the end
            follower = Follower(
                assembly=assembly,
                others=others,
                signals=signals,
                clock=clock,
                began_at=began_at,
                began=began,
                is_new=is_new,
                waits=wanted.waits,
                is_quiet=wanted.is_quiet,
            )
            outcome = await follower.follow()
            if outcome is Left.INTERRUPTED:  # it may end within the time that it has left
                await signals.hurry(assembly.drain(_GRACE))
                found = await assembly.service.get(began.arn)
                outcome = found if found.is_closed else outcome
            origin = None
            if isinstance(outcome, Description):
                origin = await origin_of(assembly.service, outcome)
        finally:
            await signals.hurry(assembly.close(_GRACE))
    return tell(wanted, began.arn, outcome, results, origin)


def _is_of_another(arn: str, record: logging.LogRecord) -> bool:
    return getattr(record, "executionArn", None) != arn


async def _begin(assembly: Assembly, wanted: Wanted) -> tuple[Description, bool]:
    """Start the execution, or find the one to go on with; say whether it is new."""
    service, function_name = assembly.service, wanted.function.name
    known: str | None = None
    if wanted.name is not None:
        known = await service.store.find_by_name(function_name, wanted.name)
    arn = known
    if arn is None and wanted.name is not None and wanted.payload is None:
        raise _no_such_execution(function_name, wanted.name)
    if arn is None or wanted.payload is not None:
        check_input(wanted.function, wanted.payload)
        options = StartOptions(is_synchronous=True)
        arn = await service.start(function_name, wanted.payload, name=wanted.name, options=options)
    found = await service.get(arn)
    if found.damage is not None:
        raise Trouble(f"{found.execution_name}: {found.damage}.")
    if found.parked_reason is not None:
        await service.resume(arn, reason="durably run")
        found = await service.get(arn)
    return found, arn != known


def _no_such_execution(function_name: str, name: str) -> Trouble:
    said = f"There is no execution {name!r} of {function_name} to go on with."
    return Trouble(said, "Give --input to start it; --store says where to look.")


def tell(
    wanted: Wanted,
    arn: str,
    outcome: Description | Left,
    results: TextIO,
    origin: str | None = None,
) -> int:
    """Print how it ended, and give the exit code."""
    match outcome:
        case Description(status=ExecutionStatus.SUCCEEDED):
            if not wanted.is_quiet:
                _say(ended_line(outcome))
            _print_result(outcome.result, results)
            return 0
        case Description(is_closed=True):
            _say(*failure_lines(outcome, origin))
            return FAILED
        case Description():
            _say(*failure_lines(outcome), _how_to_go_on(wanted, arn))
            return SUSPENDED
        case Left():
            return _tell_why_left(wanted, arn, outcome)


def _tell_why_left(wanted: Wanted, arn: str, why: Left) -> int:
    title = safe(title_of(arn))

    def typed(verb: str) -> str:
        return f"`{safe(with_store(wanted.settings.store_url, verb, execution_name_of(arn)))}`"

    match why:
        case Left.PAUSED:
            _say(f"{title} is paused; {typed('resume')} lets it go on.")
        case Left.SUSPENDED:
            _say(f"{title} is suspended; {typed('why')} says what it waits for.")
        case Left.INTERRUPTED:
            _say(f"{title} is suspended, and nothing that was recorded is lost.")
    _say(_how_to_go_on(wanted, arn))
    return INTERRUPTED if why is Left.INTERRUPTED else SUSPENDED


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(line, err=True)


def _print_result(result: str | None, results: TextIO) -> None:
    text = "null" if result is None else result
    if is_terminal(results):
        text = msgspec.json.format(text, indent=2)
    results.write(harmless_json(text) + "\n")


def _how_to_go_on(wanted: Wanted, arn: str) -> str:
    words = ("run", wanted.target, "--name", execution_name_of(arn))
    return f"Go on with: {safe(with_store(wanted.settings.store_url, *words))}"


@contextmanager
def stdout_for_results() -> Generator[TextIO]:
    """Give the true standard output, and send whatever else is written there to standard error.

    That is what the user's code prints, and what programs print that it starts.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(kept, "w", encoding="utf-8") as results:
        try:
            yield results
        finally:
            sys.stdout.flush()
            results.flush()
            os.dup2(kept, 1)
