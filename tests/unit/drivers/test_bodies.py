"""Attempts of steps: where they run, how long they may, and what they know."""

import asyncio
import contextvars
import logging
import threading
from functools import partial
from typing import Any

import pytest

from durably import (
    DurableContext,
    StepConfig,
    SyncDurableContext,
    current_step,
    get_active_operation,
)
from durably.drivers.bodies import is_coroutine_function
from durably.drivers.futures import Returned
from durably.errors import StepError
from durably.limits import MAX_DELAY_SECONDS
from durably.retries import RetryPresets
from tests.unit.drivers.support import Messages, Trial

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


def timed(seconds: float, **changes: Any) -> StepConfig[Any]:
    return StepConfig(timeout=seconds, retry_strategy=RetryPresets.none(), **changes)


class Callable:
    async def __call__(self) -> None:
        """Nothing."""


class Plain:
    def __call__(self) -> None:
        """Nothing."""


async def coroutine(*_: object) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (coroutine, True),
        (partial(partial(coroutine, 1), 2), True),
        (Callable(), True),
        (Callable().__call__, True),
        (Plain(), False),
        (len, False),
        (lambda: coroutine(), False),  # noqa: PLW0108 - it is a plain function
        (dict, False),
    ],
)
def test_a_coroutine_function_is_told_from_others_without_calling_it(
    function: Any, *, answer: bool
) -> None:
    assert is_coroutine_function(function) is answer


# Where they run


def test_a_plain_step_of_a_coroutine_runs_in_a_thread_with_the_callers_variables() -> None:
    async def handler(ctx: DurableContext) -> Any:
        def body() -> Any:
            return [threading.get_ident() != here, variable.get(), current_step().attempt]

        here = threading.get_ident()
        variable.set("the caller's")
        return await ctx.step("s", body)

    assert Trial(handler).invoke() == Returned([True, "the caller's", 1])


def test_a_plain_step_that_gives_an_awaitable_has_it_awaited() -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def body() -> str:
            return "awaited"

        return await ctx.step("s", lambda: body())  # noqa: PLW0108 - a plain function

    assert Trial(handler).invoke() == Returned("awaited")


def test_a_plain_step_may_raise_what_no_future_can_carry() -> None:
    async def handler(ctx: DurableContext) -> Any:
        with pytest.raises(StepError) as error:
            await ctx.step("s", lambda: next(iter([])), config=timed(60))
        return error.value.error_type

    assert Trial(handler).invoke_in_real_time() == Returned("StopIteration")


@pytest.mark.parametrize("seconds", [None, 60, MAX_DELAY_SECONDS])
def test_a_step_knows_its_attempt_and_its_operation(seconds: float | None) -> None:
    def body() -> Any:
        step, active = current_step(), get_active_operation()
        assert active is not None
        return [step.name, step.operation_id, step.attempt, active.context_id, active.attempt]

    def handler(ctx: SyncDurableContext) -> Any:
        return ctx.step("s", body, config=StepConfig(timeout=seconds))

    async def async_handler(ctx: DurableContext) -> Any:
        return await ctx.step("s", body, config=StepConfig(timeout=seconds))

    expected = Returned(["s", "c4ca4238a0b92382", 1, "1", 1])
    assert Trial(handler).invoke() == expected
    assert Trial(async_handler).invoke_in_real_time() == expected


def test_outside_of_a_step_there_is_none_again() -> None:
    async def handler(ctx: DurableContext) -> Any:
        await ctx.step("s", coroutine)
        active = get_active_operation()
        return None if active is None else (active.context_id, active.attempt)

    assert Trial(handler).invoke() == Returned(("", None))


# How long they may


def error_type_of(trial: Trial) -> Any:
    ending = trial.invoke()
    assert isinstance(ending, Returned)
    return ending.value


def test_a_coroutine_that_runs_too_long_is_cancelled_and_has_failed() -> None:
    cancelled: list[int] = []

    async def handler(ctx: DurableContext) -> Any:
        async def slow() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(1)
                raise

        with pytest.raises(StepError, match=r"s ran longer than 2\.5 s") as error:
            await ctx.step("s", slow, config=timed(2.5))
        return error.value.error_type

    trial = Trial(handler, "pushing")
    ending, seconds = trial.timed()

    assert (ending, seconds, cancelled) == (Returned("StepTimeoutError"), 2.5, [1])


