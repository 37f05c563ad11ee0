"""What a person sees: a live screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from examples.order_fulfilment.books import Effect, Note
from examples.order_fulfilment.ledger import AT_MOST_ONCE
from examples.order_fulfilment.progress import FEED, Progress

PLAIN_EVERY_SECONDS = 2.0
STYLES = {
    "charge": "green",
    "reserve": "cyan",
    "ask": "yellow",
    "ship": "blue",
    "release": "magenta",
    "refund": "magenta",
    "mail": "white",
}


class Screen(Protocol):
    """Where the demo reports while the work goes on."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, progress: Progress, worker: Text) -> None:
        """Show how far the work is, and what the worker does."""
        ...

    def say(self, text: str, style: str = "") -> None:
        """Report one thing that happened."""
        ...


def screen_for(console: Console, title: str) -> Screen:
    """Choose by what *console* writes to."""
    return LiveScreen(console, title) if console.is_terminal else PlainScreen(console, title)


class PlainScreen:
    """Lines, one every two seconds, for logs and pipes."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._started = monotonic()
        self._next = self._started

    def __enter__(self) -> Self:
        self.say(self._title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave nothing to be tidied."""

    def show(self, progress: Progress, worker: Text) -> None:
        """Print a line, if the last one is old."""
        if monotonic() < self._next:
            return
        self._next = monotonic() + PLAIN_EVERY_SECONDS
        self.say(
            f"{progress.finished}/{progress.total} orders, {progress.open_orders} half way, "
            f"{progress.effects}/{progress.due.total()} effects, {worker}"
        )

    def say(self, text: str, style: str = "") -> None:
        """Print a line."""
        line = f"{monotonic() - self._started:5.1f} s  {text}"
        self._console.print(line, style=style, highlight=False, soft_wrap=True)


class LiveScreen:
    """A progress bar, a bar for each step, where the open orders are, and what happened last."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._started = monotonic()
        self._events: list[Text] = []
        self._live = Live(console=console, refresh_per_second=12, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Clear the screen, and leave on it what was said."""
        self._live.__exit__(kind, error, traceback)
        for event in self._events:
            self._console.print(event)

    def show(self, progress: Progress, worker: Text) -> None:
        """Draw everything anew."""
        self._live.update(Group(*self._parts(progress, worker)))

    def say(self, text: str, style: str = "") -> None:
        """Keep a line at the bottom of the screen."""
        at = f"{monotonic() - self._started:5.1f} s  "
        self._events.append(Text.assemble((at, "dim"), (text, style)))

    def _parts(self, progress: Progress, worker: Text) -> Iterable[RenderableType]:
        yield self._head(progress, worker)
        yield Text()
        yield self._middle(progress)
        yield Rule(style="dim")
        yield self._feed(progress)
        yield Rule(style="dim")
        yield from self._events

    def _head(self, progress: Progress, worker: Text) -> Group:
        elapsed = f"{monotonic() - self._started:4.0f} s"
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column()
        line.add_column(justify="right")
        line.add_row(Text.assemble(" ", (self._title, "bold")), worker)
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column()
        grid.add_column(ratio=1)
        grid.add_column(justify="right")
        grid.add_column(justify="right")
        bar = ProgressBar(progress.total, progress.finished, complete_style="green")
        done = Text(f"{progress.finished}/{progress.total}", "bold")
        grid.add_row(" orders", bar, done, Text(elapsed, "dim"))
        return Group(line, grid)

    def _middle(self, progress: Progress) -> Table:
        steps = Table.grid(padding=(0, 1))
        for step, done, due in progress.bars:
            bar = ProgressBar(due, done, width=22, complete_style=STYLES[step])
            promise = "at most once" if step in AT_MOST_ONCE else "at least once"
            steps.add_row(f" {step}", Text(promise, "dim"), bar, Text(f"{done:>4}"))
        places = Table.grid(padding=(0, 1))
        places.add_row(Text(f"{progress.open_orders:>4}", "bold"), Text("half way", "bold"))
        for place, count in sorted(progress.places.items()):
            places.add_row(f"{count:>4}", place)
        places.add_row("", Text(_manager(progress.notes), "dim"))
        both = Table.grid(padding=(0, 1))
        both.add_row(steps, places)
        return both

    def _feed(self, progress: Progress) -> Table:
        grid = Table.grid(padding=(0, 1))
        for effect, is_repeat in progress.feed:
            grid.add_row(*_feed_row(effect, progress, is_repeat=is_repeat))
        for _ in range(FEED - len(progress.feed)):
            grid.add_row("")
        return grid


def _manager(notes: list[Note]) -> str:
    verdicts = Counter(note.verdict for note in notes)
    return f"manager: {verdicts['approved']} yes, {verdicts['refused']} no"


def _feed_row(effect: Effect, progress: Progress, *, is_repeat: bool) -> tuple[RenderableType, ...]:
    again = f", attempt {effect.attempt}" if effect.attempt > 1 else ""
    return (
        Text(f" {effect.at[11:23]}", "dim"),
        effect.order_number,
        Text(progress.customers.get(effect.order_number, ""), "dim"),
        Text(effect.step, STYLES[effect.step]),
        Text.assemble(f"{effect.what}{again} ", ("again" if is_repeat else "", "bold yellow")),
    )
