"""How an invocation of a `def` handler ends when something breaks."""

import threading
from contextlib import suppress
from typing import Any

import pytest

from durably import StepConfig, SyncDurableContext
from durably.config import ChildConfig, WaitForConditionConfig
from durably.drivers.futures import Broken, Returned, Suspended
from durably.drivers.threads import ThreadRun
from durably.errors import (
    CheckpointUnrecoverableExecutionError,
    CheckpointUnrecoverableInvocationError,
    ContextUsageError,
    InvalidParameterValueException,
    NonDeterministicExecutionError,
    RetryableSerdesError,
    StepError,
    TerminationReason,
    UnrecoverableExecutionError,
    UnrecoverableInvocationError,
)
from durably.retries import RetryDecision
from durably.serdes import JsonSerdes
from durably.wire.api import CheckpointRequest
from durably.wire.operation import OperationType
from durably.wire.update import OperationAction, OperationUpdate
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Trial, without_token

EVERY_CLIENT = pytest.mark.parametrize("client", ["at once", "blocking"])
NEVER: StepConfig[Any] = StepConfig(retry_strategy=must_not_run)


def one() -> int:
    return 1


def fail() -> None:
    raise ValueError("no")


class Failing:
    def __init__(self, error: Exception, action: str) -> None:
        self.error = error
        self.action = action

    def __call__(self, request: CheckpointRequest) -> None:
        if any(update.action == self.action for update in request.updates):
            raise self.error


@EVERY_CLIENT
@pytest.mark.parametrize("action", ["START", "SUCCEED"])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidParameterValueException("no such id"), CheckpointUnrecoverableExecutionError),
        (OSError("unplugged"), CheckpointUnrecoverableInvocationError),
    ],
)
def test_a_refused_checkpoint_breaks_the_invocation_and_not_the_handlers_code(
    client: str, error: Exception, kind: type[Exception], action: str
) -> None:
    def handler(ctx: SyncDurableContext) -> str:
        try:
            ctx.step("s", one)
            ctx.wait("w", 100)
        except Exception:  # noqa: BLE001 - what a careless handler does
            return "caught"
        return "went on"

    trial = Trial(handler, client)
    trial.backend.before = Failing(error, action)

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert type(ending.error) is kind


def test_a_result_is_not_given_when_the_last_updates_are_refused() -> None:
    entered = threading.Event()

    def handler(ctx: SyncDurableContext) -> str:
        with suppress(ContextUsageError):
            ctx.run_in_child_context("c", lambda _: ctx.step("s", must_not_run))
        entered.set()
        return "done"

    trial = Trial(handler, "blocking")

    def refuse(request: CheckpointRequest) -> None:
        entered.wait()
        raise OSError("unplugged")

    trial.backend.before = refuse

    assert isinstance(trial.invoke(), Broken)


@EVERY_CLIENT
def test_a_reply_without_a_token_ends_the_invocation_as_pending(client: str) -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.step("s", one, config=StepConfig())
        ctx.wait("next", 100)

    trial = Trial(handler, client)
    trial.backend.after = lambda response: (
        without_token(response) if "SUCCEED s" in trial.backend.sent else response
    )

    assert trial.invoke() == Suspended(TerminationReason.OPERATION_TERMINATED)
    assert trial.backend.sent == ["START s", "SUCCEED s"]


def test_a_result_is_not_given_when_the_authority_went_meanwhile() -> None:
    def handler(ctx: SyncDurableContext) -> str:
        with suppress(ContextUsageError):
            ctx.run_in_child_context("c", lambda _: ctx.step("s", must_not_run))
        entered.set()
        return "done"

    entered = threading.Event()
    trial = Trial(handler, "blocking")
    trial.backend.before = lambda _: None if entered.wait() else pytest.fail("it never came")
    trial.backend.after = without_token

    assert trial.invoke() == Suspended(TerminationReason.OPERATION_TERMINATED)


CLOSING = OperationUpdate(
    id="end", type=OperationType.EXECUTION, action=OperationAction.SUCCEED, payload="1"
)


