"""Tests drive executions on virtual time: what sleeps is skipped, what runs is waited for."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from durably import (
    DurableContext,
    ErrorObject,
    ExecutionStatus,
    InvalidStateError,
    OperationStatus,
    RetryPresets,
    StepConfig,
    SyncDurableContext,
    durable_execution,
)
from durably.testing import (
    FailedRunError,
    SyncTestEngine,
    TestEngine,
    UnfinishedRunError,
    VirtualClock,
)
from durably.testing.clock import EPOCH
from tests.kit.functions import ALL, RETRIED, YEAR, approve, hurry, plain, polls, ship, yearly


def type_of(error: ErrorObject | None) -> str | None:
    return None if error is None else error.error_type


async def test_a_run_skips_the_time_that_it_sleeps() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.run(yearly, "Ada")

        assert run.result == "Happy new year, Ada"
        assert t.clock.now() == EPOCH + YEAR
        assert run.step is not None


@pytest.mark.parametrize(
    ("function", "given", "result"),
    [
        ("ship", ["a", "b"], ["label of a", "label of b"]),
        ("asks_ship", ["a", "b", "c"], 3),
        ("beside", 1, [None, None, "x"]),
        ("plain", "cup", "label of cup"),
        ("polls", 100, 100),
    ],
)
async def test_a_run_comes_to_its_end_whatever_it_is_made_of(
    function: str, given: Any, result: Any
) -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.run(function, given)

        assert run.result == result


def test_the_blocking_engine_does_the_same_in_the_thread_of_the_test() -> None:
    before = threading.active_count()

    with SyncTestEngine(functions=ALL) as t:
        run = t.run(yearly, "Ada")
        asked = t.start(approve, "may I?", name="asked")
        t.run_until_suspended()
        t.callback_succeed(asked.callback_id("approval"), "yes")
        t.finish(asked)
        late = t.start(hurry, "well?")
        t.run_until(lambda: late.operation("answer").status is OperationStatus.STARTED)
        t.callback_heartbeat(late.callback_id("answer"))
        t.advance(60)
        t.callback_fail(late.callback_id("answer"), "no")
        t.run_until(lambda: late.is_closed)

        assert run.result == "Happy new year, Ada"
        assert (asked.name, asked.result) == ("asked", "yes")
        assert late.status is ExecutionStatus.FAILED
        assert t.clock.now() == EPOCH + YEAR + timedelta(minutes=1)
        assert threading.active_count() == before


def test_the_blocking_engine_says_what_to_write_where_it_cannot_work() -> None:
    t = SyncTestEngine(functions=ALL)

    async def in_a_loop() -> None:
        t.__enter__()

    with pytest.raises(InvalidStateError, match="with SyncTestEngine"):
        t.advance(1)
    with pytest.raises(InvalidStateError, match="async with TestEngine"):
        asyncio.run(in_a_loop())


async def test_an_engine_that_is_not_open_says_what_to_write() -> None:
    with pytest.raises(InvalidStateError, match="async with TestEngine"):
        await TestEngine(functions=ALL).run(yearly, "Ada")


async def test_what_is_started_runs_up_to_its_first_sleep_and_no_further() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.start(yearly, "Ada")
        await t.run_until_suspended()

        assert run.status is ExecutionStatus.RUNNING
        assert run.operation("a year").status is OperationStatus.STARTED
        assert t.clock.now() == EPOCH


async def test_advancing_does_what_is_due_meanwhile_in_time_and_nothing_else() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.start(polls, 5)

        await t.advance(timedelta(days=2, hours=12))

        assert run.operation("ready").attempts == 3
        assert t.clock.now() == EPOCH + timedelta(days=2, hours=12)
        times = [one.event_timestamp for one in run.history if one.event_type == "StepStarted"]
        assert times == [EPOCH, EPOCH + timedelta(days=1), EPOCH + timedelta(days=2)]


async def test_what_was_kept_long_enough_is_gone_when_time_has_passed() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.run(yearly, "Ada")
        await t.advance(timedelta(days=15))

        assert (await t.engine.list()).executions == ()
        with pytest.raises(Exception, match="no such execution"):
            _ = run.status


async def test_running_until_something_holds_goes_no_further() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.start(ship, ["a"])

        await t.run_until(lambda: run.step("label").status is OperationStatus.SUCCEEDED)

        assert run.operation("ship/0/pack").status is OperationStatus.SUCCEEDED
        assert t.clock.now() == EPOCH + timedelta(minutes=1)


async def test_a_callback_that_nobody_answers_ends_the_test_and_says_so() -> None:
    async with TestEngine(functions=ALL) as t:
        with pytest.raises(UnfinishedRunError) as failure:
            await t.run(approve, "may I?", name="asked")

        said = str(failure.value)
        assert "approve/asked has not ended" in said
        assert "callback 'approval' waits for an answer to the callback" in said
        assert t.clock.now() == EPOCH


async def test_what_never_holds_ends_the_test_and_says_so() -> None:
    async with TestEngine(functions=ALL) as t:
        await t.start(yearly, "Ada")

        with pytest.raises(UnfinishedRunError, match="does not hold"):
            await t.run_until(lambda: False)


async def test_what_is_woken_for_ever_ends_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durably.testing.driving.MAX_SKIPS", 20)
    async with TestEngine(functions=ALL) as t:
        with pytest.raises(UnfinishedRunError, match="Time was skipped 20 times"):
            await t.run(polls, 365)


async def test_a_callback_times_out_at_its_time() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.run(hurry, "well?")

        assert type_of(run.error) == "CallbackTimeoutError"
        assert t.clock.now() == EPOCH + timedelta(hours=1)


async def test_an_execution_times_out_if_it_was_given_a_time() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.run(approve, "may I?", execution_timeout=3600)

        assert run.status is ExecutionStatus.TIMED_OUT
        assert t.clock.now() == EPOCH + timedelta(hours=1)


async def test_what_was_paused_longer_than_it_may_take_goes_on_afterwards() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.start(yearly, "Ada")
        await t.run_until_suspended()
        await t.engine.pause(run.arn)
        await t.advance(timedelta(days=30))
        await t.engine.resume(run.arn)
        await t.finish(run)

        assert run.result == "Happy new year, Ada"


async def test_a_clock_of_the_tests_own_says_what_time_it_is() -> None:
    clock = VirtualClock(EPOCH + timedelta(days=10))

    async with TestEngine(functions=ALL, clock=clock) as t:
        run = await t.run(yearly, "Ada")

        assert run.description.started_at == EPOCH + timedelta(days=10)


# What user code waits for is real


async def test_time_is_not_skipped_while_a_step_runs() -> None:
    go_on = asyncio.Event()
    seen: list[Any] = []

    @durable_execution
    async def waits(event: None, ctx: DurableContext) -> int:
        _, value = await asyncio.gather(ctx.wait("a minute", 60), ctx.step("slow", slow))
        return value

    async def slow() -> int:
        await go_on.wait()
        seen.append(t.clock.now())
        return 1

    async with TestEngine(functions=[waits]) as t:
        running = asyncio.ensure_future(t.run(waits, None))
        while not running.done() and not seen:
            await asyncio.sleep(0.01)
            go_on.set()
        run = await running

        assert run.result == 1
        assert seen == [EPOCH]
        assert t.clock.now() == EPOCH + timedelta(minutes=1)


async def never() -> None:
    """Never end."""
    await asyncio.Event().wait()


@pytest.fixture
def blocks() -> Iterator[Callable[[], Any]]:
    """Give a function that does not end before the test has, and leave no thread behind."""
    ended = threading.Event()
    before = threading.enumerate()
    yield lambda: ended.wait(8)
    ended.set()
    for thread in set(threading.enumerate()) - set(before):
        thread.join(8)


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_a_step_that_never_ends_comes_to_its_time_out(
    blocks: Callable[[], Any], *, is_blocking: bool
) -> None:
    config: StepConfig[Any] = StepConfig(timeout=0.05, retry_strategy=RetryPresets.none())

    @durable_execution
    async def stuck(event: None, ctx: DurableContext) -> None:
        await ctx.step("stuck", blocks if is_blocking else never, config=config)

    async with TestEngine(functions=[stuck]) as t:
        run = await t.run(stuck, None)

        assert type_of(run.step("stuck").error) == "StepTimeoutError"
        assert t.clock.now() == EPOCH + timedelta(seconds=0.05)


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_a_long_time_out_comes_when_the_test_says_so(
    blocks: Callable[[], Any], *, is_blocking: bool
) -> None:
    began = asyncio.Event()
    loop = asyncio.get_running_loop()
    config: StepConfig[Any] = StepConfig(timeout=3600, retry_strategy=RetryPresets.none())

    @durable_execution
    async def stuck(event: None, ctx: DurableContext) -> None:
        loop.call_soon(began.set)
        await ctx.step("stuck", blocks if is_blocking else never, config=config)

    async with TestEngine(functions=[stuck]) as t:
        run = await t.start(stuck, None)
        await began.wait()
        await asyncio.sleep(0.01)  # until it is in its step, if in a thread
        t.clock.advance(timedelta(hours=1))
        await t.finish(run)

        assert type_of(run.step("stuck").error) == "StepTimeoutError"


async def test_a_plain_function_that_never_ends_comes_to_its_time_out(
    blocks: Callable[[], Any],
) -> None:
    config: StepConfig[Any] = StepConfig(timeout=0.05, retry_strategy=RetryPresets.none())

    @durable_execution
    def stuck(event: None, ctx: SyncDurableContext) -> None:
        ctx.step("stuck", blocks, config=config)

    async with TestEngine(functions=[stuck]) as t:
        run = await t.run(stuck, None)

        assert type_of(run.step("stuck").error) == "StepTimeoutError"


async def test_a_task_of_the_tests_own_answers_before_time_is_skipped() -> None:
    answering: list[asyncio.Task[None]] = []

    @durable_execution
    async def asked(event: None, ctx: DurableContext) -> str:
        callback = await ctx.create_callback("answer")
        answering.append(asyncio.create_task(answer(callback.callback_id)))
        answered: str = await callback.result()
        return answered

    async def answer(callback_id: str) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        await t.callback_succeed(callback_id, "yes")

    async with TestEngine(functions=[asked]) as t:
        run = await t.run(asked, None)

        assert run.result == "yes"
        assert t.clock.now() == EPOCH


# Nothing stays behind


async def test_what_still_runs_at_the_end_is_cut_off() -> None:
    cut_off: list[str] = []
    before = asyncio.all_tasks()

    @durable_execution
    async def stuck(event: None, ctx: DurableContext) -> None:
        try:
            await ctx.step("stuck", never)
        finally:
            cut_off.append("the handler")

    async with TestEngine(functions=[stuck, *ALL], replay=False) as t:
        await t.start(stuck, None)
        await t.start(plain, "cup")
        await asyncio.sleep(0.01)

    assert cut_off == ["the handler"]
    assert asyncio.all_tasks() == before


async def test_retries_are_skipped_too_and_a_failure_says_what_ran() -> None:
    async def break_down() -> None:
        raise ConnectionError("no")

    @durable_execution
    async def tries(event: None, ctx: DurableContext) -> None:
        await ctx.wait("first", 1)
        await ctx.step("break down", break_down, config=RETRIED)

    async with TestEngine(functions=[tries]) as t:
        run = await t.run(tries, None)

        assert run.step("break down").attempts == 3
        with pytest.raises(FailedRunError) as failure:
            _ = run.result
        said = str(failure.value)
        assert "step 'break down'" in said
        assert f"  {__file__}, line " in said
        assert "<locals>.break_down\n" in said
        assert "first       wait  SUCCEEDED  1 s" in said
        assert "break down  step  FAILED     3 attempts, ConnectionError: no" in said
