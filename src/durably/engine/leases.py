"""Keeps the claims of what a worker runs: their leases are extended until it has ended."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from datetime import timedelta

from durably.engine.service import Service
from durably.engine.store import Claim
from durably.wire.arns import title_of

log = logging.getLogger("durably.engine")


class Leases:
    """Those of one worker.

    Args:
        service: whose executions.
        worker: who holds them.
        lease: how long they last.
        running: what runs now, each with its claim.
    """

    def __init__(
        self,
        service: Service,
        worker: str,
        lease: timedelta,
        running: Mapping[asyncio.Task[None], Claim],
    ) -> None:
        self._service = service
        self._worker = worker
        self._lease = lease
        self._running = running
        self._extended_at = service.clock.monotonic()
        # Whose claim was not there to be extended, and since when; `inf` once that was told.
        self._missing: dict[asyncio.Task[None], float] = {}

    async def extend_if_late(self) -> None:
        """Extend before claiming, lest this worker takes over what runs here (R9).

        Whoever keeps the leases is late when user code has kept the event loop, or the machine has
        slept.
        """
        late = self._service.clock.monotonic() - self._extended_at
        if late > self._lease.total_seconds() / 3:
            await self.extend()

    async def extend(self) -> None:
        """Let what runs now have its claim for a whole lease more.

        Raises:
            StoreError: the store failed, and nothing is known of the claims.
        """
        asked_at = self._service.clock.monotonic()
        tasks = {claim.arn: task for task, claim in self._running.items()}
        epochs = [(claim.arn, claim.epoch) for claim in self._running.values()]
        until = self._service.clock.now() + self._lease
        gone = await self._service.store.extend(self._worker, epochs, until) if epochs else ()
        self._extended_at = asked_at
        self._note_missing({tasks[arn]: arn for arn in gone}, asked_at)

    def _note_missing(self, missing: Mapping[asyncio.Task[None], str], now: float) -> None:
        """Call a claim lost that has been missing for a while.

        At first that may mean that its invocation ends just now: the claim is given up, and nobody
        here has heard yet. Two looks may be one moment, so it is time that counts.
        """
        before, self._missing = self._missing, {}
        for task, arn in missing.items():
            since = before.get(task, now)
            if now - since > self._lease.total_seconds() / 6 and task in self._running:
                since = math.inf
                log.warning("a claim was lost: %s", title_of(arn), extra={"executionArn": arn})
            self._missing[task] = since
