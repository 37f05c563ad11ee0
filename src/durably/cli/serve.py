"""`durably serve`: the API over a store, with functions elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import click

from durably.app.settings import DEFAULT_GRACE, DEFAULT_REGION, EngineSettings
from durably.cli.errors import Trouble
from durably.cli.loading import EMPTY
from durably.cli.logs import show_audit
from durably.cli.options import log_level_option, store_option, work_options
from durably.errors import ValidationError

F = TypeVar("F", bound=Callable[..., Any])
_Option = Callable[[Any], Any]

DEFAULT_PORT = 9000
LOOPBACK = "127.0.0.1"
DEFAULT_FUNCTION_SECONDS = 900
DEFAULT_MEMORY_MB = 128


def server_options(command: F) -> F:
    """Let a command be told what to serve, and where."""
    options = (
        *_function_options(),
        click.option(
            "--port",
            default=DEFAULT_PORT,
            show_default=True,
            type=click.IntRange(0, 65_535),
            help="Where the API is served; 0 takes a port that is free.",
        ),
        *_address_options(),
        store_option,
        work_options,
        click.option(
            "--grace",
            default=DEFAULT_GRACE.total_seconds(),
            show_default=True,
            metavar="SECONDS",
            type=click.FloatRange(0),
            help="How long running invocations may go on at the end.",
        ),
        log_level_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _function_options() -> tuple[_Option, ...]:
    return (
        click.option(
            "--function",
            "durable",
            metavar="NAME=COMMAND|URL",
            multiple=True,
            help="A durable function elsewhere: the command of a process with a Lambda runtime,"
            " or the address that takes its invocations. May be given again.",
        ),
        click.option(
            "--plain-function",
            "plain",
            metavar="NAME=COMMAND|URL",
            multiple=True,
            help="Likewise, a function that is not durable.",
        ),
        click.option(
            "--timeout",
            default=DEFAULT_FUNCTION_SECONDS,
            show_default=True,
            metavar="SECONDS",
            type=click.FloatRange(0, min_open=True),
            help="How long one invocation of those may take.",
        ),
        click.option(
            "--memory",
            default=DEFAULT_MEMORY_MB,
            show_default=True,
            metavar="MB",
            type=click.IntRange(128),
            help="What those are told that they may use.",
        ),
    )


def address_of(_context: click.Context, _option: click.Parameter, host: str) -> str:
    """Give the address that a name of this machine's own stands for."""
    return LOOPBACK if host.lower() == "localhost" else host


def _region_of(_context: click.Context, _option: click.Parameter, region: str) -> str:
    try:
        return EngineSettings(region=region).region
    except ValidationError as error:
        raise click.BadParameter(error.message) from error


def _address_options() -> tuple[_Option, ...]:
    return (
        click.option(
            "--host",
            default=LOOPBACK,
            show_default=True,
            metavar="ADDRESS",
            callback=address_of,
            help="The address that the API is served at. At any but this machine's own, requests"
            " must be signed.",
        ),
        click.option(
            "--allow-host",
            "names",
            metavar="NAME",
            multiple=True,
            help="A name that clients call it by, other than this machine's own. May be given"
            " again.",
        ),
        click.option(
            "--access-key",
            metavar="ID:SECRET",
            envvar="DURABLY_ACCESS_KEY",
            show_envvar=True,
            help="Take only requests signed with this key. Better set the variable: commands are"
            " seen by others.",
        ),
        click.option(
            "--credentials",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Take only requests with one of the keys and tokens of this file, each for what it"
            " is allowed there.",
        ),
        click.option(
            "--region",
            default=DEFAULT_REGION,
            show_default=True,
            metavar="NAME",
            callback=_region_of,
            help="What arns name as their region. Those of a region of AWS have the form that the"
            " model of the service asks for.",
        ),
    )


@click.command(short_help="Serve the Lambda API, until SIGTERM or Ctrl-C.")
@server_options
@click.option(
    "--behind-proxy",
    is_flag=True,
    help="There is a proxy in front that speaks TLS; without one it is not served to others.",
)
def serve(**options: Any) -> None:
    """Serve the API of AWS Lambda's durable functions, until SIGTERM or Ctrl-C.

    Functions are those that --function names. `durably dev` serves those of files, too.
    """
    serving = the_server()
    asked = serving.asked_for(options)
    has_keys = bool(options["access_key"] or options["credentials"])
    if asked.is_public and not (options["behind_proxy"] and has_keys):
        raise _not_served(asked.host, has_keys=has_keys, has_proxy=options["behind_proxy"])
    show_audit()
    asyncio.run(serving.run_server(asked, EMPTY, {}, serving.nothing_else))


def _not_served(host: str, *, has_keys: bool, has_proxy: bool) -> Trouble:
    """Say what is missing where others are to be served."""
    missing: list[str] = []
    steps: list[str] = []
    if not has_keys:
        missing.append("keys")
        steps.append("Give it --credentials FILE.")
    if not has_proxy:
        missing.append("TLS")
        steps.append("Put a proxy in front that speaks TLS, and say --behind-proxy.")
    said = f"{host} is not served to others without {' and '.join(missing)}."
    return Trouble(said, " ".join(steps))


def the_server() -> ModuleType:
    """Give `durably.cli.serving`, which needs what the extra `[server]` brings.

    Raises:
        Trouble: it is not installed.
    """
    try:
        from durably.cli import serving  # noqa: PLC0415 - only these commands need the server
    except ImportError as error:
        step = "pip install 'durably[cli,server]', or '.[cli,server]' in a clone."
        raise Trouble(f"The server is not here: there is no {error.name}.", step) from error
    return serving
