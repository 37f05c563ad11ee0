"""What is due and cannot be claimed, since somebody has locked it, keeps no worker busy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from durably.clients.embedded import EmbeddedClient
from durably.engine.store import Claim
from durably.wire.invocation import InvocationInput, InvocationOutput
from tests.unit.engine.shell import Bench, FailingStore, run
from tests.unit.engine.support import succeeded

LOCKED_SECONDS = 60.0


class LockedStore(FailingStore):
    """Has a row that is locked for a minute."""

    looks = 0

    async def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        self.looks += 1
        due = await self.next_wake_at(functions)
        if due is not None and now < due + timedelta(seconds=LOCKED_SECONDS):
            return ()
        return await super().claim(worker, functions, now, lease, limit)


async def at_once(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    return succeeded("1")


def test_what_is_locked_is_looked_at_ever_more_rarely_and_run_in_the_end() -> None:
    async def main() -> None:
        store = LockedStore()
        async with Bench({"f": at_once}, store=store) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()

            found = await bench.service.wait_closed(arn)

            assert found.result == "1"
            assert bench.clock.monotonic() >= LOCKED_SECONDS
            assert store.looks < 40
            await dispatcher.drain(timedelta(0))
            await work

    run(main)
