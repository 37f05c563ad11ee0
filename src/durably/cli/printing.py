"""What people read: text made harmless, times, JSON."""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any, TextIO

import click
import msgspec

from durably.wire.base import Timestamp

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Control characters move the cursor or rename the window, directional marks change the order of
# what is read, surrogates cannot be written at all.
_HARMFUL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
_HARMFUL_BUT_LINES = re.compile(_HARMFUL.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))
_END = re.compile(r"(?: |\x1b\[[0-9;]*m)+$")
_WIDE = 4096
_AT_ONCE = select.PIPE_BUF // 4  # characters: one has four bytes at most


def safe(text: object) -> str:
    """Give *text* on one line, with everything in it that a terminal would obey made visible."""
    return _HARMFUL.sub(_visible, str(text))


def safe_lines(text: object) -> str:
    """Give *text* with its lines and tabs, and everything else as `safe` does."""
    return _HARMFUL_BUT_LINES.sub(_visible, str(text))


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    named = {9: r"\t", 10: r"\n", 13: r"\r"}
    if code in named:
        return named[code]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - two digits


def short(text: object, width: int) -> str:
    """Give *text* on one line, harmless, and cut where it is longer than *width*."""
    line = safe(text)
    return line if len(line) <= width else f"{line[: width - 1]}…"


def counted(count: int, noun: str) -> str:
    """Give *count* with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def colored(text: str, color: str) -> str:
    """Give *text* in a colour, unless the environment says NO_COLOR.

    `click.echo` takes the colour out again where nobody would see it.
    """
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=color)


@cache
def console(*, to_stderr: bool = False) -> Console:
    """Give the console of one of the two streams. What is no terminal has any width."""
    from rich.console import Console  # noqa: PLC0415 - takes a while, and JSON needs none

    made = Console(stderr=to_stderr, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not made.is_terminal:
        made = Console(
            stderr=to_stderr,
            highlight=False,
            markup=False,
            emoji=False,
            width=_WIDE,
            color_system=None,
        )
    return made


def tell_at_once(line: str) -> None:
    """Print a line, or several, as `write_at_once` does, coloured only where people see it."""
    text = f"{line}\n"
    with suppress(ValueError):  # it is closed
        write_at_once(text if is_terminal(sys.stdout) else click.unstyle(text), sys.stdout)


def write_at_once(text: str, stream: IO[str]) -> None:
    """Write of *text* what can be written at once: a pipe that nobody reads holds nobody up.

    What serves others writes so. The rest is lost; nothing that is served depends on it.
    """
    has_room = _room_of(stream)
    with suppress(OSError, ValueError):
        for start in range(0, len(text), _AT_ONCE):
            if not has_room():
                return
            stream.write(text[start : start + _AT_ONCE])
            stream.flush()


def _room_of(stream: IO[str]) -> Callable[[], object]:
    """Give what says whether to write `_AT_ONCE` characters does not block."""
    ready = select.poll()
    try:
        ready.register(stream, select.POLLOUT)
    except (OSError, ValueError):  # it is no file, or closed: to write tells
        return lambda: True
    return lambda: ready.poll(0)


def print_grid(grid: Table, width: int | None = None) -> None:
    """Print *grid* to standard output, without spaces at the ends of its lines.

    It is as wide as the terminal, or has this *width*, whatever the terminal's. No word is cut: an
    id that has no room is still in one piece, to be copied, and the terminal breaks the line.
    """
    out = console()
    wide = out.options.update(width=_WIDE)
    for column in grid.columns:
        column.min_width = max(out.measure(one, options=wide).minimum for one in column.cells)
    with out.capture() as captured:
        out.print(grid, width=width, crop=False)
    sys.stdout.write(_rstripped(captured.get()))


def _rstripped(lines: str) -> str:
    """Take away the spaces at the ends of *lines*, which may be within colours, and end those."""
    return "".join(f"{_END.sub(_ending, line)}\n" for line in lines.splitlines())


def _ending(match: re.Match[str]) -> str:
    return "\x1b[0m" if "\x1b" in match[0] else ""


def is_terminal(stream: TextIO) -> bool:
    """Whether a person may be looking at *stream*."""
    return stream.isatty()


# Times


def length(duration: timedelta) -> str:
    """Say how long *duration* is, in its two largest units."""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 0.0995:  # noqa: PLR2004 - below a tenth of a second, milliseconds matter
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:  # noqa: PLR2004 - below ten seconds, tenths matter
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for (size, unit), (part_size, part_unit) in pairwise(_UNITS):
        if whole >= size:
            many, rest = divmod(whole, size)
            few = rest // part_size
            return f"{many} {unit} {few} {part_unit}" if few else f"{many} {unit}"
    return f"{whole} s"


_PROMPT = timedelta(seconds=1)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def clock_time(at: datetime, now: datetime) -> str:
    """Say when *at* is, here: the time, and the day if it is another one than *now*'s."""
    local = at.astimezone()
    form = "%H:%M:%S" if local.date() == now.astimezone().date() else "%Y-%m-%d %H:%M:%S"
    return local.strftime(form)


def until(at: datetime, now: datetime) -> str:
    """Say when *at* is and how long it is until then."""
    return f"{clock_time(at, now)} ({left(at, now)})"


def left(at: datetime, now: datetime) -> str:
    """Say how long it is until *at*, or how long ago it ought to have been."""
    time = at - now
    if time > timedelta(0):
        return f"in {length(time)}"
    return "now" if time > -_PROMPT else f"overdue by {length(-time)}"


def since(at: datetime, now: datetime) -> str:
    """Say when *at* was and how long ago."""
    return f"{clock_time(at, now)} ({length(now - at)} ago)"


# JSON


def to_json(value: object, *, indent: bool = False) -> str:
    """Write *value* as JSON that a terminal shows as it is; instants as ISO 8601."""
    text = _encode(value)
    return harmless_json(msgspec.json.format(text, indent=2).decode() if indent else text.decode())


def harmless_json(text: str) -> str:
    """Escape in JSON *text* what a terminal would obey. It stays JSON of the same value."""
    return _HARMFUL_BUT_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def print_json_lines(values: Iterable[object]) -> None:
    """Print an array, each of its *values* on a line of its own."""
    lines = ",\n".join(to_json(value) for value in values)
    sys.stdout.write(f"[\n{lines}\n]\n" if lines else "[]\n")


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value, enc_hook=_iso)


def _iso(value: object) -> str:
    if isinstance(value, Timestamp):
        return f"{value.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    raise NotImplementedError


def without_none(members: dict[str, Any]) -> dict[str, Any]:
    """Leave out the members that say nothing."""
    return {name: value for name, value in members.items() if value is not None}
