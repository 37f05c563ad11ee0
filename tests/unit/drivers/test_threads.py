"""An invocation of a `def` handler: what runs where, when it stops, and what is left of it."""

import contextvars
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from durably import StepConfig, SyncDurableContext
from durably.drivers.futures import Raised, Returned, Suspended
from durably.errors import (
    ContextUsageError,
    TerminationReason,
)
from durably.retries import RetryDecision
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Messages, Trial

EVERY_CLIENT = pytest.mark.parametrize("client", ["at once", "blocking"])
WAITING = Suspended(TerminationReason.WAIT_SCHEDULED)
NEVER: StepConfig[Any] = StepConfig(retry_strategy=must_not_run)


@pytest.fixture
def messages() -> Iterator[Messages]:
    with Messages.of("durably") as messages:
        yield messages


def one() -> int:
    return 1


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("durably ")}


# What runs where


@EVERY_CLIENT
def test_operations_block_and_give_their_values_in_one_thread(client: str) -> None:
    def handler(ctx: SyncDurableContext) -> Any:
        here = threading.get_ident()
        same = ctx.step("s", lambda: threading.get_ident() == here)
        child = ctx.run_in_child_context("c", lambda child: child.step("t", one))
        return [same, child, threads() - {"durably handler", "durably checkpoints"}]

    trial = Trial(handler, client)

    assert trial.invoke() == Returned([True, 1, set()])
    assert trial.backend.sent == [
        "START s",
        "SUCCEED s",
        "START c",
        "START t",
        "SUCCEED t",
        "SUCCEED c",
    ]


def test_what_is_recorded_costs_no_thread_and_no_request() -> None:
    def handler(ctx: SyncDurableContext) -> Any:
        batch = ctx.map("m", [1, 2], lambda child, item: child.step("s", one))
        parallel = ctx.parallel("p", [lambda child: child.step("s", one)])
        return [batch.results(), parallel.results(), threads()]

    trial = Trial(handler, "blocking")
    trial.invoke()
    requests = len(trial.backend.requests)

    assert trial.invoke() == Returned([[1, 1], [1], {"durably handler"}])
    assert len(trial.backend.requests) == requests


def test_a_coroutine_function_is_a_step_too() -> None:
    async def body() -> str:
        return "awaited"

    def handler(ctx: SyncDurableContext) -> Any:
        return [ctx.step("a", body), ctx.step("b", lambda: body())]  # noqa: PLW0108 - no function

    assert Trial(handler).invoke() == Returned(["awaited", "awaited"])


def test_the_handler_has_the_callers_context_variables() -> None:
    def handler(ctx: SyncDurableContext) -> Any:
        return [variable.get(), ctx.step("s", variable.get)]

    variable.set("the caller's")

    assert Trial(handler).invoke() == Returned(["the caller's"] * 2)


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


# When it stops


@EVERY_CLIENT
def test_a_handler_that_waits_is_unwound_and_goes_on_in_the_next_invocation(client: str) -> None:
    def handler(ctx: SyncDurableContext) -> int:
        ctx.wait("a", 100)
        ctx.wait("b", 100)
        return ctx.step("s", one)

    trial = Trial(handler, client)

    assert trial.invoke() == WAITING
    trial.backend.pass_time()
    assert trial.to_end() == Returned(1)
    assert trial.backend.sent == ["START a", "START b", "START s", "SUCCEED s"]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda ctx: ctx.create_callback("cb").result(), TerminationReason.CALLBACK_PENDING),
        (
            lambda ctx: ctx.step("s", fail, config=StepConfig(retry_strategy=retry)),
            TerminationReason.RETRY_SCHEDULED,
        ),
    ],
)
def test_the_reason_is_told(call: Any, reason: TerminationReason) -> None:
    assert Trial(lambda ctx: call(ctx)).invoke() == Suspended(reason)  # noqa: PLW0108 - not ours


def fail() -> None:
    raise ValueError("no")


