"""The command `durably`: where its parts come together and where errors become sentences."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

import click

from durably.app.loops import left_behind
from durably.cli.callback import callback
from durably.cli.check_deploy import check_deploy
from durably.cli.dev import dev
from durably.cli.errors import INTERRUPTED, Trouble, tell, trouble_of
from durably.cli.history import history
from durably.cli.lint import lint
from durably.cli.list import list_executions
from durably.cli.operate import delete, pause, resume, rotate_key, stop
from durably.cli.replay import replay
from durably.cli.run import run
from durably.cli.serve import serve
from durably.cli.show import show
from durably.cli.start import start
from durably.cli.why import why
from durably.cli.worker import worker
from durably.cli.workers import workers
from durably.drivers.signals import kept
from durably.errors import DurableError

_BROKEN_PIPE = 141
_PATIENCE_SECONDS = 1.0
_NO_ARGUMENTS: type[click.UsageError] | tuple[()] = getattr(
    click.exceptions, "NoArgsIsHelpError", ()
)
"""Raised by a group that is called alone. click 8.1 has none, and prints the help itself."""


@click.group(context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100})
@click.version_option(package_name="durably", message="durably %(version)s")
def cli() -> None:
    """Durable functions: they survive crashes, and can sleep for a year."""


for _command in (
    run,
    dev,
    serve,
    worker,
    workers,
    start,
    list_executions,
    show,
    history,
    why,
    replay,
    check_deploy,
    stop,
    pause,
    resume,
    delete,
    rotate_key,
    callback,
    lint,
):
    cli.add_command(_command)


def main() -> NoReturn:
    """Run the command line, and end the process."""
    try:
        _make_ready_to_write()
        check_words(sys.argv)
        answer = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - the last line: nobody shall see a traceback
        _leave(told(error))
    except KeyboardInterrupt:
        _leave(INTERRUPTED)
    _leave(answer if isinstance(answer, int) else 0)


def _make_ready_to_write() -> None:
    """Let no output fail for want of a stream, or of a character in its encoding."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever has started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - to the end
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def check_words(words: Sequence[str]) -> None:
    """Refuse what is no text, before anything is done with it.

    Raises:
        Trouble: one of *words* is not UTF-8.
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise Trouble(f"{word!a} on the command line is not UTF-8 text.") from error


def told(error: Exception) -> int:
    """Tell whoever typed the command of *error*, and give the exit code for it."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.Abort():
            return INTERRUPTED
        case BrokenPipeError():
            return _BROKEN_PIPE
        case click.UsageError() if isinstance(error, _NO_ARGUMENTS):
            click.echo(error.format_message(), err=True)
            return error.exit_code
        case click.ClickException():
            trouble = error
        case DurableError():
            trouble = trouble_of(error)
        case _:
            trouble = _unforeseen(error)
    tell(trouble)
    return trouble.exit_code


def _unforeseen(error: Exception) -> Trouble:
    if os.environ.get("DURABLY_DEBUG"):
        raise error
    if isinstance(error, OSError) and error.strerror:
        return Trouble(f"{error.filename or 'The output'}: {error.strerror}.")
    said = f"this is a defect of durably: {type(error).__name__}: {error}"
    return Trouble(said, "With DURABLY_DEBUG=1 in the environment it shows where.")


def _leave(code: int) -> NoReturn:
    """End the process, even where a thread or a task of the user's code will not end."""
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads it, or it is full: the interpreter shall not try again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if any(not thread.daemon for thread in threading.enumerate()[1:]):
        last_resort = threading.Timer(_PATIENCE_SECONDS, os._exit, (code,))
        last_resort.daemon = True
        last_resort.start()
    if left_behind or kept:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
