"""A process that has no thread left: what was to run in it has not run, and has not failed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from durably import DurableContext, StepConfig, SyncDurableContext, durable_execution
from durably.clients.in_memory import InMemoryClient
from durably.drivers.futures import Broken, Returned
from durably.errors import UnrecoverableInvocationError
from durably.wire.operation import OperationStatus
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Trial

ONCE: StepConfig[Any] = StepConfig(retry_strategy=must_not_run)


class Threads:
    """Those of the process: of those that are *scarce*, by the beginning of the name, *left*."""

    def __init__(self) -> None:
        self.scarce: str | None = None
        self.left = 0

    def take(self, name: str) -> None:
        if self.scarce is None or not name.startswith(self.scarce):
            return
        if self.left == 0:
            raise RuntimeError("can't start new thread")
        self.left -= 1


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    threads = Threads()
    start = threading.Thread.start

    def take_and_start(thread: threading.Thread) -> None:
        threads.take(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", take_and_start)
    return threads


def never(ctx: SyncDurableContext) -> Any:
    return ctx.step("s", must_not_run, config=StepConfig(timeout=60, retry_strategy=must_not_run))


async def never_async(ctx: DurableContext) -> Any:
    return await ctx.step("s", must_not_run, config=ONCE)


@pytest.mark.parametrize("handler", [never, never_async])
def test_a_step_whose_thread_cannot_be_started_is_tried_again_in_the_next_invocation(
    handler: Any, threads: Threads
) -> None:
    threads.scarce = "durably step"
    trial = Trial(handler)

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert type(ending.error) is UnrecoverableInvocationError
    assert str(ending.error) == "no thread for durably step s: can't start new thread"
    assert trial.backend.operation("s").status is OperationStatus.STARTED


@pytest.mark.parametrize("handler", [never, never_async])
def test_a_checkpoint_whose_thread_cannot_be_started_is_no_failure_of_the_handler(
    handler: Any, threads: Threads
) -> None:
    threads.scarce = "durably checkpoint"

    ending = Trial(handler, "blocking").invoke()

    assert isinstance(ending, Broken)
    assert type(ending.error) is UnrecoverableInvocationError


def test_a_handler_whose_thread_cannot_be_started_is_invoked_again(threads: Threads) -> None:
    def handler(event: Any, ctx: SyncDurableContext) -> None:
        must_not_run()

    threads.scarce = "durably handler"
    client = InMemoryClient()

    with pytest.raises(UnrecoverableInvocationError, match="no thread for durably handler"):
        durable_execution(handler, client=client)(client.event())


@pytest.mark.parametrize("client", ["at once", "blocking"])
@pytest.mark.parametrize("left", [0, 1, 2])
def test_branches_make_do_with_the_threads_that_there_are(
    left: int, client: str, threads: Threads
) -> None:
    threads.scarce, threads.left = "durably branch", left

    def item(ctx: SyncDurableContext, number: int) -> Any:
        inner = ctx.map("inner", [1, 2], lambda child, one: child.step("s", lambda: one))
        return number + sum(inner.results())

    def handler(ctx: SyncDurableContext) -> Any:
        return ctx.map("m", range(4), item).results()

    assert Trial(handler, client).invoke() == Returned([3, 4, 5, 6])
