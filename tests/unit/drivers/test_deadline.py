"""The end of an invocation, which a step must not run into unnoticed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from durably import (
    DurableContext,
    StepConfig,
    StepSemantics,
    SyncDurableContext,
    WaitForConditionConfig,
    WaitForConditionDecision,
)
from durably.drivers.deadline import time_left
from durably.drivers.futures import Broken, Returned, Suspended
from durably.errors import (
    StepError,
    TerminationReason,
    UnrecoverableInvocationError,
)
from durably.retries import RetryDecision, RetryPresets
from durably.testing.clock import ManualClock
from durably.wire.operation import OperationStatus
from tests.unit.drivers.support import Trial

FLAVOURS = ["coroutine", "function in a thread", "def"]


def again(error: Exception, attempts_made: int) -> RetryDecision:
    return RetryDecision(should_retry=True, delay=1)


TrialOf = Callable[..., Trial]


@pytest.fixture
def trial_of(request: pytest.FixtureRequest) -> TrialOf:
    return partial(_trial_of, request)


def join_step_threads() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("durably step"):
            thread.join()


def _trial_of(
    request: pytest.FixtureRequest, flavour: str, config: StepConfig[Any], left: float = 0.01
) -> Trial:
    """Try a handler whose one step never ends; *left* seconds are left for it."""
    gone = threading.Event()

    async def hang() -> None:
        await asyncio.Event().wait()

    async def async_handler(ctx: DurableContext) -> Any:
        body: Any = hang if flavour == "coroutine" else gone.wait
        try:
            return await ctx.step("s", body, config=config)
        except StepError as error:
            return error.error_type

    def handler(ctx: SyncDurableContext) -> Any:
        try:
            return ctx.step("s", gone.wait, config=config)
        except StepError as error:
            return error.error_type

    def end_what_is_left(_: object) -> None:
        gone.set()
        join_step_threads()

    trial = Trial(handler if flavour == "def" else async_handler, time_left=lambda: left)
    trial.after_run = end_what_is_left
    request.addfinalizer(lambda: end_what_is_left(None))
    return trial


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_step_that_still_runs_shortly_before_the_end_is_a_failed_attempt(
    trial_of: TrialOf, flavour: str
) -> None:
    trial = trial_of(flavour, StepConfig(retry_strategy=again))

    assert trial.invoke() == Suspended(TerminationReason.RETRY_SCHEDULED)

    [_, step] = trial.backend.memory.operations()
    assert step.status is OperationStatus.PENDING
    assert step.step_details is not None
    assert step.step_details.attempt == 1
    assert step.step_details.error is not None
    assert step.step_details.error.error_type == "StepInterruptedError"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_without_a_retry_the_next_invocation_runs_the_same_attempt(
    trial_of: TrialOf, flavour: str
) -> None:
    trial = trial_of(flavour, StepConfig(retry_strategy=RetryPresets.none()))

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, UnrecoverableInvocationError)
    [_, step] = trial.backend.memory.operations()
    assert step.status is OperationStatus.STARTED


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_without_a_retry_an_attempt_that_may_run_only_once_has_failed(
    trial_of: TrialOf, flavour: str
) -> None:
    once = StepConfig[Any](
        retry_strategy=RetryPresets.none(), semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY
    )
    trial = trial_of(flavour, once)

    assert trial.invoke() == Returned("StepInterruptedError")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_time_of_its_own_that_ends_before_is_its_own(trial_of: TrialOf, flavour: str) -> None:
    trial = trial_of(
        flavour, StepConfig(retry_strategy=RetryPresets.none(), timeout=0.01), left=60.0
    )

    assert trial.invoke() == Returned("StepTimeoutError")


@pytest.mark.parametrize("left", [0.0, -1.0, 60.0])
def test_what_begins_at_the_very_end_gets_what_is_left(left: float) -> None:
    async def handler(ctx: DurableContext) -> Any:
        return await ctx.step("s", lambda: 7)

    assert Trial(handler, time_left=lambda: left).invoke() == Returned(7)


def test_a_check_is_not_cut_off_because_it_could_not_be_tried_again() -> None:
    def enough(state: int, attempt: int) -> WaitForConditionDecision:
        return WaitForConditionDecision(should_continue=False)

    async def check(state: int) -> int:
        await asyncio.sleep(0)
        return state + 1

    async def handler(ctx: DurableContext) -> Any:
        config = WaitForConditionConfig(initial_state=1, wait_strategy=enough)
        return await ctx.wait_for_condition("c", check, config=config)

    assert Trial(handler, time_left=lambda: 1e-9).invoke() == Returned(2)


@pytest.mark.parametrize(
    ("milliseconds", "left"), [(60_000, 59.0), (3_000, 2.7), (0, 0.0), (2_500.0, 2.25)]
)
def test_a_second_or_a_tenth_of_the_time_is_kept(milliseconds: float, left: float) -> None:
    clock = ManualClock()
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: milliseconds)

    found = time_left(clock, context)

    assert found is not None
    assert found() == pytest.approx(left)
    clock.advance(1)
    assert found() == pytest.approx(left - 1)


@pytest.mark.parametrize(
    "context",
    [None, object(), SimpleNamespace(get_remaining_time_in_millis=lambda: "soon")],
)
def test_where_nobody_knows_the_end_nothing_is_cut_off(context: object) -> None:
    assert time_left(ManualClock(), context) is None