@EVERY_CLIENT
def test_the_closing_update_is_sent_after_the_handler_has_ended(client: str) -> None:
    seen: list[CheckpointRequest] = []
    trial = Trial(lambda ctx: ctx.step("s", one), client)
    trial.after_run = lambda run: run.persist_last(CLOSING)

    def refuse_the_last(request: CheckpointRequest) -> None:
        if request.updates == (CLOSING,):
            seen.append(request)
            raise OSError("unplugged")

    trial.backend.before = refuse_the_last

    with pytest.raises(CheckpointUnrecoverableInvocationError):
        trial.invoke()
    assert len(seen) == 1


@pytest.mark.parametrize("where", ["handler", "step", "child"])
@pytest.mark.parametrize(
    "error",
    [
        UnrecoverableExecutionError(TerminationReason.CUSTOM, "the end"),
        UnrecoverableInvocationError(TerminationReason.CUSTOM, "again"),
    ],
)
def test_user_code_may_break_off_from_anywhere(where: str, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    def handler(ctx: SyncDurableContext) -> str:
        try:
            if where == "step":
                ctx.step("s", fail, config=NEVER)
            elif where == "child":
                ctx.run_in_child_context("c", fail)
        except Exception:  # noqa: BLE001 - it must not arrive here
            return "caught"
        raise error

    assert Trial(handler).invoke() == Broken(error)  # type: ignore[arg-type]  # one of the two


@pytest.mark.parametrize(
    "call",
    [
        lambda ctx, busy: ctx.step("s", one, config=StepConfig(serdes=busy)),
        lambda ctx, busy: ctx.run_in_child_context("c", id, config=ChildConfig(serdes=busy)),
        lambda ctx, busy: ctx.wait_for_condition(
            "w",
            lambda state: state,
            WaitForConditionConfig(wait_strategy=must_not_run, initial_state=1, serdes=busy),
        ),
    ],
)
def test_a_serdes_that_cannot_work_now_has_the_invocation_tried_again(call: Any) -> None:
    class Busy(JsonSerdes):
        def serialize(self, value: object, context: object, /) -> str:
            raise RetryableSerdesError

    ending = Trial(lambda ctx: call(ctx, Busy())).invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, UnrecoverableInvocationError)


@pytest.mark.parametrize("crash", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["handler", "step", "step with a timeout", "branch"])
def test_an_interruption_of_the_process_is_a_crash_and_no_failure(
    where: str, crash: type[BaseException]
) -> None:
    def interrupt(*_: object) -> None:
        raise crash

    def handler(ctx: SyncDurableContext) -> None:
        if where == "handler":
            raise crash
        if where == "step":
            ctx.step("s", interrupt, config=NEVER)
        elif where == "step with a timeout":
            ctx.step("s", interrupt, config=StepConfig(retry_strategy=must_not_run, timeout=60))
        ctx.map("m", [1, 2], interrupt)

    trial = Trial(handler)

    if crash is SystemExit:  # it ends the invocation, and not the worker
        ending = trial.invoke()
        assert isinstance(ending, Broken)
        assert isinstance(ending.error, UnrecoverableInvocationError)
    else:
        with pytest.raises(crash):
            trial.invoke()

    assert not [sent for sent in trial.backend.sent if not sent.startswith("START")]


def test_an_interruption_of_whoever_waits_for_the_invocation_unwinds_it() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        interrupt_main.set()
        with suppress(StepError):
            ctx.step("s", lambda: released.wait(5))
        ctx.step("next", must_not_run)

    interrupt_main, released = threading.Event(), threading.Event()
    trial = Trial(handler, "blocking")

    def interrupt(request: CheckpointRequest) -> None:
        interrupt_main.wait()

    trial.backend.before = interrupt
    trial.on_run = lambda run: InterruptedWait.into(run, released)

    with pytest.raises(KeyboardInterrupt):
        trial.invoke()

    assert "START next" not in trial.backend.sent


