"""When an invocation of an `async def` handler ends as pending, and when it does not."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from durably import DurableContext, StepConfig
from durably.core.lifecycle import COOLDOWN_SECONDS, MAX_UNWIND_SECONDS
from durably.drivers.futures import Broken, Returned, Suspended
from durably.errors import NonDeterministicExecutionError, TerminationReason
from durably.retries import RetryDecision
from durably.wire.api import CheckpointRequest
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import CLIENTS, Messages, Trial, in_loop

EVERY_CLIENT = pytest.mark.parametrize("client", CLIENTS)
WAITING = Suspended(TerminationReason.WAIT_SCHEDULED)


@pytest.fixture
def messages() -> Iterator[Messages]:
    with Messages.of("durably") as messages:
        yield messages


async def one() -> int:
    return 1


async def endless() -> None:
    await asyncio.get_running_loop().create_future()


async def answer_of(ctx: DurableContext) -> Any:
    return await (await ctx.create_callback("cb")).result()


async def fail() -> None:
    raise ValueError("no")


def retry(error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision(should_retry=True)


# At once


@EVERY_CLIENT
def test_a_handler_that_waits_stops_at_once(client: str) -> None:
    async def handler(ctx: DurableContext) -> None:
        await ctx.wait("w", 100)

    assert Trial(handler, client).timed() == (WAITING, 0)


def test_contexts_that_all_wait_stop_at_once() -> None:
    async def sleep(ctx: DurableContext) -> None:
        await ctx.wait("w", 100)

    async def handler(ctx: DurableContext) -> None:
        await ctx.run_in_child_context("c", lambda child: child.parallel("p", [sleep, sleep]))

    assert Trial(handler, "pushing").timed() == (WAITING, 0)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda ctx: ctx.wait("w", 5), TerminationReason.WAIT_SCHEDULED),
        (answer_of, TerminationReason.CALLBACK_PENDING),
        (
            lambda ctx: ctx.step("s", fail, config=StepConfig(retry_strategy=retry)),
            TerminationReason.RETRY_SCHEDULED,
        ),
    ],
)
def test_the_reason_is_told(call: Any, reason: TerminationReason) -> None:
    async def handler(ctx: DurableContext) -> None:
        await call(ctx)

    assert Trial(handler).invoke() == Suspended(reason)


def test_an_invocation_goes_on_where_the_last_one_stopped() -> None:
    async def handler(ctx: DurableContext) -> int:
        await ctx.wait("a", 100)
        await ctx.wait("b", 100)
        return await ctx.step("s", one)

    trial = Trial(handler)

    assert trial.to_end() == Returned(1)
    assert trial.invocations == 3
    assert trial.backend.sent == ["START a", "START b", "START s", "SUCCEED s"]


# After a second look


@pytest.mark.parametrize("client", ["at once", "awaited", "pushing"])
def test_a_handler_that_waits_in_a_gather_stops_after_a_second_look(client: str) -> None:
    async def handler(ctx: DurableContext) -> None:
        await asyncio.gather(ctx.wait("a", 100), ctx.wait("b", 100))

    ending, seconds = Trial(handler, client).timed()

    assert ending == WAITING
    assert seconds == pytest.approx(COOLDOWN_SECONDS)


def test_the_second_look_finds_what_has_gone_on_meanwhile() -> None:
    async def handler(ctx: DurableContext) -> None:
        async def work() -> int:
            await asyncio.sleep(0.015)
            return 1

        async def steps() -> None:
            for future in futures:
                await asyncio.sleep(0.015)
                await future

        futures = [ctx.step("s", work, config=StepConfig()) for _ in range(4)]
        await asyncio.gather(ctx.wait("w", 100), steps())

    trial = Trial(handler, "pushing")

    assert trial.invoke() == WAITING
    assert trial.backend.sent.count("SUCCEED s") == 4


def test_the_cooldown_begins_anew_when_something_has_moved() -> None:
    async def handler(ctx: DurableContext) -> None:
        async def go_on() -> None:
            for number in range(5):
                await asyncio.sleep(COOLDOWN_SECONDS * 0.9)
                await ctx.step(f"{number}", one)

        waiting = asyncio.ensure_future(ctx.wait("w", 100))
        await go_on()
        await waiting

    trial = Trial(handler, "pushing")

    assert trial.invoke() == WAITING
    assert trial.backend.sent.count("SUCCEED 4") == 1


def test_it_does_not_stop_while_the_body_of_a_step_runs() -> None:
    async def handler(ctx: DurableContext) -> None:
        async def slow() -> None:
            await asyncio.sleep(60)

        await asyncio.gather(ctx.wait("w", 100), ctx.step("slow", slow))

    trial = Trial(handler, "pushing")
    ending, seconds = trial.timed()

    assert ending == WAITING
    assert seconds == pytest.approx(60 + COOLDOWN_SECONDS)
    assert "SUCCEED slow" in trial.backend.sent


def test_a_body_that_waits_for_something_of_the_users_does_not_keep_it_awake() -> None:
    async def handler(ctx: DurableContext) -> None:
        never = asyncio.Event()

        async def asleep(child: DurableContext) -> None:
            await child.wait("w", 100)

        async def idle(child: DurableContext) -> None:
            await never.wait()

        await ctx.parallel("p", [asleep, idle])

    trial = Trial(handler, "pushing")
    for _ in range(2):  # the second time it is asleep before the other has begun to idle
        ending, seconds = trial.timed()

        assert ending == WAITING
        assert seconds == pytest.approx(COOLDOWN_SECONDS)


# Not when nobody waits for it


def test_it_does_not_stop_for_a_wait_that_nobody_awaits() -> None:
    async def handler(ctx: DurableContext) -> str:
        ctx.wait("w", 100)
        await asyncio.sleep(60)
        return "done"

    assert Trial(handler, "pushing").timed() == (Returned("done"), 60)


def test_it_does_not_stop_for_the_branches_of_a_map_that_nobody_awaits() -> None:
    async def handler(ctx: DurableContext) -> str:
        ctx.map("m", [1, 2], lambda child, item: child.wait("w", 100))
        await asyncio.sleep(60)
        return "done"

    assert Trial(handler, "pushing").timed() == (Returned("done"), 60)


def test_it_does_not_stop_for_what_a_child_waits_for_that_nobody_awaits() -> None:
    async def handler(ctx: DurableContext) -> str:
        ctx.run_in_child_context("c", lambda child: child.wait("w", 100))
        await asyncio.sleep(60)
        return "done"

    assert Trial(handler, "pushing").timed() == (Returned("done"), 60)


@pytest.mark.parametrize("what", ["map", "child"])
def test_it_stops_when_they_are_awaited_later(what: str) -> None:
    async def handler(ctx: DurableContext) -> None:
        future: Any = (
            ctx.map("m", [1], lambda child, item: child.wait("w", 100))
            if what == "map"
            else ctx.run_in_child_context("c", lambda child: child.wait("w", 100))
        )
        await asyncio.sleep(60)
        await future

    assert Trial(handler, "pushing").timed() == (WAITING, 60)


# What changes meanwhile


def test_a_pushed_change_wakes_who_waits_and_ends_the_cooldown() -> None:
    async def handler(ctx: DurableContext) -> list[Any]:
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, trial.backend.pass_time)
        loop.call_later(0.01, lambda: pushed.append(trial.client.push("w")))
        return list(await asyncio.gather(ctx.wait("w", 100), ctx.step("s", one)))

    pushed: list[bool] = []
    trial = Trial(handler, "pushing")

    assert trial.timed() == (Returned([None, 1]), 0.01)
    assert pushed == [True]


def test_what_is_pushed_to_an_invocation_that_ends_does_not_count() -> None:
    async def handler(ctx: DurableContext) -> None:
        try:
            await ctx.wait("w", 100)
        finally:
            trial.backend.pass_time()
            pushed.append(trial.client.push("w"))

    pushed: list[bool] = []
    trial = Trial(handler, "pushing")

    assert trial.invoke() == WAITING
    assert pushed == [False]


@pytest.mark.parametrize("client", ["at once", "blocking", "awaited"])
def test_a_backend_that_does_not_push_is_asked_while_something_else_runs(client: str) -> None:
    async def handler(ctx: DurableContext) -> list[Any]:
        release = asyncio.Event()

        async def slow() -> str:
            await release.wait()
            return "slow"

        async def sleep(child: DurableContext) -> str:
            await child.wait("w", 1)
            release.set()
            return "woken"

        branches: list[Any] = [sleep, lambda child: child.step("slow", slow)]
        return (await ctx.parallel("p", branches)).results()

    trial = Trial(handler, client)

    def let_time_pass(request: CheckpointRequest) -> None:
        if not request.updates:
            trial.backend.clock.advance(1)

    trial.backend.before = let_time_pass

    assert trial.invoke() == Returned(["woken", "slow"])
    assert [request for request in trial.backend.requests if not request.updates]


# Whatever user code does


@EVERY_CLIENT
@pytest.mark.parametrize("caught", [BaseException, asyncio.CancelledError])
def test_code_that_catches_the_signal_and_goes_on_still_ends_pending(
    client: str, caught: type[BaseException]
) -> None:
    async def handler(ctx: DurableContext) -> str:
        with suppress(caught):
            await ctx.wait("w", 100)
        try:
            await ctx.step("after", must_not_run)
        except caught:
            return "swallowed"
        return "ran"

    trial = Trial(handler, client)

    assert trial.invoke() == WAITING
    assert trial.backend.sent == ["START w"]


def test_finally_cannot_checkpoint() -> None:
    async def handler(ctx: DurableContext) -> None:
        try:
            await ctx.wait("w", 100)
        finally:
            await ctx.step("clean up", must_not_run)

    trial = Trial(handler)

    assert trial.invoke() == WAITING
    assert trial.backend.sent == ["START w"]


def test_a_handler_that_swallows_a_hundred_signals_loses_its_token(messages: Messages) -> None:
    async def handler(ctx: DurableContext) -> None:
        while not gone:
            try:
                await ctx.wait("w", 100)
            except asyncio.CancelledError:
                swallowed.append(1)
                await asyncio.sleep(0)

    swallowed: list[int] = []
    gone: list[int] = []
    trial = Trial(handler, "pushing")

    async def invoke() -> Any:
        ending = await trial.run_in_tasks(trial.journal()).run(handler)
        gone.append(1)
        return ending, asyncio.get_running_loop().time()

    assert in_loop(invoke) == (WAITING, 0)
    assert 100 <= len(swallowed) < 110
    assert "does not unwind" in messages.records[0].message


def test_a_handler_that_does_not_unwind_in_time_is_left_behind(messages: Messages) -> None:
    async def handler(ctx: DurableContext) -> None:
        try:
            await ctx.wait("w", 100)
        except asyncio.CancelledError:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                left.append("cancelled again")

    left: list[str] = []
    trial = Trial(handler, "pushing", unwind_seconds=2)

    async def invoke() -> Any:
        ending = await trial.run_in_tasks(trial.journal()).run(handler)
        return ending, asyncio.get_running_loop().time(), list(left)

    assert in_loop(invoke) == (WAITING, 2, [])
    assert "does not unwind" in messages.records[0].message


def test_an_operation_that_does_not_unwind_in_time_is_named(messages: Messages) -> None:
    async def handler(ctx: DurableContext) -> str:
        ctx.step("stubborn", stubborn)
        await asyncio.sleep(1)
        return "done"

    async def stubborn() -> None:
        while not gone:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def invoke() -> Any:
        ending = await trial.run_in_tasks(trial.journal()).run(handler)
        gone.append(1)
        return ending, asyncio.get_running_loop().time()

    gone: list[int] = []
    trial = Trial(handler, "pushing")

    assert in_loop(invoke) == (Returned("done"), 1 + MAX_UNWIND_SECONDS)
    assert messages.operations()[-1] == ["stubborn"]


def test_many_contexts_that_unwind_one_signal_each_are_no_leak(messages: Messages) -> None:
    async def handler(ctx: DurableContext) -> None:
        async def item(child: DurableContext, number: int) -> None:
            try:
                await child.wait("w", 100)
            finally:
                await child.step("clean up", must_not_run)

        await ctx.map("m", range(150), item)

    assert Trial(handler, "pushing").invoke() == WAITING
    assert messages.records == []


# Pending only when something is


def test_an_execution_that_waits_for_what_never_ends_fails() -> None:
    async def handler(ctx: DurableContext) -> int:
        async def child(child: DurableContext) -> str:
            future = child.step("left open", endless)
            await asyncio.sleep(0.001)
            if is_changed:
                await future
            return "x" * 300_000

        return len(await ctx.run_in_child_context("c", child))

    is_changed: list[int] = []
    trial = Trial(handler)
    assert trial.invoke() == Returned(300_000)
    assert trial.invoke() == Returned(300_000)
    is_changed.append(1)

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, NonDeterministicExecutionError)
    assert "never ends" in str(ending.error)


def test_an_invocation_leaves_nothing_in_the_loop() -> None:
    async def handler(ctx: DurableContext) -> None:
        await asyncio.gather(ctx.wait("a", 100), ctx.wait("b", 100))

    async def invoke() -> bool:
        run = trial.run_in_tasks(trial.journal())
        await run.run(handler)
        left = weakref.ref(run)
        del run
        trial.client.listener = None
        gc.collect()
        return left() is None

    for client in ("at once", "awaited", "pushing"):
        trial = Trial(handler, client)
        assert in_loop(invoke)
