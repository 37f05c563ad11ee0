"""As `test_crashes`, on a real SQLite file: everything in memory is dropped at some write.

What was acknowledged is there when the file is opened again (P2), and the execution goes on by
itself (P14).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durably import durable_execution
from durably.clients.embedded import EmbeddedClient
from durably.engine.commands import Target
from durably.engine.dispatcher import Dispatcher
from durably.engine.invokers import InProcessInvoker
from durably.engine.policy import DispatcherPolicy
from durably.engine.service import Service
from durably.engine.store import Change
from durably.errors import StoreUnavailableError
from durably.handler import DurableFunction
from durably.seams import RandomIds
from durably.stores.sqlite import SqliteStore
from durably.testing.clock import ManualClock
from durably.wire.operation import OperationStatus, OperationType
from tests.properties.programs import PROGRAMS, Effects, Node, as_async, as_sync, expected

MAX_ROUNDS = 3_000
# A lease that no clock of these tests outlives: what a process held is void when it is gone.
FAST = DispatcherPolicy(lease=timedelta(days=36_500), poll_interval=timedelta(milliseconds=2))


class PowerCut:
    """Lets so many appends through, applies or loses the next one, and then refuses everything."""

    def __init__(self, appends: int, *, is_applied: bool) -> None:
        self.left = appends
        self.is_applied = is_applied
        self.happened = asyncio.Event()


class CutStore(SqliteStore):
    """A SQLite store whose process dies at some append."""

    def __init__(self, path: Path, cut: PowerCut | None) -> None:
        super().__init__(path)
        self._cut = cut

    async def append(self, changes: Sequence[Change]) -> None:
        if self._cut is None:
            return await super().append(changes)
        if self._cut.happened.is_set():
            raise StoreUnavailableError("the process is dead")
        self._cut.left -= 1
        if self._cut.left > 0:
            return await super().append(changes)
        if self._cut.is_applied:
            await super().append(changes)
        self._cut.happened.set()
        raise StoreUnavailableError("the process is dead")

    def append_soon(self, change: Change) -> None:
        if self._cut is None or not self._cut.happened.is_set():
            super().append_soon(change)


@durable_execution
async def echo(event: Any, _ctx: Any) -> Any:
    return event


async def one_life(
    path: Path, function: DurableFunction, clock: ManualClock, cut: PowerCut | None
) -> Any:
    """Run a process on the file until the execution has ended, or the process is cut off."""
    functions = {"program": function, "echo": echo}
    store = CutStore(path, cut)
    service = Service(store, clock, RandomIds(), lambda name: Target(name, "$LATEST"))
    await service.open()
    invoker = InProcessInvoker[EmbeddedClient](functions, EmbeddedClient)
    dispatcher = Dispatcher(service, invoker, lambda: list(functions), "w", FAST)
    worker = asyncio.create_task(dispatcher.run())
    try:
        with suppress(StoreUnavailableError):
            arn = await service.start("program", "{}", name="only")
            for _ in range(MAX_ROUNDS):
                await asyncio.wait([worker], timeout=0.002)
                if cut is not None and cut.happened.is_set():
                    break
                found = await service.get(arn)
                if found.is_closed:
                    return found
                if dispatcher.running == 0:
                    await _let_the_world_go_on(service, arn, clock)
        return None
    finally:
        await dispatcher.drain(timedelta(0))
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        with suppress(StoreUnavailableError):
            await service.close()


async def _let_the_world_go_on(service: Service, arn: str, clock: ManualClock) -> None:
    clock.advance(3600)
    for operation in await service.operations(arn):
        details = operation.callback_details
        is_open = operation.status is OperationStatus.STARTED
        if operation.type is OperationType.CALLBACK and is_open and details is not None:
            await service.succeed_callback(details.callback_id or "", "answer")


async def all_lives(
    path: Path, function: DurableFunction, cuts: list[tuple[int, bool]]
) -> tuple[Any, int]:
    clock = ManualClock()
    for appends, is_applied in cuts:
        cut = PowerCut(appends, is_applied=is_applied)
        found = await one_life(path, function, clock, cut)
        if found is not None:
            return found, 0
    return await one_life(path, function, clock, None), len(cuts)


@pytest.mark.parametrize("compile_program", [as_async, as_sync])
@settings(max_examples=25)
@given(
    nodes=PROGRAMS,
    cuts=st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=3),
)
@pytest.mark.timeout(120)
def test_an_execution_survives_the_loss_of_its_process_at_any_write(
    compile_program: Any, nodes: tuple[Node, ...], cuts: list[tuple[int, bool]]
) -> None:
    effects = Effects()
    with tempfile.TemporaryDirectory() as folder:
        function = compile_program(nodes, effects)

        found, crashes = asyncio.run(all_lives(Path(folder, "durably.db"), function, cuts))

    assert found is not None, "it never ended"
    assert json.loads(found.result) == expected(nodes)
    assert max(effects.repeats().values(), default=1) <= 1 + max(crashes, len(cuts))
