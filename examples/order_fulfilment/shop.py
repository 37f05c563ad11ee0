"""The world outside: a bank, a warehouse, a label printer, a carrier, and the books they keep.

All of it is one SQLite database and a folder of labels. Every effect is a committed row that says
which attempt of which operation asked for it, so whoever reads the books sees what happened twice.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from threading import Event

from durably import current_step

LARGE = Decimal(1000)
DECLINED_CARD = "tok_declined"
DISCONTINUED = "PIANO-88"
TRAVEL_SECONDS = 0.03

_SCHEMA = """
CREATE TABLE IF NOT EXISTS effects (
  id INTEGER PRIMARY KEY,
  at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  step TEXT NOT NULL,
  order_number TEXT NOT NULL,
  what TEXT NOT NULL,
  execution TEXT NOT NULL,
  operation TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  idempotency_key TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS inquiries (idempotency_key TEXT NOT NULL, found TEXT) STRICT;
CREATE TABLE IF NOT EXISTS desk (
  callback_id TEXT PRIMARY KEY, order_number TEXT NOT NULL, amount TEXT NOT NULL, verdict TEXT
) STRICT;
"""
_WRITE = """
INSERT INTO effects (step, order_number, what, execution, operation, attempt, idempotency_key)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_FIND_PAYMENT = "SELECT 'receipt-' || id FROM effects WHERE idempotency_key = ? ORDER BY id"
_ASK = "INSERT OR IGNORE INTO desk (callback_id, order_number, amount) VALUES (?, ?, ?)"
_ON_THE_ROAD = """
SELECT (julianday('now') - julianday(max(at))) * 86400 FROM effects
WHERE order_number = ? AND step = 'ship'
"""


class CardDeclined(Exception):  # noqa: N818 - what the bank says
    """The bank does not give the money. No use asking again."""


class OutOfStock(Exception):  # noqa: N818 - what the warehouse says
    """The warehouse does not have it. No use asking again."""


class PrinterJam(Exception):  # noqa: N818 - what the printer says
    """It happens. Try again."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of an order."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Order:
    """One row of the CSV."""

    number: str
    customer: str
    card: str
    items: tuple[Item, ...]
    total: Decimal

    @property
    def is_large(self) -> bool:
        """Whether somebody has to approve it."""
        return self.total >= LARGE


def read_orders(path: str) -> list[Order]:
    """Read the orders of a CSV file."""
    with Path(path).open(newline="") as file:
        return [_order(row) for row in csv.DictReader(file)]


def _order(row: dict[str, str]) -> Order:
    lines = (line.split(" x ") for line in row["items"].split("; "))
    items = tuple(Item(sku, int(quantity)) for quantity, sku in lines)
    return Order(row["order"], row["customer"], row["card"], items, Decimal(row["total"]))


@dataclass(frozen=True, slots=True)
class Shop:
    """What steps call. Every method takes its time, and can be cut off before or after its effect.

    Attributes:
        folder: where `shop.db` and the labels are.
    """

    folder: str

    def open(self) -> None:
        """Make what is not there yet."""
        (Path(self.folder) / "labels").mkdir(parents=True, exist_ok=True)
        with self.books() as books:
            books.executescript(_SCHEMA)

    # The bank

    def move_money(self, kind: str, order: Order, key: str) -> str:
        """Charge or refund an order. This bank does what it is told: asked twice, it pays twice."""
        _travel()
        if kind == "charge" and order.card == DECLINED_CARD:
            raise CardDeclined(order.number)
        receipt = f"receipt-{self._write(kind, order, str(order.total), key)}"
        _travel()
        return receipt

    def find_payment(self, key: str) -> str | None:
        """Give the receipt of the payment with that key, if there was one. Changes nothing."""
        with self.books() as books:
            row = books.execute(_FIND_PAYMENT, (key,)).fetchone()
            found: str | None = None if row is None else row[0]
            books.execute("INSERT INTO inquiries VALUES (?, ?)", (key, found))
        _travel()
        return found

    # The warehouse

    def reserve(self, order: Order) -> None:
        """Keep the goods for an order."""
        _travel()
        if any(item.sku == DISCONTINUED for item in order.items):
            raise OutOfStock(DISCONTINUED)
        self._write("reserve", order)
        _travel()

    def release(self, order: Order) -> None:
        """Put the goods back."""
        _travel()
        self._write("release", order)
        _travel()

    def ship(self, order: Order, item: Item) -> str:
        """Print a label and hand the parcel over; a repeat prints the same label again."""
        _travel()
        if item.sku.startswith("BULKY") and current_step().attempt == 1:
            raise PrinterJam(item.sku)
        label = Path(self.folder) / "labels" / f"{order.number}-{item.sku}.txt"
        label.write_text(f"{order.number}\n{order.customer}\n{item.quantity} x {item.sku}\n")
        self._write("ship", order, item.sku)
        _travel()
        return label.name

    # The manager's desk, the carrier, the post

    def ask_manager(self, callback_id: str, order: Order) -> None:
        """Put an order on the manager's desk. Asked twice, there is one note: it has one id."""
        with self.books() as books:
            books.execute(_ASK, (callback_id, order.number, str(order.total)))
        self._write("ask", order)
        _travel()

    def track(self, order: Order, _status: str) -> str:
        """Ask the carrier where the parcels are. Changes nothing."""
        _travel()
        with self.books() as books:
            seconds: float = books.execute(_ON_THE_ROAD, (order.number,)).fetchone()[0]
        return "delivered" if seconds >= 1 + int(order.number[-1]) % 3 else "on its way"

    def mail(self, order: Order, status: str) -> None:
        """Tell the customer how it ended."""
        self._write("mail", order, status)
        _travel()

    # The books

    @contextmanager
    def books(self) -> Iterator[sqlite3.Connection]:
        """Open the books for one transaction, on the disk when it ends."""
        with closing(sqlite3.connect(Path(self.folder) / "shop.db", timeout=30)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            with connection:
                yield connection

    def _write(self, step: str, order: Order, what: str = "", key: str | None = None) -> int:
        asked = current_step()
        who = (asked.execution_arn, asked.operation_id, asked.attempt)
        with self.books() as books:
            row = (step, order.number, what, *who, key or asked.idempotency_key)
            return books.execute(_WRITE, row).lastrowid or 0


def _travel() -> None:
    """Take the time of a message through a network. A kill likes to come just then."""
    Event().wait(TRAVEL_SECONDS)
