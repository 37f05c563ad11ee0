"""Whoever said something may wait for it no more: what becomes of it is found out all the same."""

from __future__ import annotations

import asyncio

import pytest

from durably.engine.store import VersionConflict
from tests.unit.engine.shell import Bench, GatedStore, SteppedStore, run
from tests.unit.engine.support import context, step
from tests.unit.engine.test_overtaken import _until
from tests.unit.engine.test_shared import SHARED


class SharedSteppedStore(SteppedStore):
    """Opened by several: the claims of the others stand."""

    async def open(self) -> None:
        """Leave everything as it is."""


# At the end


def test_nothing_runs_in_the_background_after_the_close() -> None:
    async def main() -> None:
        store = SharedSteppedStore()
        async with Bench(store=store, policy=SHARED) as there:
            async with Bench(store=store, policy=SHARED) as here:
                arn, session = await here.running(step())
                await there.service.pause(arn)
                session.post(context())
                gates = store.gates = []
                here.service._journals.note_version(arn, 1000)
                await _until(lambda: len(gates) == 1)  # what was posted is being said again

            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)


@pytest.mark.parametrize("is_closed", [False, True])
def test_whoever_waits_for_the_writes_of_one_who_is_cut_off_does_not_wait_for_ever(
    is_closed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def main() -> None:
        store = GatedStore()
        async with Bench(store=store) as bench:
            arn, session = await bench.running(step())
            journals = bench.service._journals
            tip = await journals.pin(arn)
            store.gate.clear()
            saying = asyncio.create_task(session.checkpoint((step("t"),)))
            waiting = asyncio.create_task(tip.settle())
            await asyncio.sleep(1)
            if is_closed:
                await journals.close()
            saying.cancel()
            await asyncio.sleep(1)
            await journals.close()

            with pytest.raises(VersionConflict):
                await waiting
            store.gate.set()

    run(main)
