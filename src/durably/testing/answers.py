"""Whoever answers callbacks in a test, when it has said how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from heapq import heappop, heappush
from itertools import count

from durably.app.operations import label_of
from durably.engine.service import Service
from durably.errors import ApiError
from durably.testing.fakes import Answer, Fakes
from durably.testing.store import TestStore


class Answering:
    """Answers callbacks as the test's fakes say, each at its time.

    Args:
        store: where they become known.
        fakes: what is answered.

    Attributes:
        service: whose callbacks.
    """

    service: Service

    def __init__(self, store: TestStore, fakes: Fakes) -> None:
        self._store = store
        self._fakes = fakes
        self._due: list[tuple[datetime, int, str, Answer | None]] = []
        self._numbers = count()

    @property
    def next_due(self) -> datetime | None:
        """When somebody answers next."""
        return self._due[0][0] if self._due else None

    def unmet(self) -> Iterator[str]:
        """Say which answers nobody has waited for: one that is misspelt is missing elsewhere."""
        return self._fakes.unmet_answers()

    async def do_due(self) -> bool:
        """Answer what is due; say whether anything was."""
        asked, self._store.asked = self._store.asked, []
        for arn, callback_id in asked:
            await self._plan(arn, callback_id)
        now, is_done = self.service.clock.now(), False
        while self._due and self._due[0][0] <= now:
            _, _, callback_id, answer = heappop(self._due)
            is_done = await self._give(callback_id, answer) or is_done
        return is_done

    async def _plan(self, arn: str, callback_id: str) -> None:
        name = await self._name_of(arn, callback_id)
        self._fakes.waited_for[name] = None
        answer = self._fakes.answers.get(name)
        if answer is None:
            return
        answer.is_met = True
        now = self.service.clock.now()
        end = now + answer.after
        if answer.heartbeat_interval:
            beat = now + answer.heartbeat_interval
            while beat < end:
                heappush(self._due, (beat, next(self._numbers), callback_id, None))
                beat += answer.heartbeat_interval
        heappush(self._due, (end, next(self._numbers), callback_id, answer))

    async def _name_of(self, arn: str, callback_id: str) -> str:
        for operation in await self.service.operations(arn):
            details = operation.callback_details
            if details is not None and details.callback_id == callback_id:
                return label_of(operation)
        return ""

    async def _give(self, callback_id: str, answer: Answer | None) -> bool:
        """Send *answer*, or a heartbeat, unless the callback is over; say whether it was sent."""
        with suppress(ApiError):
            if answer is None:
                await self.service.heartbeat_callback(callback_id)
            elif answer.error is not None:
                await self.service.fail_callback(callback_id, answer.error)
            else:
                await self.service.succeed_callback(callback_id, answer.payload)
            return True
        return False
