"""The check: what should have been done, by the orders alone, beside what the books say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from examples.order_fulfilment.books import Effect, Slot
from examples.order_fulfilment.manager import approves
from examples.order_fulfilment.shop import DECLINED_CARD, DISCONTINUED, Order

STEPS = ("charge", "reserve", "ask", "ship", "release", "refund", "mail")
AT_MOST_ONCE = frozenset({"charge", "refund"})
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Line:
    """What became of all effects of one step.

    Attributes:
        due: how many there should be.
        done: how many of those there are.
        repeated: how often one was there again.
        lost: how many of those due are missing.
        strange: how many are there that nobody ordered.
    """

    step: str
    due: int
    done: int
    repeated: int
    lost: int
    strange: int

    @property
    def is_at_most_once(self) -> bool:
        """Whether no repeat is allowed, not even after a crash."""
        return self.step in AT_MOST_ONCE


@dataclass(frozen=True, slots=True)
class Ledger:
    """The result of the check; it holds if there are no problems."""

    lines: tuple[Line, ...]
    executions: int
    answer: dict[str, Any]
    problems: tuple[str, ...]

    @property
    def repeats(self) -> dict[str, int]:
        """How many effects came again, by step; steps without any are left out."""
        return {line.step: line.repeated for line in self.lines if line.repeated}


def status_due(order: Order) -> str:
    """Say how an order should end."""
    if order.card == DECLINED_CARD:
        return "declined"
    if any(item.sku == DISCONTINUED for item in order.items):
        return "out of stock"
    if order.is_large and not approves(order.total):
        return "refused"
    return "delivered"


def effects_due(order: Order) -> list[Slot]:
    """Say what should be done for an order, in any order."""
    status, number, total = status_due(order), order.number, str(order.total)
    due = [Slot("mail", number, status)]
    if status != "declined":
        due.append(Slot("charge", number, total))
    if status in {"refused", "delivered"}:
        due.append(Slot("reserve", number))
        due.extend([Slot("ask", number)] if order.is_large else [])
    if status == "delivered":
        due.extend(Slot("ship", number, item.sku) for item in order.items)
    if status == "refused":
        due.append(Slot("release", number))
    if status in {"refused", "out of stock"}:
        due.append(Slot("refund", number, total))
    return due


def answer_due(orders: Sequence[Order]) -> dict[str, Any]:
    """Say what the execution should answer."""
    counts = Counter(status_due(order) for order in orders)
    sold = (order.total for order in orders if status_due(order) == "delivered")
    revenue = str(sum(sold, Decimal(0)))
    return {"orders": len(orders), **dict(sorted(counts.items())), "revenue": revenue}


def check(
    orders: Sequence[Order],
    effects: Sequence[Effect],
    labels: frozenset[str],
    answer: dict[str, Any],
    kills: int,
) -> Ledger:
    """Hold what was done, and what was answered, against what was due."""
    due = {slot for order in orders for slot in effects_due(order)}
    rows: dict[Slot, list[Effect]] = defaultdict(list)
    for effect in effects:
        rows[effect.slot].append(effect)
    lines = tuple(_line(step, due, rows) for step in STEPS)
    executions = {(effect.order_number, effect.execution) for effect in effects}
    problems = [
        *_said("lost", (slot for slot in due if slot not in rows)),
        *_said("nobody ordered", (slot for slot in rows if slot not in due)),
        *(problem for slot, same in rows.items() for problem in _repeats(slot, same, kills)),
        *_doubled_executions(executions),
        *_labels(due, labels),
        *_money(effects, answer),
    ]
    expected = answer_due(orders)
    if answer != expected:
        problems.append(f"the answer is {answer}, and should be {expected}")
    return Ledger(lines, len(executions), answer, tuple(problems))


def _line(step: str, due: set[Slot], rows: dict[Slot, list[Effect]]) -> Line:
    wanted = {slot for slot in due if slot.step == step}
    found = {slot for slot in rows if slot.step == step}
    return Line(
        step=step,
        due=len(wanted),
        done=len(wanted & found),
        repeated=sum(len(rows[slot]) - 1 for slot in found),
        lost=len(wanted - found),
        strange=len(found - wanted),
    )


def _said(what: str, slots: Iterable[Slot]) -> list[str]:
    found = sorted(" ".join(slot).strip() for slot in slots)
    return [f"{len(found)} effects: {what}: {_some(found)}"] if found else []


def _repeats(slot: Slot, same: list[Effect], kills: int) -> list[str]:
    """Say which repeats are not those of one attempt, run again because a kill cut it off."""
    name = " ".join(slot).strip()
    if len(same) == 1:
        return []
    if slot.step in AT_MOST_ONCE:
        return [f"{name}: done {len(same)} times, and at-most-once forbids a second"]
    if len({(e.execution, e.operation, e.attempt, e.idempotency_key) for e in same}) > 1:
        return [f"{name}: done by different attempts, or under different keys"]
    if len(same) - 1 > kills:
        return [f"{name}: done {len(same)} times, with {kills} kills"]
    return []


def _doubled_executions(executions: set[tuple[str, str]]) -> list[str]:
    counts = Counter(number for number, _ in executions)
    doubled = sorted(number for number, count in counts.items() if count > 1)
    return [f"orders with more than one execution: {_some(doubled)}"] if doubled else []


def _labels(due: set[Slot], labels: frozenset[str]) -> list[str]:
    wanted = {f"{slot.order_number}-{slot.what}.txt" for slot in due if slot.step == "ship"}
    wrong = sorted(wanted ^ labels)
    return [f"labels that are missing, or too many: {_some(wrong)}"] if wrong else []


def _money(effects: Sequence[Effect], answer: dict[str, Any]) -> list[str]:
    moved = Decimal(0)
    for effect in effects:
        if effect.step in AT_MOST_ONCE:
            moved += Decimal(effect.what) * (1 if effect.step == "charge" else -1)
    if str(moved) == answer.get("revenue"):
        return []
    return [f"the bank holds {moved}, and the answer says {answer.get('revenue')}"]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
