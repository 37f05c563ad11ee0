"""Records the histories of this folder anew: `python -m tests.histories.record [NAME…]`.

What is already there is left alone, so that every history stays what the version that recorded it
has made. To record one again, remove it first.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from durably import DurableFunction, Engine, Execution, History
from durably.engine.views import Standing
from durably.wire.operation import OperationStatus, OperationType
from tests.histories import functions

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Where code is on the machine that records: it stands in the frames of errors.
_PLACES = (f"{ROOT}/", f"{sys.prefix}/", f"{sys.base_prefix}/")
_ORDER = functions.Order("order-7", ["tea", "cup"], Decimal("12.50"), date(2026, 12, 24))
_LARGE = 120

HISTORIES: dict[str, tuple[DurableFunction, Any]] = {
    "everything": (functions.everything, _ORDER),
    "everything_blocking": (functions.everything_blocking, _ORDER),
    "everything_masked": (functions.everything, _ORDER),
    "large_batch": (functions.large_batch, _LARGE),
    "large_batch_blocking": (functions.large_batch_blocking, _LARGE),
    "interrupted": (functions.interrupted, {}),
    "failed": (functions.failed, {}),
    "under_way": (functions.under_way, {}),
}
"""Each with the function that it is of, and the input."""


async def record(name: str, url: str) -> History:
    """Run the execution called *name*, and give its history."""
    function, payload = HISTORIES[name]
    known = [one for one in vars(functions).values() if isinstance(one, DurableFunction)]
    if function is functions.interrupted:
        async with Engine(url, known, grace=0) as engine:
            await engine.start(function, payload, name=name)
            await asyncio.to_thread(functions.AT_GATE.wait)
    async with Engine(url, known, grace=0) as engine:
        run = await engine.start(function, payload, name=name)
        await _finish(engine, run)
        return await engine.export(run)


async def _finish(engine: Engine, run: Execution) -> None:
    """Answer callbacks until the execution has ended, or waits for something else."""
    while not (await run.describe()).is_closed:
        await asyncio.sleep(0.05)
        if run.function_name == "under_way":
            if (await engine.why(run)).standing is Standing.WAITING:
                return
            continue
        for one in await engine.service.operations(run.arn):
            callback = one.callback_details
            if one.type is OperationType.CALLBACK and one.status is OperationStatus.STARTED:
                assert callback is not None, "it is one"
                await engine.callback_succeed(callback.callback_id or "", {"answer": one.name})


async def main(*names: str) -> None:
    """Record the histories of these *names*, or all that are not there."""
    for name in names or HISTORIES:
        path = HERE / f"{name}.jsonl"
        if path.exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            history = await record(name, f"sqlite:{folder}/durably.db")
        history = history.masked() if name.endswith("masked") else history
        text = history.text
        for place in _PLACES:
            text = text.replace(place, "")
        path.write_text(text)
        print(f"{path.name}: {history.text.count(chr(10))} lines")  # noqa: T201 - a program


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
