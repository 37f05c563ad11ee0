"""What an invocation leaves behind when it ends, or is cut off: nothing that goes on."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from durably import DurableContext, SyncDurableContext, durable_execution
from durably.clients.in_memory import InMemoryClient
from durably.drivers import kept_loop
from durably.errors import InvalidStateError
from durably.handler import DurableFunction, validate_durable_execution_event
from tests.unit.drivers.support import Backend, Messages, Pushing


def invoked(handler: Any) -> dict[str, Any]:
    client = InMemoryClient()
    return durable_execution(handler, client=client)(client.event())


async def start(function: DurableFunction, backend: Backend) -> asyncio.Task[Any]:
    invocation = validate_durable_execution_event(backend.memory.event())
    return asyncio.ensure_future(function.invoke(invocation, Pushing(backend)))


async def test_a_plain_function_that_is_cut_off_records_nothing_more() -> None:
    backend, entered, go_on = Backend(), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    unwound = threading.Event()

    def slow() -> None:
        loop.call_soon_threadsafe(entered.set)
        assert go_on.wait(8)

    def handler(event: Any, ctx: SyncDurableContext) -> None:
        try:
            ctx.step("slow", slow)
        finally:
            try:
                ctx.step("clean up", slow)
            finally:
                unwound.set()

    running = await start(durable_execution(handler), backend)
    await entered.wait()
    running.cancel()
    await asyncio.sleep(0)
    go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(unwound.wait, 8)
    assert backend.sent == ["START slow"]


def test_tasks_that_a_handler_leaves_behind_are_cancelled_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cancelled: list[str] = []
    kept: set[asyncio.Task[None]] = set()

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("for ever")
            raise

    async def handler(event: Any, ctx: DurableContext) -> int:
        kept.add(asyncio.create_task(for_ever(), name="left"))
        await asyncio.sleep(0)
        return 1

    with Messages.of("durably") as messages:
        output = invoked(handler)

    assert output["Status"] == "SUCCEEDED"
    assert cancelled == ["for ever"]
    (record,) = messages.records
    assert record.message == (
        "tasks were still running when the invocation ended, and are cancelled"
    )
    (name,) = record.tasks  # type: ignore[attr-defined]  # a field of ours
    assert name.startswith("left (")
    assert name.endswith("for_ever)")


def test_a_task_that_will_not_end_is_left_behind_with_its_loop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept_loop, "MAX_UNWIND_SECONDS", 0.01)
    loops: list[asyncio.AbstractEventLoop] = []
    kept: set[asyncio.Task[None]] = set()
    goes_on = True

    async def stubborn() -> None:
        while goes_on:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def handler(event: Any, ctx: DurableContext) -> None:
        loops.append(asyncio.get_running_loop())
        if len(loops) == 1:
            kept.add(asyncio.create_task(stubborn()))
            await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR, "durably"):
        for _ in range(3):
            assert invoked(handler)["Status"] == "SUCCEEDED"

    assert "left behind with their event loop" in caplog.text
    assert loops[0] is not loops[1]
    assert loops[1] is loops[2]
    goes_on = False
    for task in kept:
        task.cancel()
    loops[0].run_until_complete(asyncio.wait(kept))
    loops[0].close()


async def test_a_lambda_entry_called_inside_an_event_loop_says_so_and_harms_nothing() -> None:
    async def handler(event: Any, ctx: DurableContext) -> None: ...

    with pytest.raises(InvalidStateError, match="`invoke`"):
        invoked(handler)
