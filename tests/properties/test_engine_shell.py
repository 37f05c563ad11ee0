"""A service whose store fails and whose worker dies at any moment still brings all to its end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from durably.clients.embedded import EmbeddedClient
from durably.engine.evolution import fold
from durably.engine.facts import decode_fact
from durably.engine.store import Change, Claim, VersionConflict
from durably.errors import ApiError, StoreError
from durably.stores.memory import MemoryStore
from durably.wire.invocation import InvocationInput, InvocationOutput, InvocationStatus
from durably.wire.operation import Operation, OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.shell import Bench, run, send
from tests.unit.engine.support import PENDING, callback, failed, invoke, step, succeeded, wait

SUCCEED = OperationAction.SUCCEED
FAULTY_SECONDS = 60.0


class Disk(MemoryStore):
    """What outlives a process."""

    async def close(self) -> None:
        return


class FaultyStore:
    """One process's way to the disk. It fails by chance, and for good once the process is dead.

    It fails before or after what it is asked was done, delays, and loses what nobody waits for.
    """

    def __init__(self, disk: Disk, chance: random.Random) -> None:
        self._disk = disk
        self.chance = chance
        self.is_faulty = True
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        if self.is_dead:
            raise StoreError("the process is dead")
        return getattr(self._disk, name)

    async def append(self, changes: Sequence[Change]) -> None:
        await self._hesitate()
        self._fail(changes)
        await self._disk.append(changes)
        await self._hesitate()
        self._fail(changes)

    def append_soon(self, change: Change) -> None:
        if self.is_dead:
            return
        if not self.is_faulty or self.chance.random() > 0.02:
            self._disk.append_soon(change)
        else:
            self._disk._refused[change.arn] = VersionConflict(change.arn)

    async def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        self._fail(())
        return await self._disk.claim(worker, functions, now, lease, limit)

    async def _hesitate(self) -> None:
        if self.is_faulty and self.chance.random() < 0.3:
            await asyncio.sleep(self.chance.uniform(0, 0.1))

    def _fail(self, changes: Sequence[Change]) -> None:
        if self.is_dead:
            raise StoreError("the process is dead")
        if self.is_faulty and self.chance.random() < 0.03:
            raise StoreError("by chance")
        if self.is_faulty and changes and self.chance.random() < 0.03:
            raise VersionConflict(changes[0].arn)


def known(given: InvocationInput) -> dict[str, Operation]:
    return {one.id: one for one in given.initial_execution_state.operations}


async def handler(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    """Three steps with a wait, an invoke and a callback between them; each waits for the last."""
    record = known(given)
    for place, kind in enumerate(("step", "wait", "step", "invoke", "callback", "step")):
        name = f"{kind}{place}"
        done = record.get(name)
        if kind == "step":
            if done is None:
                client.post(step(name))
            if done is None or done.status is OperationStatus.STARTED:
                await asyncio.sleep(0.01)
                await send(client, step(name, SUCCEED, payload=str(place)))
        elif done is None:
            asked = {"wait": wait(name, 2), "invoke": invoke(name, "g"), "callback": callback(name)}
            await send(client, asked[kind])
            return PENDING
        elif done.status is OperationStatus.STARTED:
            return PENDING
        elif done.status is not OperationStatus.SUCCEEDED:
            return failed()
    return succeeded("done")


async def child(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    if "w" not in known(given):
        await send(client, wait("w", 1))
    return succeeded("child") if _is_over(known(given).get("w")) else PENDING


def _is_over(waited: Operation | None) -> bool:
    return waited is not None and waited.status is OperationStatus.SUCCEEDED


class Process:
    """A service and its worker, that may end well or badly."""

    def __init__(self, disk: Disk, chance: random.Random) -> None:
        self.store = FaultyStore(disk, chance)
        store = cast("MemoryStore", self.store)
        self.bench = Bench({"f": handler, "g": child}, store=store)

    async def begin(self) -> None:
        await self.bench.service.open()
        self.dispatcher, self.work = self.bench.work()

    async def crash(self) -> None:
        self.store.is_dead = True
        self.work.cancel()
        await self.end(timedelta(0))

    async def end(self, grace: timedelta) -> None:
        await self.dispatcher.drain(grace)
        await asyncio.gather(self.work, return_exceptions=True)
        await self.bench.service._journals.close()


async def answer_callbacks(disk: Disk, process: Callable[[], Process], arns: Sequence[str]) -> None:
    """Answer every callback there is, again and again, as an outside system that retries would."""
    while True:
        for arn in arns:
            stored = await disk.find(arn)
            assert stored is not None
            for operation in fold(map(decode_fact, stored.facts)).operations:
                details = operation.callback_details
                if details is not None and operation.status is OperationStatus.STARTED:
                    assert details.callback_id is not None
                    with suppress(StoreError, ApiError):
                        service = process().bench.service
                        await service.succeed_callback(details.callback_id, "1")
        await asyncio.sleep(0.7)


async def live(chance: random.Random) -> None:
    disk = Disk()
    process = Process(disk, chance)
    await process.begin()
    arns = [await _start(process, str(n)) for n in range(3)]
    answering = asyncio.ensure_future(answer_callbacks(disk, lambda: process, arns))
    while asyncio.get_running_loop().time() < FAULTY_SECONDS:
        await asyncio.sleep(chance.uniform(0, 10))
        fate = chance.random()
        if fate < 0.3:
            await process.end(timedelta(seconds=chance.uniform(0, 1)))
        elif fate < 0.6:
            await process.crash()
        else:
            continue
        process = Process(disk, chance)
        await process.begin()
    process.store.is_faulty = False

    for arn in arns:
        async with asyncio.timeout(300):
            found = await process.bench.service.wait_closed(arn)
        assert found.status.value == InvocationStatus.SUCCEEDED.value, found
        _check(await process.bench.story(arn))
    answering.cancel()
    await process.end(timedelta(0))
    assert not process.bench.service._journals._tips


async def _start(process: Process, name: str) -> str:
    while True:
        with suppress(StoreError, ApiError):
            return await process.bench.service.start("f", "1", name=name)


def _check(story: list[str]) -> None:
    counts = Counter(story)
    once = ("WaitSucceeded", "ChainedInvokeSucceeded", "CallbackSucceeded", "ExecutionSucceeded")
    assert [counts[event] for event in once] == [1, 1, 1, 1]
    assert counts["StepSucceeded"] == 3
    assert story[-2:] == ["InvocationCompleted", "ExecutionSucceeded"]


@given(st.integers(0, 2**32))
def test_when_the_faults_stop_every_execution_comes_to_its_end(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed, not a secret

    run(lambda: live(chance))
