"""Code that asks for other operations than are recorded: what it has sent is answered first."""

import asyncio
import threading
from contextlib import suppress

import pytest

from durably import DurableContext, SyncDurableContext
from durably.drivers.futures import Broken
from durably.drivers.threads import ThreadRun
from durably.errors import (
    CheckpointUnrecoverableInvocationError,
    NonDeterministicExecutionError,
)
from durably.wire.api import CheckpointRequest, CheckpointResponse
from tests.unit.drivers.support import Awaited, Trial, in_loop
from tests.unit.drivers.test_task_endings import Failing
from tests.unit.drivers.test_task_endings import one as answer
from tests.unit.drivers.test_thread_endings import one

SLOW_SECONDS = 0.1


class Slow(Awaited):
    """The way to it of a client that takes its time."""

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        await asyncio.sleep(SLOW_SECONDS)
        return self.backend.answer(request)


def diverging() -> Trial:
    """Make an execution whose code has changed since it was suspended, and sends things beside."""

    async def handler(ctx: DurableContext) -> None:
        ctx.run_in_child_context("c", inside)
        waited = ctx.wait("w", 100)
        if is_changed:
            ctx.step("new", answer)
            ctx.step("newer", answer)
        await waited

    async def inside(ctx: DurableContext) -> None:
        await asyncio.sleep(0)
        await ctx.step("changed" if is_changed else "s", answer)
        await ctx.wait("w", 1000)

    is_changed: list[int] = []
    trial = Trial(handler, "awaited")
    trial.client = Slow(trial.backend)
    trial.invoke()
    is_changed.append(1)
    return trial


@pytest.mark.parametrize("error", [None, OSError("unplugged")])
def test_what_was_sent_before_coroutines_diverged_is_waited_for(error: Exception | None) -> None:
    trial = diverging()
    if error is not None:
        trial.backend.before = Failing(error, "START")

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    if error is None:
        assert isinstance(ending.error, NonDeterministicExecutionError)
        assert "START new" in trial.backend.sent
    else:
        assert isinstance(ending.error, CheckpointUnrecoverableInvocationError)


def test_an_invocation_that_is_cancelled_sends_nothing_more_whatever_its_ending() -> None:
    trial = diverging()
    before = list(trial.backend.sent)

    async def main() -> None:
        there = asyncio.all_tasks()
        run = asyncio.ensure_future(trial.run_in_tasks(trial.journal()).run(trial.handler))
        await asyncio.sleep(SLOW_SECONDS / 2)
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run

        assert asyncio.all_tasks() == there
        await asyncio.sleep(1)
        assert trial.backend.sent == before

    in_loop(main)


def test_what_was_sent_before_plain_code_diverged_is_waited_for() -> None:
    is_changed, in_flight = threading.Event(), threading.Event()

    def handler(ctx: SyncDurableContext) -> None:
        ctx.parallel("p", [diverging, going_on])

    def diverging(ctx: SyncDurableContext) -> None:
        if is_changed.is_set():
            in_flight.wait()
        ctx.step("changed" if is_changed.is_set() else "s", one)
        ctx.wait("w", 1000)

    def going_on(ctx: SyncDurableContext) -> None:
        ctx.wait("w", 100)
        ctx.step("new", one)

    trial = Trial(handler, "blocking")
    trial.invoke()
    trial.backend.clock.advance(100)
    is_changed.set()
    accepted: list[str] = []
    slow_down(trial, in_flight)
    trial.after_run = lambda _: accepted.extend(trial.backend.sent)

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, NonDeterministicExecutionError)
    assert "START new" in accepted


def slow_down(trial: Trial, in_flight: threading.Event) -> None:
    """Have requests answered only when the invocation is about to end."""
    runs: list[ThreadRun] = []

    def slow(request: CheckpointRequest) -> None:
        in_flight.set()
        while not runs[0].is_ending:
            threading.Event().wait(0.001)
        threading.Event().wait(0.01)

    trial.on_run = runs.append
    trial.backend.before = slow
