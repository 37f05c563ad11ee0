"""What plugins hear of while threads run: everything, in order, as it was, and without a lock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from durably import DurableContext, SyncDurableContext
from durably.core.journal import Journal
from durably.core.observer import (
    AttemptInfo,
    DurablePlugin,
    Observers,
    OperationChangeInfo,
    OperationInfo,
)
from durably.drivers.futures import Returned
from durably.drivers.news import News
from durably.drivers.observing import observers_of
from durably.drivers.threads import ThreadRun
from durably.testing.clock import ManualClock
from durably.wire.operation import Operation, OperationStatus
from tests.unit.core.support import NOW, STEP, an_op, must_not_run, record
from tests.unit.drivers.support import Trial
from tests.unit.drivers.test_thread_backends import beside_a_loop


def one() -> int:
    return 1


def twice(ctx: SyncDurableContext) -> list[int]:
    return [ctx.step("first", one), ctx.step("second", one)]


async def twice_in_a_loop(ctx: DurableContext) -> list[int]:
    return [await ctx.step("first", one), await ctx.step("second", one)]


def observed(plugin: DurablePlugin, handler: Callable[..., Any], client: str) -> Trial:
    def observers(journal: Journal) -> Observers:
        made = observers_of([plugin], journal, ManualClock())
        assert made is not None
        return made

    return Trial(handler, client, observers=observers)


class Probing(DurablePlugin):
    """Sees whether the lock of the invocation is free while a hook runs."""

    def __init__(self) -> None:
        self.run: ThreadRun | None = None
        self.was_free: list[bool] = []

    def on_operation_start(self, info: OperationInfo) -> None:
        self._probe()

    def on_operation_attempt_start(self, info: AttemptInfo) -> None:
        self._probe()

    def on_operation_change(self, info: OperationChangeInfo) -> None:
        self._probe()

    def on_operation_end(self, info: OperationInfo) -> None:
        self._probe()

    def _probe(self) -> None:
        assert self.run is not None
        lock, free = self.run.lock, []

        def try_it() -> None:
            free.append(lock.acquire(timeout=1))
            if free[0]:
                lock.release()

        other = threading.Thread(target=try_it)
        other.start()
        other.join()
        self.was_free += free


@pytest.mark.parametrize("client", ["at once", "blocking", "awaited", "pushing"])
def test_no_hook_runs_under_the_lock_of_the_invocation(client: str) -> None:
    plugin = Probing()
    trial = observed(plugin, twice, client)
    trial.on_run = lambda run: setattr(plugin, "run", run)

    if client in {"awaited", "pushing"}:
        beside_a_loop(trial)
    else:
        trial.invoke_in_threads()

    assert len(plugin.was_free) >= 6
    assert all(plugin.was_free)


class Following(DurablePlugin):
    """Keeps what it is told, to look at it later."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.known: list[Any] = []
        self.statuses: list[dict[str | None, str]] = []

    def on_operation_start(self, info: OperationInfo) -> None:
        self.heard.append(f"{info.name} starts")

    def on_operation_attempt_end(self, info: AttemptInfo) -> None:
        self.heard.append(f"{info.name} has run")

    def on_operation_end(self, info: OperationInfo) -> None:
        self.heard.append(f"{info.name} ends")

    def on_operation_change(self, info: OperationChangeInfo) -> None:
        self.known.append(info.operations)
        self.statuses.append({one.name: str(one.status) for one in info.operations.values()})


@pytest.mark.parametrize(
    ("handler", "client"),
    [
        *((twice, client) for client in ("at once", "blocking", "awaited", "pushing")),
        *((twice_in_a_loop, client) for client in ("at once", "awaited", "pushing")),
    ],
)
def test_hooks_are_told_in_order_and_what_was_known_then(
    handler: Callable[..., Any], client: str
) -> None:
    plugin = Following()
    trial = observed(plugin, handler, client)

    if handler is twice and client in {"awaited", "pushing"}:
        beside_a_loop(trial)
    else:
        trial.invoke()

    assert plugin.heard == [
        *("first starts", "first has run", "first ends"),
        *("second starts", "second has run", "second ends"),
    ]
    later = [{one.name: str(one.status) for one in known.values()} for known in plugin.known]
    assert later == plugin.statuses
    with pytest.raises(TypeError):
        plugin.known[-1]["id"] = None


