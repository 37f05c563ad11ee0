"""The checked ledger, as it is printed at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.order_fulfilment.ledger import Ledger, Line

GOOD = Text("✓", "bold green")
BAD = Text("✗", "bold red")
ALLOWED = Text("✓", "bold yellow")
COUNTS = ("due", "done", "repeated", "lost")


def print_report(console: Console, ledger: Ledger, inquiries: Counter[bool], kills: int) -> None:
    """Print the table, and what it means.

    Args:
        console: where to.
        ledger: what the check has found.
        inquiries: how often the bank was asked for a payment, by whether there was one.
        kills: how often the worker was killed.
    """
    console.print(_table(ledger))
    said = Table.grid(padding=(0, 1))
    for sign, sentence in _sentences(ledger, inquiries, kills):
        said.add_row("", sign, sentence)
    console.print(said, highlight=False)


def _table(ledger: Ledger) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.add_column("  step", "  all")
    table.add_column("promise")
    for count in COUNTS:
        total = sum(getattr(line, count) for line in ledger.lines)
        table.add_column(count, str(total), justify="right")
    for line in ledger.lines:
        table.add_row(*_row(line))
    return table


def _row(line: Line) -> tuple[Text, ...]:
    promise = "at most once" if line.is_at_most_once else "at least once"
    forbidden = "bold red" if line.is_at_most_once else "yellow"
    return (
        Text(f"  {line.step}"),
        Text(promise, "dim"),
        Text(str(line.due)),
        Text(str(line.done)),
        Text(str(line.repeated), forbidden if line.repeated else "green"),
        Text(str(line.lost), "bold red" if line.lost else "green"),
    )


def _sentences(ledger: Ledger, inquiries: Counter[bool], kills: int) -> Iterator[tuple[Text, str]]:
    if ledger.problems:
        yield from ((BAD, problem) for problem in ledger.problems)
        yield BAD, "the check does not hold"
        return
    answer = ledger.answer
    counts = {status: n for status, n in answer.items() if status not in {"orders", "revenue"}}
    ended = ", ".join(f"{n} {status}" for status, n in counts.items())
    due = sum(line.due for line in ledger.lines)
    yield GOOD, f"{answer['orders']} orders, each in one execution: {ended}."
    yield GOOD, f"Kills: {kills}. Nothing lost: {due} effects were due, and all are there."
    yield GOOD, f"At-most-once steps, nothing repeated: {_payments(ledger)}."
    if inquiries:
        yield GOOD, _asked(inquiries)
    yield (ALLOWED, _allowed(ledger)) if ledger.repeats else (GOOD, _NOTHING_REPEATED)
    yield GOOD, f"The bank holds {answer['revenue']}, the price of all that was delivered."


_NOTHING_REPEATED = "At-least-once steps, nothing repeated either, this time."


def _payments(ledger: Ledger) -> str:
    return ", ".join(f"{line.done} {line.step}s" for line in ledger.lines if line.is_at_most_once)


def _asked(inquiries: Counter[bool]) -> str:
    return (
        f"Payments that a kill cut off: {inquiries.total()}. Not simply made again: the bank "
        f"was asked by key, and {inquiries[True]} had gone through, {inquiries[False]} had not."
    )


def _allowed(ledger: Ledger) -> str:
    steps = ", ".join(f"{count} {step}" for step, count in ledger.repeats.items())
    return (
        f"At-least-once steps, {sum(ledger.repeats.values())} effects repeated ({steps}). That is "
        "allowed: the kill came after the effect and before its record. Same attempt, same key."
    )
