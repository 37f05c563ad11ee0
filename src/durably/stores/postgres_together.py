"""Group reads, as the writer groups writes: one question for all who ask at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from psycopg.errors import QueryCanceled

from durably.errors import StoreError, StoreUnavailableError

V = TypeVar("V")

_MAX_CANCELLED = 2


class Together(Generic[V]):
    """Looks up many keys at once: what is asked while a question is under way makes the next one.

    So whoever asks is told of nothing older than his question.

    Args:
        ask: gives what there is of some keys.
        limit: how many keys one question has at most.
    """

    def __init__(
        self, ask: Callable[[Sequence[str]], Awaitable[Mapping[str, V]]], limit: int
    ) -> None:
        self._ask = ask
        self._limit = limit
        self._wanted: dict[str, asyncio.Future[V | None]] = {}
        self._work: asyncio.Task[None] | None = None

    async def find(self, key: str) -> V | None:
        """Give what there is of a key."""
        return (await self.find_all((key,))).get(key)

    async def find_all(self, keys: Iterable[str]) -> Mapping[str, V]:
        """Give what there is of some keys; those of which there is nothing are left out."""
        loop = asyncio.get_running_loop()
        waiting: dict[str, asyncio.Future[V | None]] = {}
        for key in keys:
            future = self._wanted.get(key)
            if future is None:
                future = self._wanted[key] = loop.create_future()
                future.add_done_callback(_look_at_failure)
            waiting[key] = future
        if self._work is None and waiting:
            self._work = loop.create_task(self._ask_all(), name="durably reads")
        found: dict[str, V] = {}
        for key, future in waiting.items():
            value = await asyncio.shield(future)  # others may wait for it, too
            if value is not None:
                found[key] = value
        return found

    async def close(self) -> None:
        """Return when everybody is answered."""
        if self._work is not None:
            await asyncio.gather(self._work, return_exceptions=True)

    async def _ask_all(self) -> None:
        try:
            while self._wanted:
                batch = dict(islice(self._wanted.items(), self._limit))
                for key in batch:
                    del self._wanted[key]
                await self._answer(batch)
        finally:
            self._work = None

    async def _answer(self, batch: Mapping[str, asyncio.Future[V | None]]) -> None:
        try:
            found = await self._ask(tuple(batch))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            if len(batch) > 1 and _may_be_of_one(error):
                await self._answer_apart(batch)
                return
            for future in batch.values():
                future.set_exception(error)
        else:
            for key, future in batch.items():
                future.set_result(found.get(key))

    async def _answer_apart(self, batch: Mapping[str, asyncio.Future[V | None]]) -> None:
        """Ask for one after the other. Where it takes too long for any, it is given up for all."""
        cancelled: list[BaseException] = []
        for key, future in batch.items():
            if len(cancelled) == _MAX_CANCELLED:
                future.set_exception(cancelled[-1])
                continue
            await self._answer({key: future})
            error = future.exception()
            if error is not None and isinstance(error.__cause__, QueryCanceled):
                cancelled.append(error)


def _may_be_of_one(error: Exception) -> bool:
    """Whether one key may be to blame: what is damaged, or too much. Not where nobody answers."""
    is_answered = not isinstance(error, StoreUnavailableError)
    return isinstance(error, StoreError) and (
        is_answered or isinstance(error.__cause__, QueryCanceled)
    )


def _look_at_failure(future: asyncio.Future[V | None]) -> None:
    """See it, lest a failure that nobody waits for any more is reported as forgotten."""
    if not future.cancelled():
        future.exception()