def test_a_timeout_of_the_bodys_own_is_its_own() -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def body() -> None:
            raise TimeoutError("mine")

        with pytest.raises(StepError, match="mine") as error:
            await ctx.step("s", body, config=timed(60))
        return error.value.error_type

    assert error_type_of(Trial(handler)) == "TimeoutError"


@pytest.mark.parametrize("flavour", ["async", "sync"])
def test_a_plain_function_that_runs_too_long_is_given_up_and_its_thread_logged(
    flavour: str,
) -> None:
    gone = threading.Event()

    async def async_handler(ctx: DurableContext) -> Any:
        with pytest.raises(StepError) as error:
            await ctx.step("s", gone.wait, config=timed(0.01))
        return error.value.error_type

    def handler(ctx: SyncDurableContext) -> Any:
        with pytest.raises(StepError) as error:
            ctx.step("s", gone.wait, config=timed(0.01))
        return error.value.error_type

    trial = Trial(async_handler if flavour == "async" else handler)
    before = set(threading.enumerate())
    with Messages.of("durably") as messages:
        try:
            ending = trial.invoke_in_real_time() if flavour == "async" else run(trial)
        finally:
            gone.set()
            for thread in set(threading.enumerate()) - before:
                if thread.name.startswith("durably step"):
                    thread.join()

    assert ending == Returned("StepTimeoutError")
    assert [record.message for record in messages.records] == [
        "an attempt of s was given up, and its thread is left behind"
    ]


def run(trial: Trial) -> Any:
    with pytest.raises(AssertionError):  # a thread is left behind, and that is the point
        trial.invoke()
    return trial.ending


@pytest.mark.parametrize("body", [lambda: 7, lambda: 1 // 0])
def test_a_plain_function_within_its_time_gives_what_it_gives(body: Any) -> None:
    def handler(ctx: SyncDurableContext) -> Any:
        try:
            return ctx.step("s", body, config=timed(60))
        except StepError as error:
            return error.error_type

    assert Trial(handler).invoke() in (Returned(7), Returned("ZeroDivisionError"))


def test_a_plain_function_that_waits_for_a_thread_is_taken_back_when_it_is_cancelled() -> None:
    gone = threading.Event()
    ran: list[int] = []

    async def handler(ctx: DurableContext) -> Any:
        blocked = [ctx.step("b", gone.wait) for _ in range(64)]
        for _ in range(5):
            await asyncio.sleep(0)
        waiting = ctx.step("w", lambda: ran.append(1))
        try:
            await asyncio.wait_for(waiting, 0.01)
        except TimeoutError:
            gone.set()
        for future in blocked:
            await future
        return "done"

    with Messages.of("durably") as messages:
        assert Trial(handler, "pushing").invoke() == Returned("done")

    assert ran == []
    assert messages.records == []


# What they may log


def test_the_logger_of_a_step_carries_the_operation_and_the_attempt() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.step("s", lambda: current_step().logger.warning("from %s", "a step", extra={"a": 1}))

    with Messages.of("the handler") as messages:
        Trial(handler).invoke()

    (record,) = messages.records
    assert record.message == "from a step"
    fields = {name: getattr(record, name) for name in FIELDS}
    assert fields == {
        "operationName": "s",
        "operationId": "c4ca4238a0b92382",
        "parentId": None,
        "attempt": 1,
        "a": 1,
    }


FIELDS = ("operationName", "operationId", "parentId", "attempt", "a")


def test_a_replay_does_not_log_again_unless_it_is_told_to() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.logger.warning("1")
        ctx.logger.with_mode(mode_aware=False).warning("always")
        ctx.step("s", lambda: current_step().logger.warning("in a step"))
        ctx.logger.warning("2")
        ctx.run_in_child_context("c", lambda child: child.logger.warning("in a child"))
        ctx.wait("w", 1)
        ctx.logger.warning("3")

    trial = Trial(handler)
    with Messages.of("the handler") as first:
        trial.invoke()
    trial.backend.pass_time()
    with Messages.of("the handler") as second:
        trial.invoke()

    assert [record.message for record in first.records] == [
        "1",
        "always",
        "in a step",
        "2",
        "in a child",
    ]
    assert [record.message for record in second.records] == ["always", "3"]
    assert first.records[-1].operationName == "c"  # type: ignore[attr-defined]  # a field of ours


def test_a_logger_keeps_to_the_level_of_the_one_it_writes_to() -> None:
    def handler(ctx: SyncDurableContext) -> Any:
        return [ctx.logger.isEnabledFor(logging.DEBUG), ctx.logger.isEnabledFor(logging.ERROR)]

    assert Trial(handler).invoke() == Returned([False, True])
