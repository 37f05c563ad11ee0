"""Write `orders.csv` anew: `python -m examples.order_fulfilment.make_orders`."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path
from random import Random

from examples.order_fulfilment.shop import DECLINED_CARD, DISCONTINUED

ORDERS = Path(__file__).with_name("orders.csv")
PRICES = {
    "LAMP-02": "49.90", "LAMP-07": "89.00", "CHAIR-01": "119.00", "CHAIR-04": "159.50",
    "DESK-11": "349.00", "SHELF-03": "79.95", "MUG-10": "8.50", "MUG-11": "9.50",
    "PLANT-05": "24.00", "FRAME-06": "17.25", "CLOCK-09": "64.00", "RUG-12": "139.00",
    "BULKY-SOFA": "1290.00", "BULKY-BED": "890.00", "BULKY-WARDROBE": "1640.00",
    DISCONTINUED: "449.00",
}  # fmt: skip
GIVEN = ("Ada", "Alan", "Barbara", "Bjarne", "Dennis", "Edsger", "Frances", "Grace", "Guido",
         "Hedy", "Ivan", "Jean", "John", "Katherine", "Ken", "Leslie", "Margaret", "Niklaus",
         "Radia", "Tony")  # fmt: skip
FAMILY = ("Adeyemi", "Bauer", "Chen", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ito",
          "Jansen", "Kowalski", "Lindqvist", "Moreau", "Novák", "O'Brien", "Petrov", "Rossi",
          "Silva", "Tanaka", "Weber")  # fmt: skip


def main(count: int = 300, seed: int = 97) -> None:
    """Write *count* orders; the same for the same *seed*."""
    random = Random(seed)  # noqa: S311 - no secret
    with ORDERS.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("order", "customer", "card", "items", "total"))
        out.writerows(_order(f"A{1001 + index}", random) for index in range(count))
    print(f"{ORDERS}: {count} orders")


def _order(number: str, random: Random) -> tuple[str, str, str, str, str]:
    usual = [sku for sku in PRICES if not sku.startswith("BULKY") and sku != DISCONTINUED]
    bulky = [sku for sku in PRICES if sku.startswith("BULKY")]
    skus = random.sample(usual, random.choices((1, 2, 3, 4), (5, 4, 2, 1))[0])
    chance = random.random()
    if chance < 0.10:  # noqa: PLR2004 - one in ten is furniture, and most of that is large
        skus[0] = random.choice(bulky)
    elif chance < 0.14:  # noqa: PLR2004 - and one in 25 wants what is not made any more
        skus[-1] = DISCONTINUED
    lines = [(sku, 1 if sku in bulky else random.choices((1, 2, 3), (7, 2, 1))[0]) for sku in skus]
    total = sum((Decimal(PRICES[sku]) * quantity for sku, quantity in lines), Decimal(0))
    customer = f"{random.choice(GIVEN)} {random.choice(FAMILY)}"
    is_declined = random.random() < 0.05  # noqa: PLR2004 - one in twenty
    card = DECLINED_CARD if is_declined else f"tok_{random.getrandbits(32):08x}"
    return number, customer, card, "; ".join(f"{n} x {sku}" for sku, n in lines), f"{total:.2f}"


if __name__ == "__main__":
    main()
