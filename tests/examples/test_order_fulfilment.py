"""Orders are fulfilled in both flavours; a payment that a crash cuts off is looked up."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import pytest

from durably import Engine
from durably.testing import TestEngine
from examples.order_fulfilment.books import Books
from examples.order_fulfilment.demo import main, parse
from examples.order_fulfilment.fulfilment import Job, Task
from examples.order_fulfilment.ledger import check
from examples.order_fulfilment.make_orders import ORDERS
from examples.order_fulfilment.manager import approves, durably
from examples.order_fulfilment.shop import Item, Order, Shop, read_orders

ROOT = Path(__file__).parents[2]
FLAVOURS = pytest.mark.parametrize("flavour", ["", "_sync"], ids=["async def", "def"])


def shortened(folder: Path, count: int) -> Path:
    """Write the first *count* orders."""
    lines = ORDERS.read_text().splitlines(keepends=True)
    path = folder / "orders.csv"
    path.write_text("".join(lines[: count + 1]))
    return path


def finished(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run *command* in *folder*, where it finds the examples."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(  # noqa: S603 - our own command
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


async def answer_all(engine: Engine, books: Books) -> None:
    """Be the manager."""
    while True:
        await asyncio.sleep(0.1)
        for note in books.notes():
            if note.verdict is None:
                is_approved = approves(Decimal(note.amount))
                await engine.callback_succeed(note.callback_id, is_approved)
                books.answer(note, "approved" if is_approved else "refused")


@FLAVOURS
@pytest.mark.timeout(30)
async def test_orders_are_fulfilled_and_nothing_is_repeated_when_nothing_is_killed(
    flavour: str, tmp_path: Path
) -> None:
    module = import_module(f"examples.order_fulfilment.fulfilment{flavour}")
    path, shop = shortened(tmp_path, 20), Shop(str(tmp_path))
    shop.open()
    books = Books(tmp_path)
    async with Engine("memory:", functions=[module.fulfil_orders, module.fulfil_order]) as engine:
        manager = asyncio.create_task(answer_all(engine, books))
        execution = await engine.start(module.fulfil_orders, Job(str(path), shop))

        answer = await execution.result(timeout=25)
        manager.cancel()

    ledger = check(read_orders(str(path)), books.effects(), books.labels(), answer, kills=0)
    assert ledger.problems == ()
    assert not ledger.repeats


@FLAVOURS
async def test_an_order_comes_to_the_same_after_a_crash_anywhere(flavour: str) -> None:
    module = import_module(f"examples.order_fulfilment.fulfilment{flavour}")
    items = (Item("TEA", 1), Item("BULKY-1", 2))
    order = Order("A1", "Ada", "tok_1", items, Decimal(1000))

    async with TestEngine([module.fulfil_order]) as t:

        def charge(kind: str, order: Order, key: str) -> str:
            assert not t.effects[kind]
            t.effect(kind, key)
            return "receipt-1"

        t.fake_step("charge", charge)
        t.fake_step("look up charge", lambda _: "receipt-1" if t.effects["charge"] else None)
        t.fake_step("reserve")
        t.fake_step("approval")
        t.answer_callbacks("approval", True, after=60)  # noqa: FBT003 - the answer
        t.fake_step("label", lambda order, item: item.sku)
        t.fake_step("delivery", returns="delivered")
        t.fake_step("mail")
        await t.crash_everywhere(module.fulfil_order, Task(order, Shop("nowhere")), mode="all")

        assert t.effects == {"charge": 1}


CRASHING = """
import os, signal
from pathlib import Path
from examples.order_fulfilment import shop
from examples.order_fulfilment.fulfilment{flavour} import fulfil_order

travel = shop._travel
travelled = 0

def travel_until_killed():
    global travelled
    travelled += 1
    if travelled == {fatal} and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    travel()

shop._travel = travel_until_killed
"""


@pytest.mark.process
@pytest.mark.timeout(60)
@FLAVOURS
@pytest.mark.parametrize(
    ("fatal", "inquiries"),
    [(1, {False: 1}), (2, {True: 1})],
    ids=["before the charge", "after the charge"],
)
def test_a_charge_that_a_kill_cut_off_is_looked_up_and_made_exactly_once(
    flavour: str, fatal: int, inquiries: dict[bool, int], tmp_path: Path
) -> None:
    Shop(str(tmp_path)).open()
    (tmp_path / "crashing.py").write_text(CRASHING.format(flavour=flavour, fatal=fatal))
    order = {
        "number": "A1",
        "customer": "Ada",
        "card": "tok_1",
        "items": [{"sku": "PIANO-88", "quantity": 1}],
        "total": "449.00",
    }
    task = json.dumps({"order": order, "shop": {"folder": str(tmp_path)}})
    command = [durably(), "run", "crashing.py:fulfil_order", "--name", "A1", "--input", task]

    ends = [finished(command, tmp_path) for _ in range(2)]

    assert ends[0].returncode == -9
    assert ends[1].returncode == 0, ends[1].stderr
    assert json.loads(ends[1].stdout)["status"] == "out of stock"
    books = Books(tmp_path)
    steps = Counter(effect.step for effect in books.effects())
    assert steps == {"charge": 1, "refund": 1, "mail": 1}
    assert books.inquiries() == inquiries


@pytest.mark.process
@pytest.mark.timeout(90)
@pytest.mark.parametrize("flavour", [[], ["--sync"]], ids=["async def", "def"])
def test_the_demo_is_killed_and_its_check_holds(flavour: list[str], tmp_path: Path) -> None:
    sizes = ["--orders", "20", "--kills", "1", "--seed", "1"]
    command = [sys.executable, "-m", "examples.order_fulfilment.demo", *sizes, *flavour]

    ended = finished([*command, "--folder", str(tmp_path / "demo")], ROOT)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "SIGKILL at " in ended.stdout
    assert "At-most-once steps, nothing repeated" in ended.stdout
    assert "✗" not in ended.stdout


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(SystemExit, match="not the demo's"):
        main(["--folder", str(tmp_path)])

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_demo_chooses_a_seed_and_says_which() -> None:
    assert parse(["--seed", "7"]).seed == 7
    assert 0 <= parse([]).seed < 10_000


@pytest.mark.parametrize("wrong", [["--orders", "0"], ["--kills", "-1"]], ids=" ".join)
def test_the_demo_refuses_what_makes_no_sense(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(wrong)
