"""What the shop's books say, for those who only read them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_EFFECTS = """
SELECT id, at, step, order_number, what, execution, operation, attempt, idempotency_key
FROM effects WHERE id > ? ORDER BY id
"""
_INQUIRIES = "SELECT idempotency_key, found FROM inquiries"
_NOTES = "SELECT callback_id, order_number, amount, verdict FROM desk ORDER BY rowid"
_ANSWER = "UPDATE desk SET verdict = ? WHERE callback_id = ?"


class Slot(NamedTuple):
    """One thing that is to be done once: a step of an order, and what with."""

    step: str
    order_number: str
    what: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One thing that was done, and which attempt of which operation did it."""

    id: int
    at: str = ""
    step: str
    order_number: str
    what: str
    execution: str
    operation: str
    attempt: int
    idempotency_key: str

    @property
    def slot(self) -> Slot:
        """What it was due for."""
        return Slot(self.step, self.order_number, self.what)


@dataclass(frozen=True, slots=True)
class Note:
    """An order on the manager's desk; the verdict is `None` while it is waiting."""

    callback_id: str
    order_number: str
    amount: str
    verdict: str | None


class Books:
    """A reader's view of `shop.db`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "shop.db"
        self._labels = folder / "labels"

    def effects(self, after: int = 0) -> list[Effect]:
        """Give what was done since the effect with that id."""
        return [
            Effect(
                id=row[0],
                at=row[1],
                step=row[2],
                order_number=row[3],
                what=row[4],
                execution=row[5],
                operation=row[6],
                attempt=row[7],
                idempotency_key=row[8],
            )
            for row in self._read(_EFFECTS, after)
        ]

    def inquiries(self) -> Counter[bool]:
        """Count how often the bank was asked for a payment, by whether there was one."""
        return Counter(found is not None for _, found in self._read(_INQUIRIES))

    def notes(self) -> list[Note]:
        """Give what is, or was, on the manager's desk."""
        return [Note(*row) for row in self._read(_NOTES)]

    def answer(self, note: Note, verdict: str) -> None:
        """Take a note off the desk."""
        with self._open() as books:
            books.execute(_ANSWER, (verdict, note.callback_id))

    def labels(self) -> frozenset[str]:
        """Give the names of the labels that were printed."""
        return frozenset(path.name for path in self._labels.iterdir())

    def _read(self, query: str, *parameters: object) -> list[Any]:
        with self._open() as books:
            return books.execute(query, parameters).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30)) as books, books:
            yield books