class InterruptedWait(threading.Condition):
    """A condition on which the first to wait is interrupted; it tells when the run is ending."""

    is_interrupted = False
    run: ThreadRun
    released: threading.Event

    @classmethod
    def into(cls, run: ThreadRun, released: threading.Event) -> None:
        condition = cls(run.lock)
        condition.run, condition.released = run, released
        run.changed = condition

    def wait(self, timeout: float | None = None) -> bool:
        if threading.current_thread() is threading.main_thread() and not self.is_interrupted:
            self.is_interrupted = True
            raise KeyboardInterrupt
        return super().wait(timeout)

    def notify_all(self) -> None:
        super().notify_all()
        if self.run.is_ending:
            self.released.set()


def test_an_operation_that_is_not_the_recorded_one_fails_the_execution_and_runs_nothing() -> None:
    def handler(ctx: SyncDurableContext) -> str:
        try:
            ctx.step("changed" if is_changed else "s", must_not_run if is_changed else one)
            ctx.wait("w", 100)
        except Exception:  # noqa: BLE001 - what a careless handler does
            return "caught"
        return "went on"

    is_changed: list[int] = []
    trial = Trial(handler)
    trial.invoke()
    is_changed.append(1)

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, NonDeterministicExecutionError)


def test_the_time_of_a_context_goes_on_with_an_operation_that_failed() -> None:
    def handler(ctx: SyncDurableContext) -> Any:
        before = ctx.now()
        with suppress(StepError):
            ctx.step("s", fail, config=StepConfig(retry_strategy=lambda *_: RetryDecision(False)))  # noqa: FBT003 - the decision is its first field
        return (ctx.now() - before).total_seconds()

    trial = Trial(handler)
    trial.backend.clock.advance(7)

    assert trial.invoke() == Returned(7)


def test_a_failure_after_the_handler_has_returned_is_noticed_by_the_drain() -> None:
    def handler(ctx: SyncDurableContext) -> str:
        with suppress(ContextUsageError):
            ctx.run_in_child_context("c", lambda _: ctx.step("s", must_not_run))
        return "done"

    def fail_late(request: CheckpointRequest) -> None:
        while not runs[0].is_ending:
            threading.Event().wait(0.001)
        raise OSError("unplugged")

    runs: list[Any] = []
    trial = Trial(handler, "blocking")
    trial.on_run = runs.append
    trial.backend.before = fail_late

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, CheckpointUnrecoverableInvocationError)


@pytest.mark.parametrize("has_news", [False, True])
def test_what_is_on_its_way_is_waited_for_before_an_invocation_stops(*, has_news: bool) -> None:
    def handler(ctx: SyncDurableContext) -> Any:
        callback = ctx.create_callback("cb")
        if not is_second:
            return callback.result()
        with suppress(ContextUsageError):
            ctx.run_in_child_context("new", lambda _: ctx.step("s", must_not_run))
        about_to_wait.set()
        return callback.result()

    def answer_late(request: CheckpointRequest) -> None:
        if is_second:
            about_to_wait.wait()
            threading.Event().wait(0.02)
            if has_news:
                trial.backend.memory.complete_callback(trial.backend.operation("cb").id, "answer")

    about_to_wait = threading.Event()
    is_second: list[int] = []
    trial = Trial(handler, "blocking")
    waiting = Suspended(TerminationReason.CALLBACK_PENDING)
    assert trial.invoke() == waiting
    is_second.append(1)
    trial.backend.before = answer_late

    assert trial.invoke() == (Returned("answer") if has_news else waiting)
    assert trial.backend.sent == ["START cb", "START new"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_reply_after_the_end_changes_nothing(*, fails: bool) -> None:
    def handler(ctx: SyncDurableContext) -> None:
        with suppress(ContextUsageError):
            ctx.run_in_child_context("c", lambda _: ctx.step("s", must_not_run))
        raise UnrecoverableInvocationError(TerminationReason.CUSTOM, "again")

    def hold(request: CheckpointRequest) -> None:
        released.wait()
        if fails:
            raise OSError("unplugged")

    released = threading.Event()
    runs: list[Any] = []
    trial = Trial(handler, "blocking")
    trial.on_run = runs.append
    trial.backend.before = hold
    before = set(threading.enumerate())
    with suppress(AssertionError):  # a request is in flight, and that is the point
        trial.invoke()

    released.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()

    assert isinstance(trial.ending, Broken)
    assert runs[0].journal.changes == 0
