"""How far the work is, seen from the shop's books alone."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from examples.order_fulfilment.books import Books, Effect, Note, Slot
from examples.order_fulfilment.ledger import STEPS, effects_due
from examples.order_fulfilment.shop import Order

FEED = 5
# Where an order is, by the last thing that was done for it.
PLACES = {
    "charge": "at the warehouse",
    "reserve": "cooling off",
    "ask": "waiting for the manager",
    "answer": "cooling off",
    "ship": "with the carrier",
    "release": "being undone",
    "refund": "being undone",
}


class Progress:
    """What has been done so far. `look` brings it up to date.

    Attributes:
        total: how many orders there are.
        due: how many effects of each step there will be.
        done: how many of them there are.
        feed: the latest effects, and whether each was there before.
        customers: who ordered what.
        notes: what is, or was, on the manager's desk.
    """

    def __init__(self, orders: Sequence[Order], books: Books) -> None:
        self.total = len(orders)
        self.due = Counter(slot.step for order in orders for slot in effects_due(order))
        self.done: Counter[str] = Counter()
        self.feed: deque[tuple[Effect, bool]] = deque(maxlen=FEED)
        self.customers = {order.number: order.customer for order in orders}
        self.notes: list[Note] = []
        self._books = books
        self._last_id = 0
        self._seen: set[Slot] = set()
        self._place: dict[str, str] = {}

    def look(self) -> bool:
        """Read what is new in the books; say whether there was anything."""
        before = self._last_id
        for effect in self._books.effects(after=self._last_id):
            self._last_id = effect.id
            self._place[effect.order_number] = effect.step
            is_repeat = effect.slot in self._seen
            self.feed.append((effect, is_repeat))
            if not is_repeat:
                self._seen.add(effect.slot)
                self.done[effect.step] += 1
        self.notes = self._books.notes()
        for note in self.notes:
            if note.verdict is not None and self._place.get(note.order_number) == "ask":
                self._place[note.order_number] = "answer"
        return self._last_id > before

    @property
    def effects(self) -> int:
        """How many different effects there are."""
        return len(self._seen)

    @property
    def share(self) -> float:
        """Which part of all effects is done, from 0 to 1."""
        return self.effects / self.due.total()

    @property
    def finished(self) -> int:
        """How many orders are done with."""
        return self.done["mail"]

    @property
    def open_orders(self) -> int:
        """How many orders are half way."""
        return len(self._place) - self.finished

    @property
    def places(self) -> Counter[str]:
        """Count the orders that are half way, by where they are."""
        open_orders = (step for step in self._place.values() if step != "mail")
        return Counter(PLACES[step] for step in open_orders)

    @property
    def bars(self) -> list[tuple[str, int, int]]:
        """Give each step with how many of its effects are done, and how many are due."""
        return [(step, self.done[step], self.due[step]) for step in STEPS]