class Holding(DurablePlugin):
    """Takes its time over the end of one operation, but not for ever: for *released*."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[str] = []
        self.entered = threading.Event()
        self.released = threading.Event()

    def on_operation_end(self, info: OperationInfo) -> None:
        if info.name == self.name:
            self.entered.set()
            self.released.wait(0.2)
            self.heard.append(f"{self.name} is over")

    def on_user_function_start(self, info: AttemptInfo) -> None:
        if self.entered.is_set():
            self.heard.append("it goes on")
            self.released.set()


def test_code_that_a_change_has_woken_is_told_of_after_the_change() -> None:
    plugin = Holding("w")

    def sleep(ctx: SyncDurableContext) -> None:
        try:
            ctx.wait("w", 100)
        finally:
            unwound.set()
        woken.set()

    def busy(ctx: SyncDurableContext) -> None:
        def body() -> None:
            trial.backend.pass_time()
            assert trial.client.push("w")
            assert woken.wait(5)

        ctx.step("first", unwound.wait)
        ctx.step("busy", body)

    woken, unwound = threading.Event(), threading.Event()
    trial = observed(plugin, lambda ctx: ctx.parallel("p", [sleep, busy]).results(), "pushing")

    beside_a_loop(trial)

    assert plugin.heard[:2] == ["w is over", "it goes on"]


def test_an_invocation_is_not_over_before_plugins_have_heard_everything() -> None:
    plugin = Following()

    def handler(ctx: SyncDurableContext) -> list[str]:
        ctx.create_callback("cb")
        trial.backend.memory.complete_callback(trial.backend.operation("cb").id)
        trial.client.push("cb")
        return list(plugin.heard)

    trial = observed(plugin, handler, "pushing")
    trial.after_run = lambda run: plugin.heard.append("the invocation is over")

    assert beside_a_loop(trial) == Returned(["cb starts"])
    assert plugin.heard == ["cb starts", "cb ends", "the invocation is over"]


class Turning(DurablePlugin):
    """Has the event loop do something, and waits until it has."""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self.turned: list[str | None] = []

    def on_operation_end(self, info: OperationInfo) -> None:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(5)
        self.turned.append(info.name)


@pytest.mark.parametrize("client", ["awaited", "pushing"])
def test_a_hook_that_blocks_does_not_stop_the_event_loop(client: str) -> None:
    plugin = Turning()

    async def push() -> None:
        if client == "pushing":
            trial.client.push("cb")

    def complete() -> None:
        trial.backend.memory.complete_callback(trial.backend.operation("cb").id)
        asyncio.run_coroutine_threadsafe(push(), plugin.loop).result(5)

    def handler(ctx: SyncDurableContext) -> None:
        callback = ctx.create_callback("cb")
        ctx.step("complete", complete)
        callback.result()

    async def invoke() -> Any:
        plugin.loop = asyncio.get_running_loop()
        return await asyncio.to_thread(trial.invoke_in_threads, loop=plugin.loop)

    trial = observed(plugin, handler, client)

    assert asyncio.run(invoke()) == Returned(None)
    assert sorted(map(str, plugin.turned)) == ["cb", "complete"]


def test_what_a_reply_says_is_told_while_code_runs() -> None:
    told = threading.Event()

    class Waking(DurablePlugin):
        def on_operation_change(self, info: OperationChangeInfo) -> None:
            told.set()

    def handler(ctx: SyncDurableContext) -> bool:
        return ctx.step("s", told.wait, 5)

    assert observed(Waking(), handler, "blocking").invoke() == Returned(value=True)


def changed(operation_id: str) -> Sequence[Operation]:
    return [record(an_op(step_id=operation_id, name=operation_id), OperationStatus.SUCCEEDED)]


def news_for(plugin: DurablePlugin) -> News:
    journal = Journal("arn", [record(STEP, OperationStatus.STARTED)])
    return News(Observers([plugin], journal, lambda: NOW, must_not_run), threading.RLock())


def test_what_is_noted_while_another_thread_tells_is_told_by_that_one_and_waited_for() -> None:
    entered, go_on = threading.Event(), threading.Event()
    heard: list[tuple[str | None, int]] = []

    class Slow(DurablePlugin):
        def on_operation_end(self, info: OperationInfo) -> None:
            heard.append((info.name, threading.get_ident()))
            entered.set()
            assert go_on.wait(8)

    news = news_for(Slow())
    news.note(changed("1"))
    teller = threading.Thread(target=news.tell)
    teller.start()
    assert entered.wait(8)
    news.note(changed("2"))
    news.tell()
    news.settle(0)  # it is not told yet, and this waits no longer
    assert len(heard) == 1
    go_on.set()
    news.settle()

    assert heard == [("1", teller.ident), ("2", teller.ident)]
    teller.join()


def test_a_hook_that_comes_back_does_not_wait_for_itself() -> None:
    heard: list[str | None] = []

    class Curious(DurablePlugin):
        def on_operation_end(self, info: OperationInfo) -> None:
            news.settle()
            heard.append(info.name)

    news = news_for(Curious())
    news.note(changed("1"))
    news.settle()

    assert heard == ["1"]


def test_an_interruption_of_a_hook_leaves_the_telling_to_the_next() -> None:
    heard: list[str | None] = []

    class Interrupted(DurablePlugin):
        def on_operation_end(self, info: OperationInfo) -> None:
            heard.append(info.name)
            if info.name == "1":
                raise KeyboardInterrupt

    news = news_for(Interrupted())
    news.note(changed("1"))
    news.note(changed("2"))
    with pytest.raises(KeyboardInterrupt):
        news.settle()
    news.settle()

    assert heard == ["1", "2"]


def test_without_plugins_there_is_nothing_to_tell() -> None:
    news = News(None, threading.RLock())

    news.note(changed("1"))
    news.tell()
    news.settle()
