"""Options that several commands share."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from durably.app.settings import DEFAULT_URL, shown_url
from durably.cli.errors import Trouble
from durably.errors import SerdesError
from durably.serdes_json import read_json

F = TypeVar("F", bound=Callable[..., Any])


def store_option(command: F) -> F:
    """Let a command be told where executions are kept."""
    return click.option(
        "--store",
        "url",
        metavar="URL",
        default=DEFAULT_URL,
        show_default=True,
        envvar="DURABLY_STORE",
        show_envvar=True,
        help="Where executions are kept: sqlite:PATH or postgresql://…",
    )(command)


def with_store(url: str, *words: str) -> str:
    """Give a command as it is typed for the store at *url*: nothing is added for the default."""
    store = () if url == DEFAULT_URL else ("--store", shown_url(url))
    return shlex.join(("durably", *words, *store))


def workers_for(url: str, function_name: str = "NAME") -> str:
    """Say which commands would go on with executions of a function."""
    commands = (
        ("worker", "FILE"),
        ("dev", "FILE"),
        ("serve", "--function", f"{function_name}=COMMAND"),
    )
    first, second, third = (f"`{with_store(url, *words)}`" for words in commands)
    return f"{first} or {second}, or {third} for one that runs elsewhere"


def json_option(command: F) -> F:
    """Let a command print JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def input_option(command: F) -> F:
    """Let a command be given the input of an execution."""
    return click.option(
        "--input",
        "source",
        metavar="JSON|@FILE|-",
        help="What the function is called with: JSON, @ and the name of a file with it, or - for"
        " standard input.  [default: {}]",
    )(command)


def text_of(source: str) -> str:
    """Give what *source* says: itself, the text of @FILE, or of standard input for -.

    Raises:
        Trouble: it cannot be read.
    """
    try:
        if source == "-":
            return sys.stdin.buffer.read().decode()
        if source.startswith("@"):
            return Path(source[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise Trouble(f"{source[1:]!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Trouble(f"{source} is not UTF-8 text: {error.reason}.") from error
    return source


def json_of(source: str | None) -> str | None:
    """Give the JSON that *source* says, without the spaces that mean nothing.

    Raises:
        Trouble: it is not JSON, or JSON that says something twice or too deep.
    """
    if source is None:
        return None
    text = text_of(source)
    try:
        read_json(text)
    except SerdesError as error:
        raise Trouble(f"The input {error}.", _how_to_type(source)) from error
    return msgspec.json.format(text, indent=-1)


def _how_to_type(source: str) -> str:
    """Say how JSON is typed: as a text, where *source* is plain words; nothing of a file."""
    if source == "-" or source.startswith("@"):
        return ""
    if source and source[0] not in _BEGINNINGS:
        text = source if _is_plain(source) else "some text"
        return f"A text needs double quotes inside the single ones: --input '\"{text}\"'."
    return "Put it in single quotes, so that the shell leaves it alone: --input '{\"id\": 7}'."


_BEGINNINGS = '{["'  # of whatever is meant as JSON
_is_plain = re.compile(r"[\w .,:/+-]{1,40}").fullmatch


def log_level_option(command: F) -> F:
    """Let a command be told which log records to show."""
    return click.option(
        "--log-level",
        default="WARNING",
        show_default=True,
        type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
        help="Which log records to show, on standard error.",
    )(command)


def work_options(command: F) -> F:
    """Let a command be told how much to do at once, and when to give up."""
    command = click.option(
        "--park-after",
        default=10,
        show_default=True,
        type=click.IntRange(1),
        help="After how many failed invocations in a row an execution is parked.",
    )(command)
    return click.option(
        "--concurrency",
        "--max-concurrency",
        "max_concurrency",
        metavar="N",
        default=100,
        show_default=True,
        type=click.IntRange(1),
        help="How many invocations may run at once.",
    )(command)
