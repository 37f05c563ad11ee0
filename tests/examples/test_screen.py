"""The demo shows how far it is, from the shop's books alone."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from examples.order_fulfilment.books import Books, Slot
from examples.order_fulfilment.ledger import effects_due
from examples.order_fulfilment.make_orders import ORDERS
from examples.order_fulfilment.progress import Progress
from examples.order_fulfilment.screen import screen_for
from examples.order_fulfilment.shop import Shop, read_orders

FIRST, SECOND, *_ = read_orders(str(ORDERS))
RUNS = Text("worker 7 runs")
WRITE = """
INSERT INTO effects (step, order_number, what, execution, operation, attempt, idempotency_key)
VALUES (?, ?, ?, 'arn', 'op', 1, 'key')
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(str(tmp_path))
    made.open()
    return made


@pytest.fixture
def progress(tmp_path: Path, shop: Shop) -> Progress:
    return Progress([FIRST, SECOND], Books(tmp_path))


def write(shop: Shop, *slots: Slot) -> None:
    with shop.books() as books:
        books.executemany(WRITE, slots)


def test_nothing_is_done_at_first(progress: Progress) -> None:
    assert not progress.look()

    assert (progress.finished, progress.open_orders, progress.share) == (0, 0, 0)


def test_an_order_is_where_its_last_effect_says(progress: Progress, shop: Shop) -> None:
    write(shop, Slot("charge", FIRST.number, "1"), Slot("charge", SECOND.number, "1"))
    write(shop, Slot("reserve", SECOND.number))

    assert progress.look()

    assert progress.places == {"at the warehouse": 1, "cooling off": 1}
    assert progress.open_orders == 2


def test_an_effect_counts_once_however_often_it_is_there(progress: Progress, shop: Shop) -> None:
    write(shop, *[Slot("reserve", FIRST.number)] * 2)

    progress.look()

    assert progress.effects == 1
    assert [is_repeat for _, is_repeat in progress.feed] == [False, True]


def test_an_order_is_half_way_until_its_customer_is_told(progress: Progress, shop: Shop) -> None:
    write(shop, *effects_due(SECOND))
    write(shop, Slot("charge", FIRST.number, "1"))

    progress.look()

    assert (progress.finished, progress.open_orders) == (1, 1)


def test_a_terminal_shows_bars_places_and_what_was_said(progress: Progress, shop: Shop) -> None:
    write(shop, *[Slot("reserve", FIRST.number)] * 2)
    progress.look()
    console = Console(file=(out := StringIO()), force_terminal=True, width=80, height=24)

    with screen_for(console, "two orders") as screen:
        screen.say("SIGKILL at 50%", "bold red")
        screen.show(progress, RUNS)

    text = Text.from_ansi(out.getvalue()).plain
    for shown in ("two orders", "worker 7 runs", "0/2", "cooling off", "again", "SIGKILL at 50%"):
        assert shown in text


def test_a_pipe_gets_lines(progress: Progress) -> None:
    console = Console(file=(out := StringIO()), width=80)

    with screen_for(console, "two orders") as screen:
        screen.show(progress, RUNS)
        screen.show(progress, RUNS)
        screen.say("SIGKILL at 50%")

    lines = [line.partition(" s  ")[2] for line in out.getvalue().splitlines()]
    assert lines == [
        "two orders",
        "0/2 orders, 0 half way, 0/7 effects, worker 7 runs",
        "SIGKILL at 50%",
    ]
