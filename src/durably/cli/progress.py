"""What `durably run` shows while it works: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from durably.cli.news import News
from durably.cli.overview import Current, Doing, by_urgency
from durably.cli.printing import console, counted, length, safe, short, until
from durably.engine.views import Standing
from durably.wire.execution import CLOSED_STATUSES, ExecutionStatus

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    from durably.cli.watching import Sight

_SUMMARY_EVERY = timedelta(seconds=2)
_MAX_ROWS = 12
_BAR_WIDTH = 40


class Progress(Protocol):
    """Somewhere to show how an execution goes on."""

    def say(self, line: str) -> None:
        """Print one line that stays."""
        ...

    def show(self, sight: Sight, now: datetime) -> None:
        """Show what was seen."""
        ...

    def finish(self, sight: Sight, now: datetime) -> None:
        """Show what has ended, for the last time."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class SilentProgress:
    """Shows nothing; says what must be said at the end only."""

    def say(self, line: str) -> None:
        """Print nothing."""

    def show(self, sight: Sight, now: datetime) -> None:
        """Show nothing."""

    def finish(self, sight: Sight, now: datetime) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class PlainProgress:
    """Prints a line when something has changed, and how far it all is where invoked ones work."""

    def __init__(self, title: str, began_at: datetime) -> None:
        self._title = title
        self._news = News(began_at)
        self._standing: Standing | None = None
        self._summary = ""
        self._summary_at: datetime | None = None

    def say(self, line: str) -> None:
        """Print one line."""
        console(to_stderr=True).print(f"{safe(self._title)} {line}", soft_wrap=True)

    def show(self, sight: Sight, now: datetime) -> None:
        """Print what has changed since the last time."""
        self._tell(sight, now)
        if sight.counts:
            self._sum_up(sight, now)
        if sight.why.standing is not self._standing:
            self._standing = sight.why.standing
            if self._standing in _NOTABLE:
                self.say(standing_of(sight, now))

    def finish(self, sight: Sight, now: datetime) -> None:
        """Print what has changed since the last time, and for the last time."""
        self._tell(sight, now, at_last=True)

    def _tell(self, sight: Sight, now: datetime, *, at_last: bool = False) -> None:
        for line in self._news.lines(sight, now, at_last=at_last):
            self.say(line)

    def _sum_up(self, sight: Sight, now: datetime) -> None:
        if self._summary_at is not None and now - self._summary_at < _SUMMARY_EVERY:
            return
        summary = "; ".join(summary_of(sight))
        if summary != self._summary:
            self._summary, self._summary_at = summary, now
            self.say(summary)

    def close(self) -> None:
        """Do nothing."""


_NOTABLE = (Standing.PARKED, Standing.PAUSED, Standing.RETRYING)


def summary_of(sight: Sight) -> Iterator[str]:
    """Say in a few words how far an execution has come."""
    overview = sight.overview
    words = [f"{counted(overview.done, 'operation')} done"]
    words += [f"{overview.running} running"] if overview.running else []
    words += [f"{overview.waiting} waiting"] if overview.waiting else []
    yield ", ".join(words)
    for function_name, counts in sight.counts.items():
        ended, failed = _ended(counts)
        bad = f", {failed} of them badly" if failed else ""
        yield f"{safe(function_name)}: {ended} of {counts.total()} ended{bad}"


def _ended(counts: Counter[ExecutionStatus]) -> tuple[int, int]:
    ended = sum(count for status, count in counts.items() if status in CLOSED_STATUSES)
    return ended, ended - counts[ExecutionStatus.SUCCEEDED]


def standing_of(sight: Sight, now: datetime) -> str:
    """Say where an execution stands that does not go on as usual."""
    why = sight.why
    error = why.last_error
    said = (
        ""
        if error is None
        else f": {short(error.error_type, 80)}: {short(error.error_message, 200)}"
    )
    match why.standing:
        case Standing.PARKED:
            return f"parked: {short(why.parked_reason, 200)}"
        case Standing.PAUSED:
            return "paused until it is resumed"
        case Standing.RETRYING:
            at = (
                ""
                if why.wakes_at is None
                else f"; the next one comes at {until(why.wakes_at, now)}"
            )
            return f"{counted(why.failures, 'invocation')} failed in a row{said}{at}"
        case _:
            return why.standing.value


