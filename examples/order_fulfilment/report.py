"""The checked ledger, as it is printed at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.order_fulfilment.books import Books
from examples.order_fulfilment.ledger import AT_MOST_ONCE, Ledger, Line

GOOD, BAD, NOTE = ("✓", "bold green"), ("✗", "bold red"), ("·", "bold yellow")


def print_report(console: Console, ledger: Ledger, books: Books, kills: int) -> None:
    """Print the table, and what it means."""
    console.print(_table(ledger))
    for (sign, style), text in _sentences(ledger, books, kills):
        console.print(Text.assemble("  ", (sign, style), " ", text), soft_wrap=True)


def _table(ledger: Ledger) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.add_column("  step", "  all")
    table.add_column("promise")
    for head, value in (
        ("due", sum(line.due for line in ledger.lines)),
        ("done", sum(line.done for line in ledger.lines)),
        ("repeated", sum(line.repeated for line in ledger.lines)),
        ("lost", sum(line.lost for line in ledger.lines)),
    ):
        table.add_column(head, str(value), justify="right")
    for line in ledger.lines:
        table.add_row(*_row(line))
    return table


def _row(line: Line) -> tuple[Text, ...]:
    promise = "at most once" if line.is_at_most_once else "at least once"
    repeated = "bold red" if line.is_at_most_once else "yellow"
    return (
        Text(f"  {line.step}"),
        Text(promise, "dim"),
        Text(str(line.due)),
        Text(str(line.done)),
        Text(str(line.repeated), repeated if line.repeated else "green"),
        Text(str(line.lost), "bold red" if line.lost else "green"),
    )


def _sentences(ledger: Ledger, books: Books, kills: int) -> Iterator[tuple[tuple[str, str], str]]:
    for problem in ledger.problems:
        yield BAD, problem
    if ledger.problems:
        yield BAD, "the check does not hold"
        return
    answer = ledger.answer
    counts = {status: n for status, n in answer.items() if status not in {"orders", "revenue"}}
    ended = ", ".join(f"{n} {status}" for status, n in counts.items())
    due = sum(line.due for line in ledger.lines)
    yield GOOD, f"{answer['orders']} orders in {ledger.executions} executions: {ended}"
    yield GOOD, f"{kills} kills, and nothing lost: {due} effects were due, and all were done"
    yield GOOD, f"nothing paid twice: {_payments(ledger)}"
    inquiries = books.inquiries()
    if inquiries:
        yield NOTE, _asked(inquiries)
    yield (NOTE, _allowed(ledger)) if ledger.repeats else (GOOD, "no other effect was repeated")
    yield GOOD, f"the bank holds {answer['revenue']}, which is what the delivered orders cost"


def _asked(inquiries: Counter[bool]) -> str:
    return (
        f"{inquiries.total()} payments were cut off by a kill, and not just made again: the bank "
        f"was asked, and {inquiries[True]} had gone through, {inquiries[False]} had not"
    )


def _payments(ledger: Ledger) -> str:
    counts = (f"{line.done} {line.step}s" for line in ledger.lines if line.step in AT_MOST_ONCE)
    return f"{' and '.join(counts)}, by steps that run at most once"


def _allowed(ledger: Ledger) -> str:
    steps = ", ".join(f"{count} {step}" for step, count in ledger.repeats.items())
    return (
        f"{sum(ledger.repeats.values())} effects came twice ({steps}): at-least-once allows it, "
        "when a kill comes after the effect and before its record; each under its first key"
    )
