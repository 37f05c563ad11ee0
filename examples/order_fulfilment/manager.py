"""The manager: reads the desk, and answers through the command line, as anybody could.

$ python -m examples.order_fulfilment.manager SHOP_FOLDER STORE_URL

It runs beside the worker, and does not care whether one is alive: an answer that comes while there
is none is kept, and found by the next.
"""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from threading import Event

from examples.order_fulfilment.books import Books, Note

LIMIT = Decimal(1500)
LOOK_EVERY_SECONDS = 0.2


def approves(total: Decimal) -> bool:
    """Say what the manager thinks of an order."""
    return total <= LIMIT


def main(shop_folder: str, store_url: str) -> None:
    """Answer whatever lies on the desk, until killed."""
    books = Books(Path(shop_folder))
    while not Event().wait(LOOK_EVERY_SECONDS):
        for note in books.notes():
            if note.verdict is None:
                _answer(books, note, store_url)


def _answer(books: Books, note: Note, store_url: str) -> None:
    """Answer one note. If that fails, the note stays, and is answered at the next look."""
    is_approved = approves(Decimal(note.amount))
    command = [durably(), "callback", "succeed", note.callback_id, "--store", store_url]
    command += ["--payload", "true" if is_approved else "false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    print(f"{note.order_number}: {is_approved}: {done.returncode} {done.stderr}", flush=True)
    if done.returncode == 0:
        books.answer(note, "approved" if is_approved else "refused")


def durably() -> str:
    """Give the command that is installed beside this interpreter."""
    return str(Path(sys.executable).with_name("durably"))


if __name__ == "__main__":
    main(*sys.argv[1:])
