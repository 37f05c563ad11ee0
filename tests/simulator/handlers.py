"""Programs as durable functions of the public API, whose bodies report to the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from durably import DurableFunction
from tests.simulator.ledger import Ledger
from tests.simulator.programs import Program


def compile_programs(
    programs: Sequence[Program],
    ledger: Ledger,
    *,
    node: str = "n1",
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[DurableFunction]:
    """Make a durable function of each program, as *node* runs it.

    *pause* is what bodies of coroutines wait with; those of plain functions never do.
    """
    raise NotImplementedError
