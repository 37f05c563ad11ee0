"""`durably worker`: run whatever is due, until it is told to end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from durably.app.assembly import Assembly
from durably.app.loops import run_loop
from durably.app.settings import (
    DEFAULT_GRACE,
    MIN_LEASE,
    EngineSettings,
    is_postgres,
    make_store,
    shown_url,
)
from durably.app.signals import StopSignals
from durably.cli.errors import Trouble
from durably.cli.loading import load_functions
from durably.cli.logs import log_to_console
from durably.cli.options import log_level_option, store_option, work_options
from durably.cli.printing import counted, safe
from durably.cli.serve import LOOPBACK, address_of
from durably.engine.arns import LATEST
from durably.engine.roster import DEFAULT_LEASE
from durably.handler import DurableFunction
from durably.words import in_words

if TYPE_CHECKING:
    from durably.cli.metrics import MetricsPage


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
@click.option(
    "--lease",
    default=DEFAULT_LEASE.total_seconds(),
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(MIN_LEASE.total_seconds()),
    help="How long this process may be silent before its executions are given to another one.",
)
@click.option(
    "--version",
    metavar="NUMBER",
    default=LATEST,
    help="The version of the functions. An execution goes on only where the version is that it"
    " began with.",
)
@click.option(
    "--metrics-port",
    metavar="PORT",
    type=click.IntRange(0, 65_535),
    help="Show metrics to Prometheus at this port, below /metrics; 0 takes a port that is free.",
)
@click.option(
    "--metrics-host",
    default=LOOPBACK,
    show_default=True,
    metavar="ADDRESS",
    callback=address_of,
    help="The address of that port. At any but this machine's own, credentials and TLS are needed.",
)
@click.option(
    "--metrics-credentials",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Show them only to whoever has a key or a token of this file that is for metrics.",
)
@click.option(
    "--metrics-behind-proxy",
    is_flag=True,
    help="There is a proxy in front that speaks TLS; without one they are not shown to others.",
)
@log_level_option
def worker(  # noqa: PLR0913 - one for each option
    *,
    files: tuple[str, ...],
    url: str,
    max_concurrency: int,
    park_after: int,
    grace: float,
    lease: float,
    version: str,
    metrics_port: int | None,
    metrics_host: str,
    metrics_credentials: Path | None,
    metrics_behind_proxy: bool,
    log_level: str,
) -> None:
    """Run the executions of every durable function in the FILEs, until SIGTERM or Ctrl-C.

    What was under way goes on by itself; what still runs at the end goes on the next time. On
    postgresql://… any number of workers share the work; `durably workers` shows them.
    """
    log_to_console(log_level)
    page = _page(
        metrics_port, metrics_host, metrics_credentials, is_behind_proxy=metrics_behind_proxy
    )
    functions = load_functions(*files)
    settings = EngineSettings(
        store_url=url,
        max_concurrency=max_concurrency,
        park_after=park_after,
        grace=timedelta(seconds=grace),
        lease=timedelta(seconds=lease),
        version=version,
    )
    run_loop(_work(functions, settings, page))


def _page(
    port: int | None, host: str, credentials: Path | None, *, is_behind_proxy: bool
) -> MetricsPage | None:
    """Read the options about metrics.

    Raises:
        Trouble: they do not fit together, or what they need is not installed.
        ValidationError: the file of credentials is none.
    """
    if port is None:
        if host != LOOPBACK or credentials is not None or is_behind_proxy:
            raise Trouble("Metrics are served at a port of their own.", "Name it: --metrics-port.")
        return None
    try:
        from durably.cli.metrics import MetricsPage  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        step = "pip install 'durably[cli,metrics]', or '.[cli,metrics]' in a clone."
        raise Trouble(f"Metrics cannot be served: there is no {error.name}.", step) from error
    return MetricsPage.asked_for(host, port, credentials, is_behind_proxy=is_behind_proxy)


async def _work(
    functions: Mapping[str, DurableFunction], settings: EngineSettings, page: MetricsPage | None
) -> None:
    assembly = Assembly(make_store(settings.store_url), functions, settings)
    async with StopSignals() as signals:
        await assembly.open()
        opened = AsyncExitStack()
        opened.push_async_callback(assembly.close, timedelta(0))
        try:
            if page is not None:
                _say(f"metrics at {await opened.enter_async_context(page.shown(assembly))}")
            names = ", ".join(sorted(functions))
            _say(f"ready on {safe(shown_url(settings.store_url))} for {names}; Ctrl-C ends it")
            await assembly.wait_for_work_to_end(signals.first)
        finally:
            if assembly.running:
                grace = in_words(settings.grace.total_seconds())
                many = counted(assembly.running, "invocation")
                _say(f"ending: {many} may go on for {grace}; Ctrl-C ends that")
            await signals.hurry(_close(assembly, opened, settings.grace))
            _say(f"ended; what was not finished goes on {_where(settings)}")


async def _close(assembly: Assembly, opened: AsyncExitStack, grace: timedelta) -> None:
    """Give what runs *grace*, with its metrics shown, and let go of everything."""
    try:
        await assembly.drain(grace)
    finally:
        await opened.aclose()


def _where(settings: EngineSettings) -> str:
    return "in other workers" if is_postgres(settings.store_url) else "the next time"


def _say(line: str) -> None:
    click.echo(f"worker: {line}", err=True)
