"""`durably worker`: run whatever is due, until it is told to end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import click

from durably.app.assembly import Assembly
from durably.app.loops import run_loop
from durably.app.settings import DEFAULT_GRACE, EngineSettings, make_store
from durably.app.signals import StopSignals
from durably.cli.loading import load_functions
from durably.cli.logs import log_to_console
from durably.cli.options import log_level_option, store_option, work_options
from durably.cli.printing import counted, safe
from durably.handler import DurableFunction
from durably.words import in_words


@click.command(short_help="Run whatever is due, until SIGTERM or Ctrl-C.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@store_option
@work_options
@click.option(
    "--grace",
    default=DEFAULT_GRACE.total_seconds(),
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0),
    help="How long running invocations may go on at the end.",
)
@log_level_option
def worker(
    *,
    files: tuple[str, ...],
    url: str,
    max_concurrency: int,
    park_after: int,
    grace: float,
    log_level: str,
) -> None:
    """Run the executions of every durable function in the FILEs, until SIGTERM or Ctrl-C.

    What was under way goes on by itself; what still runs at the end goes on the next time.
    """
    log_to_console(log_level)
    functions = load_functions(*files)
    settings = EngineSettings(
        store_url=url,
        max_concurrency=max_concurrency,
        park_after=park_after,
        grace=timedelta(seconds=grace),
    )
    run_loop(_work(functions, settings))


async def _work(functions: Mapping[str, DurableFunction], settings: EngineSettings) -> None:
    assembly = Assembly(make_store(settings.store_url), functions, settings)
    async with StopSignals() as signals:
        await assembly.open()
        try:
            names = ", ".join(sorted(functions))
            _say(f"ready on {safe(settings.store_url)} for {names}; Ctrl-C ends it")
            await assembly.wait_for_work_to_end(signals.first)
        finally:
            if assembly.running:
                grace = in_words(settings.grace.total_seconds())
                many = counted(assembly.running, "invocation")
                _say(f"ending: {many} may go on for {grace}; Ctrl-C ends that")
            await signals.hurry(assembly.close(settings.grace))
            _say("ended; what was not finished goes on the next time")


def _say(line: str) -> None:
    click.echo(f"worker: {line}", err=True)
