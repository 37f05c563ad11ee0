"""Errors as a person at a terminal needs them: one sentence, one next step, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import click

from durably.cli.printing import colored, safe, safe_lines
from durably.errors import (
    ApiError,
    CallbackTimeoutException,
    DurableError,
    DurableExecutionAlreadyStartedException,
    ResourceConflictException,
    ResourceNotFoundException,
    StoreLockedError,
    ValidationError,
)

_PACKAGE = str(Path(__file__).parents[1])

FAILED = 1
CANNOT = 2
SUSPENDED = 3
INTERRUPTED = 130

_NEXT_STEPS: Mapping[type[DurableError], str] = {
    CallbackTimeoutException: "`durably why NAME` shows the callbacks that are still open.",
    DurableExecutionAlreadyStartedException: (
        "Choose another --name, or leave --input out to go on with that execution."
    ),
    ResourceConflictException: "`durably show NAME` says where it stands.",
    ResourceNotFoundException: "`durably list` shows what there is; --store says where to look.",
    StoreLockedError: (
        "`durably start` hands that process an execution; `run`, `worker`, `dev` and `serve` "
        "wait for its end, or take another --store; all other commands work beside it."
    ),
}


class Trouble(click.ClickException):
    """A sentence, what to do next, and where it happened in the user's own code."""

    exit_code = CANNOT

    def __init__(self, sentence: str, next_step: str = "", places: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.next_step = next_step
        self.places = places


def trouble_of(error: DurableError) -> Trouble:
    """Say what *error* means to whoever typed the command."""
    match error:
        case ApiError():
            sentence = error.message
        case ValidationError():
            field = error.field.replace("_", " ").capitalize()
            sentence = field + str(error).removeprefix(error.field)
        case StoreLockedError():
            sentence = str(error).removesuffix(f" {error.remedy}")
        case _:
            sentence = str(error)
    return Trouble(sentence, _NEXT_STEPS.get(type(error), ""))


def tell(trouble: click.ClickException) -> None:
    """Print *trouble* to standard error."""
    label = colored("Error:", "red")
    lines = [f"{label} {safe_lines(trouble.format_message())}"]
    if isinstance(trouble, Trouble):
        lines += [f"  {safe(place)}" for place in trouble.places]
        lines += [trouble.next_step] if trouble.next_step else []
    elif isinstance(trouble, click.UsageError) and trouble.ctx is not None:
        lines.append(f"Try `{trouble.ctx.command_path} --help`.")
    for line in lines:
        click.echo(line, err=True)


def places_of(traceback: TracebackType | None, *, limit: int = 3) -> tuple[str, ...]:
    """Give the user's own frames in *traceback*, the last *limit* of them, without our own."""
    import traceback as tracebacks  # noqa: PLC0415 - only for what has failed

    frames = [
        frame for frame in tracebacks.extract_tb(traceback) if not _is_foreign(frame.filename)
    ]
    return tuple(
        f"{frame.filename}, line {frame.lineno}, in {frame.name}: {frame.line or ''}".rstrip(": ")
        for frame in frames[-limit:]
    )


def _is_foreign(filename: str) -> bool:
    """Whether a frame is ours, or of the machinery that imports files."""
    import importlib  # noqa: PLC0415 - only for what has failed

    machinery = str(Path(importlib.__file__).parent)
    return filename.startswith((_PACKAGE, machinery, "<"))
