"""The demo's check finds what it is there to find."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from examples.order_fulfilment.books import Effect
from examples.order_fulfilment.ledger import (
    Ledger,
    answer_due,
    check,
    effects_due,
    status_due,
)
from examples.order_fulfilment.make_orders import ORDERS
from examples.order_fulfilment.report import print_report
from examples.order_fulfilment.shop import DISCONTINUED, Item, Order, read_orders

KILLS = 2


def order(number: str, total: int = 10, card: str = "tok_1", sku: str = "MUG-10") -> Order:
    return Order(number, "Ada Weber", card, (Item(sku, 1), Item("LAMP-02", 2)), Decimal(total))


DELIVERED = order("A1")
APPROVED = order("A2", total=1200)
REFUSED = order("A3", total=5000)
DECLINED = order("A4", card="tok_declined")
OUT_OF_STOCK = order("A5", sku=DISCONTINUED)
ORDERS_HERE = (DELIVERED, APPROVED, REFUSED, DECLINED, OUT_OF_STOCK)


def done() -> list[Effect]:
    """Give what the books say if everything went well."""
    slots = [slot for one in ORDERS_HERE for slot in effects_due(one)]
    return [
        Effect(
            id=number,
            step=slot.step,
            order_number=slot.order_number,
            what=slot.what,
            execution=f"arn-{slot.order_number}",
            operation=f"op-{number}",
            attempt=1,
            idempotency_key=f"key-{number}",
        )
        for number, slot in enumerate(slots, 1)
    ]


def labels() -> frozenset[str]:
    numbers = [one.number for one in (DELIVERED, APPROVED)]
    return frozenset(f"{number}-{sku}.txt" for number in numbers for sku in ("MUG-10", "LAMP-02"))


def checked(effects: Sequence[Effect], **changes: object) -> Ledger:
    answer = {**answer_due(ORDERS_HERE), **changes}
    return check(ORDERS_HERE, effects, labels(), answer, KILLS)


def first(effects: Sequence[Effect], step: str) -> Effect:
    return next(effect for effect in effects if effect.step == step)


def again(effects: list[Effect], step: str, times: int = 1, **changes: Any) -> list[Effect]:
    """Give *effects* with one more of *step*."""
    return effects + [replace(first(effects, step), id=99, **changes)] * times


def test_the_check_holds_when_all_went_well() -> None:
    ledger = checked(done())

    assert ledger.problems == ()
    assert ledger.executions == len(ORDERS_HERE)
    assert {line.step: line.done for line in ledger.lines} == Counter(
        effect.step for effect in done()
    )
    assert not ledger.repeats


def test_every_way_for_an_order_to_end_is_known() -> None:
    assert [status_due(one) for one in ORDERS_HERE] == [
        "delivered",
        "delivered",
        "refused",
        "declined",
        "out of stock",
    ]


@pytest.mark.parametrize("step", ["charge", "reserve", "ask", "ship", "release", "refund", "mail"])
def test_a_lost_effect_is_found(step: str) -> None:
    effects = done()
    lost = first(effects, step)

    ledger = checked([effect for effect in effects if effect is not lost])

    assert any(problem.startswith("1 effects: lost: ") for problem in ledger.problems)
    assert [line.step for line in ledger.lines if line.lost] == [step]


@pytest.mark.parametrize("step", ["charge", "refund"])
def test_a_doubled_payment_is_found_even_when_it_is_the_same_attempt(step: str) -> None:
    ledger = checked(again(done(), step))

    assert any("at-most-once forbids" in problem for problem in ledger.problems)


@pytest.mark.parametrize("step", ["reserve", "ask", "ship", "release", "mail"])
def test_an_attempt_that_a_kill_cut_off_may_be_repeated(step: str) -> None:
    ledger = checked(again(done(), step))

    assert ledger.problems == ()
    assert ledger.repeats == {step: 1}


@pytest.mark.parametrize(
    "changes",
    [{"operation": "op-other"}, {"idempotency_key": "key-other"}],
    ids=lambda changes: next(iter(changes)),
)
def test_an_effect_doubled_by_something_else_than_a_cut_off_attempt_is_found(
    changes: dict[str, Any],
) -> None:
    ledger = checked(again(done(), "mail", **changes))

    assert any("done by different attempts" in problem for problem in ledger.problems)


def test_more_repeats_than_kills_are_found() -> None:
    ledger = checked(again(done(), "mail", times=KILLS + 1))

    assert any("done 4 times, with 2 kills" in problem for problem in ledger.problems)


def test_a_second_execution_of_an_order_is_found() -> None:
    ledger = checked(again(done(), "mail", execution="arn-other"))

    assert any("more than one execution: A1" in problem for problem in ledger.problems)


def test_an_effect_that_nobody_ordered_is_found() -> None:
    ledger = checked(again(done(), "ship", what="PIANO-1"))

    assert any("nobody ordered: ship A1 PIANO-1" in problem for problem in ledger.problems)


def test_a_missing_label_is_found() -> None:
    answer = answer_due(ORDERS_HERE)

    ledger = check(ORDERS_HERE, done(), labels() - {"A1-MUG-10.txt"}, answer, KILLS)

    assert ledger.problems == ("labels that are missing, or too many: A1-MUG-10.txt",)


@pytest.mark.parametrize("wrong", [{"delivered": 3}, {"revenue": "0.00"}], ids=str)
def test_a_wrong_answer_is_found(wrong: dict[str, object]) -> None:
    ledger = checked(done(), **wrong)

    assert any(problem.startswith("the answer is ") for problem in ledger.problems)


def test_the_shipped_orders_have_every_way_to_end_among_the_first_twenty() -> None:
    orders = read_orders(str(ORDERS))

    assert len(orders) == 300
    assert len({one.number for one in orders}) == 300
    assert {status_due(one) for one in orders[:20]} == {
        "delivered",
        "refused",
        "declined",
        "out of stock",
    }


def printed(ledger: Ledger) -> str:
    """Give what is printed, on one line."""
    out = StringIO()
    print_report(Console(file=out, width=100), ledger, Counter({True: 1, False: 2}), KILLS)
    return re.sub(r"\s+", " ", out.getvalue())


def test_the_report_says_what_was_repeated_and_what_was_not() -> None:
    text = printed(checked(again(again(done(), "ship"), "mail")))

    assert "✓ At-most-once steps, nothing repeated: 4 charges, 2 refunds." in text
    assert "✓ At-least-once steps, 2 effects repeated (1 ship, 1 mail). That is allowed" in text
    assert "Payments that a kill cut off: 3." in text
    assert "1 had gone through, 2 had not." in text
    assert "✗" not in text


def test_the_report_says_that_nothing_was_repeated() -> None:
    assert "nothing repeated either" in printed(checked(done()))


def test_the_report_of_a_check_that_does_not_hold_says_nothing_good() -> None:
    text = printed(checked(again(done(), "charge")))

    assert "✗ the check does not hold" in text
    assert "✓" not in text