def retry(error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision(should_retry=True)


@EVERY_CLIENT
def test_code_that_catches_the_signal_and_goes_on_still_ends_pending(client: str) -> None:
    def handler(ctx: SyncDurableContext) -> str:
        with suppress(BaseException):
            ctx.wait("w", 100)
        try:
            ctx.step("after", must_not_run)
        except BaseException:  # noqa: BLE001 - what a careless handler does
            return "swallowed"
        return "ran"

    trial = Trial(handler, client)

    assert trial.invoke() == WAITING
    assert trial.backend.sent == ["START w"]


def test_finally_cannot_checkpoint() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        try:
            ctx.wait("w", 100)
        finally:
            ctx.step("clean up", must_not_run)

    trial = Trial(handler)

    assert trial.invoke() == WAITING
    assert trial.backend.sent == ["START w"]


def test_a_handler_that_swallows_a_hundred_signals_loses_its_token(messages: Messages) -> None:
    gone = threading.Event()
    swallowed: list[int] = []

    def handler(ctx: SyncDurableContext) -> None:
        while not gone.is_set():
            try:
                ctx.wait("w", 100)
            except BaseException:  # noqa: BLE001 - what a careless handler does
                swallowed.append(1)

    trial = Trial(handler, unwind_seconds=60)
    ending = leaked(trial, gone)

    assert ending == WAITING
    assert len(swallowed) >= 100
    assert "the handler of in-memory/test does not unwind" in messages.records[0].message


def leaked(trial: Trial, gone: threading.Event) -> Any:
    """Make an invocation that leaves its handler behind, and let that go then."""
    before = set(threading.enumerate())
    with suppress(AssertionError):
        trial.invoke()
    left = set(threading.enumerate()) - before
    gone.set()
    for thread in left:
        thread.join()
    assert len(left) == 1
    return trial.ending


def test_a_handler_that_does_not_unwind_in_time_is_left_behind(messages: Messages) -> None:
    gone = threading.Event()

    def handler(ctx: SyncDurableContext) -> None:
        try:
            ctx.wait("w", 100)
        finally:
            gone.wait()

    assert leaked(Trial(handler, unwind_seconds=0.01), gone) == WAITING
    assert "the handler of in-memory/test does not unwind" in messages.records[0].message


# Where operations may be called


def refused(ending: Any) -> str:
    assert isinstance(ending, Raised)
    assert isinstance(ending.error, ContextUsageError)
    return str(ending.error)


def test_an_operation_inside_a_step_is_refused_and_no_retry_strategy_is_asked() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.step("outer", lambda: ctx.step("inner", must_not_run), config=NEVER)

    trial = Trial(handler)

    assert "'inner' was called inside step outer" in refused(trial.invoke())
    assert trial.backend.sent == ["START outer"]


def test_an_operation_inside_a_step_with_a_timeout_is_refused_too() -> None:
    config: StepConfig[Any] = StepConfig(retry_strategy=must_not_run, timeout=60)

    def handler(ctx: SyncDurableContext) -> None:
        ctx.step("outer", lambda: ctx.step("inner", must_not_run), config=config)

    assert "inside step outer" in refused(Trial(handler).invoke())


def test_waiting_for_a_callback_inside_a_step_is_refused() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        callback = ctx.create_callback("cb")
        ctx.step("outer", callback.result, config=NEVER)

    assert "inside step outer" in refused(Trial(handler).invoke())


@pytest.mark.parametrize("with_context", [True, False])
def test_an_operation_from_a_thread_of_the_users_is_refused(*, with_context: bool) -> None:
    def handler(ctx: SyncDurableContext) -> None:
        callback = ctx.create_callback("cb")
        caught: list[ContextUsageError] = []

        def elsewhere() -> None:
            for call in (callback.result, lambda: ctx.step("s", must_not_run)):
                try:
                    call()
                except ContextUsageError as error:
                    caught.append(error)

        run = contextvars.copy_context().run if with_context else lambda function: function()
        thread = threading.Thread(target=run, args=(elsewhere,))
        thread.start()
        thread.join()
        assert len(caught) == 2
        raise caught[0]

    trial = Trial(handler)
    refused(trial.invoke())

    assert trial.backend.sent == ["START cb"]


def test_the_context_around_a_child_is_refused_inside_it() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.run_in_child_context("child", lambda _: ctx.step("s", must_not_run))

    trial = Trial(handler)

    assert "on another context" in refused(trial.invoke())
    assert trial.backend.sent == ["START child"]


def test_a_context_is_refused_after_its_body() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        kept: list[SyncDurableContext] = []
        ctx.run_in_child_context("child", kept.append)
        kept[0].step("s", must_not_run)

    assert "another context" in refused(Trial(handler).invoke())


def test_misuse_in_a_branch_ends_the_batch_and_is_no_failed_item() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.parallel("p", [lambda _: ctx.step("s", must_not_run), lambda child: child.wait("w", 9)])

    trial = Trial(handler)

    assert "on another context" in refused(trial.invoke())
    assert "SUCCEED p" not in trial.backend.sent
