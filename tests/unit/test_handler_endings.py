"""What an invocation leaves behind when it ends, or is cut off: nothing that goes on."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from durably import DurableContext, SyncDurableContext, durable_execution
from durably.clients.in_memory import ARN, InMemoryClient
from durably.drivers import kept_loop
from durably.errors import InvalidStateError
from durably.handler import DurableFunction, validate_durable_execution_event
from durably.wire.api import CheckpointRequest
from durably.wire.arns import title_of
from tests.unit.drivers.support import Backend, Blocking, Messages, Pushing


def invoked(handler: Callable[..., Any]) -> dict[str, Any]:
    client = InMemoryClient()
    return durable_execution(handler, client=client)(client.event())


async def start(
    function: DurableFunction, backend: Backend, client: Callable[[Backend], Any] = Pushing
) -> asyncio.Task[Any]:
    invocation = validate_durable_execution_event(backend.memory.event())
    return asyncio.ensure_future(function.invoke(invocation, client(backend)))


def join_threads() -> None:
    """Wait for all that an invocation has begun."""
    for thread in threading.enumerate():
        if thread.name.startswith("durably"):
            thread.join(8)


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


class Diverging:
    """A handler that asks for something else once it *is changed*, when a request is in flight."""

    def __init__(self) -> None:
        self.is_changed = threading.Event()
        self.in_flight = threading.Event()
        self.go_on = threading.Event()
        self.diverged = threading.Event()

    def __call__(self, event: Any, ctx: SyncDurableContext) -> None:
        ctx.parallel("p", [self.differ, self.send])

    def differ(self, ctx: SyncDurableContext) -> None:
        if not self.is_changed.is_set():
            ctx.step("s", int)
            ctx.wait("w", 1000)
        assert self.in_flight.wait(8)
        try:
            ctx.step("changed", int)
        finally:
            self.diverged.set()

    def send(self, ctx: SyncDurableContext) -> None:
        ctx.wait("w", 100)
        ctx.step("new", int)

    def hold(self, request: CheckpointRequest) -> None:
        self.in_flight.set()
        assert self.go_on.wait(8)


async def test_one_that_is_cut_off_while_its_end_is_waited_for_sends_nothing_more() -> None:
    backend, code = Backend(), Diverging()
    function = durable_execution(code.__call__)
    await (await start(function, backend, Blocking))
    backend.clock.advance(100)
    before = len(backend.sent)
    code.is_changed.set()
    backend.before = code.hold

    running = await start(function, backend, Blocking)
    assert await asyncio.to_thread(code.diverged.wait, 8)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    code.go_on.set()
    await asyncio.to_thread(join_threads)
    assert backend.sent[before:] == ["START new"]


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
    said = "tasks of {} were still running when its invocation ended, and are cancelled: {}"
    (name,) = record.tasks  # type: ignore[attr-defined]  # a field of ours
    assert record.message == said.format(title_of(ARN), name)
    assert name.startswith("left (")
    assert name.endswith("for_ever)")


@pytest.mark.parametrize("is_made_by", ["a task", "a call"])
def test_a_task_with_a_context_of_its_own_goes_on_in_the_next_invocation(is_made_by: str) -> None:
    went_on: list[int] = []
    pool: list[asyncio.Task[None]] = []

    async def serve() -> None:
        while True:
            await asyncio.sleep(0)
            went_on.append(len(pool))

    async def connect() -> None:
        pool.append(asyncio.create_task(serve()))

    async def handler(event: Any, ctx: DurableContext) -> None:
        if pool:
            await asyncio.sleep(0)
        elif is_made_by == "a task":
            await asyncio.create_task(connect(), context=contextvars.Context())
        else:
            contextvars.Context().run(lambda: pool.append(asyncio.create_task(serve())))
        await asyncio.sleep(0)

    with Messages.of("durably") as messages:
        invoked(handler)
        before = len(went_on)
        invoked(handler)

    assert len(went_on) > before
    assert messages.records == []
    pool[0].cancel()
    invoked(handler)
    assert pool[0].cancelled()


def test_a_task_that_will_not_end_is_left_behind_with_its_loop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept_loop, "MAX_UNWIND_SECONDS", 0.01)
    loops: list[asyncio.AbstractEventLoop] = []
    kept: list[asyncio.Task[None]] = []
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
            kept.append(asyncio.create_task(stubborn()))
            await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR, "durably"):
        for _ in range(3):
            assert invoked(handler)["Status"] == "SUCCEEDED"

    said = caplog.messages[-1]
    assert said.startswith(f"tasks of {title_of(ARN)} do not unwind, and are left behind with")
    assert said.endswith("stubborn)")
    assert [one is loops[1] for one in loops] == [False, True, True]
    goes_on = False
    kept[0].cancel()
    loops[0].run_until_complete(asyncio.wait(kept))
    loops[0].close()


async def test_a_lambda_entry_called_inside_an_event_loop_says_so_and_harms_nothing() -> None:
    async def handler(event: Any, ctx: DurableContext) -> None: ...

    with pytest.raises(InvalidStateError, match=r"this thread must not wait.* `invoke`"):
        invoked(handler)


def in_another_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


class Telling(logging.Handler):
    """Calls *listen* for each record, in another thread."""

    def __init__(self, listen: Callable[[], None]) -> None:
        super().__init__()
        self.listen = listen

    def emit(self, record: logging.LogRecord) -> None:
        in_another_thread(self.listen)


@pytest.mark.parametrize("when", ["it runs", "its tasks are cancelled"])
def test_a_lambda_entry_is_refused_in_a_second_thread_and_does_not_harm_the_first(
    when: str,
) -> None:
    refused: list[str] = []
    kept: list[asyncio.Task[bool]] = []

    def call() -> None:
        with pytest.raises(InvalidStateError) as error:
            invoked(other)
        refused.append(str(error.value))

    async def other(event: Any, ctx: DurableContext) -> None: ...

    async def handler(event: Any, ctx: DurableContext) -> str:
        if when == "it runs":
            in_another_thread(call)
        else:
            kept.append(asyncio.create_task(asyncio.Event().wait()))
        return "unharmed"

    telling = Telling(call)
    logging.getLogger("durably").addHandler(telling)
    try:
        assert invoked(handler)["Result"] == '"unharmed"'
    finally:
        logging.getLogger("durably").removeHandler(telling)

    [said] = refused
    assert said.startswith("another thread runs an invocation of an `async def` handler")
    assert invoked(other)["Status"] == "SUCCEEDED"