class LiveProgress:
    """Draws a picture on the terminal, and draws it again."""

    def __init__(self, title: str, started_at: datetime, began_at: datetime) -> None:
        from rich.live import Live  # noqa: PLC0415 - only on a terminal
        from rich.spinner import Spinner  # noqa: PLC0415 - loaded only where it is used: it is slow to load

        self._title = title
        self._started_at = started_at
        self._news = News(began_at, has_picture=True)
        self._console = console(to_stderr=True)
        self._spinner: Spinner = Spinner("dots", style="cyan")
        self._live: Live = Live(
            console=self._console, refresh_per_second=10, transient=True, vertical_overflow="crop"
        )
        self._live.start()

    def say(self, line: str) -> None:
        """Print one line above the picture."""
        self._console.print(f"{safe(self._title)} {line}", soft_wrap=True)

    def show(self, sight: Sight, now: datetime) -> None:
        """Draw *sight*, below what has ended."""
        from rich.console import Group  # noqa: PLC0415 - only on a terminal

        self._tell(sight, now)
        rows = max(3, min(_MAX_ROWS, self._console.size.height - 5 - len(sight.counts)))
        self._spinner.update(text=headline(sight, self._title, now - self._started_at, now))
        self._live.update(Group(self._spinner, bars(sight), rows_of(sight, now, rows)))

    def finish(self, sight: Sight, now: datetime) -> None:
        """Print what has ended since the last time."""
        self._tell(sight, now, at_last=True)

    def _tell(self, sight: Sight, now: datetime, *, at_last: bool = False) -> None:
        for line in self._news.lines(sight, now, at_last=at_last):
            self.say(line)

    def close(self) -> None:
        """Take the picture away."""
        self._live.stop()


def headline(sight: Sight, title: str, elapsed: timedelta, now: datetime) -> Text:
    """Say what runs, for how long, and whether anything keeps it from going on."""
    from rich.text import Text  # noqa: PLC0415 - only on a terminal

    head = Text.assemble((safe(title), "bold"), ("  " + length(elapsed), "dim"))
    why = sight.why
    if why.standing in _NOTABLE:
        head.append(f"  {standing_of(sight, now)}", "yellow")
    elif why.standing is Standing.WAITING and why.wakes_at is not None and not sight.children:
        head.append(f"  asleep until {until(why.wakes_at, now)}", "dim")
    return head


def bars(sight: Sight) -> Table:
    """Draw how much is done of what is known."""
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - only on a terminal
    from rich.table import Table  # noqa: PLC0415 - loaded only where it is used: it is slow to load
    from rich.text import Text  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    table = Table.grid(padding=(0, 2))
    overview = sight.overview
    words = [(f"{overview.done} done", "green")]
    words += [(f" · {overview.failed} failed", "red")] if overview.failed else []
    words += [(f" · {overview.running} running", "cyan")] if overview.running else []
    words += [(f" · {overview.waiting} waiting", "blue")] if overview.waiting else []
    known = overview.done + len(overview.current)
    bar = ProgressBar(total=max(known, 1), completed=overview.done, width=_BAR_WIDTH)
    table.add_row("  operations", bar, Text.assemble(*words))
    for function_name, counts in sight.counts.items():
        ended, failed = _ended(counts)
        text = Text(f"{ended} of {counts.total()}", "green")
        if failed:
            text.append(f" · {failed} failed", "red")
        bar = ProgressBar(total=max(counts.total(), 1), completed=ended, width=_BAR_WIDTH)
        table.add_row(Text(f"  {short(function_name, 30)}"), bar, text)
    return table


def rows_of(sight: Sight, now: datetime, limit: int) -> Table:
    """Draw at most *limit* current operations, those that run first."""
    from rich.table import Table  # noqa: PLC0415 - only on a terminal
    from rich.text import Text  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    table = Table.grid(padding=(0, 2))
    invoked = bool(sight.children)
    own = [("", one) for one in sight.overview.current if not (invoked and one.kind == "invoke")]
    theirs = [(child.label, one) for child in sight.children for one in child.overview.current]
    current = sorted(own + theirs, key=lambda pair: by_urgency(pair[1]))
    for label, one in current[:limit]:
        glyph, style = _GLYPHS[one.doing]
        place = f"{safe(label)} → {safe(one.path)}" if label else safe(one.path)
        table.add_row(
            Text(f"  {glyph}", style),
            Text(short(place, 60)),
            Text(one.kind, "dim"),
            Text(_state_of(one, now), style),
        )
    children = sum(counts.total() - _ended(counts)[0] for counts in sight.counts.values())
    hidden = max(len(current) - limit, 0) + max(children - len(sight.children), 0)
    if hidden:
        table.add_row("", Text(f"… and {hidden} more", "dim"))
    return table


_GLYPHS = {
    Doing.RUNS: ("●", "cyan"),
    Doing.WAITS_FOR_TIME: ("◷", "blue"),
    Doing.WAITS_FOR_OTHERS: ("◌", "magenta"),
}


def _state_of(one: Current, now: datetime) -> str:
    took = "" if one.since is None else f", {length(now - one.since)}"
    match one.doing:
        case Doing.RUNS:
            return (f"attempt {one.attempt}" if one.attempt > 1 else "running") + took
        case Doing.WAITS_FOR_TIME:
            when = "" if one.due_at is None else f" in {length(one.due_at - now)}"
            what = f"attempt {one.attempt}" if one.attempt else "goes on"
            return f"{what}{when}{'' if one.error is None else f', after {short(one.error, 60)}'}"
        case Doing.WAITS_FOR_OTHERS:
            return f"waits for {'an answer' if one.kind == 'callback' else 'its end'}{took}"
