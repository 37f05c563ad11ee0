"""Branches in threads that sleep: no change is lost, and none of them runs twice."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from durably import (
    CompletionConfig,
    ParallelConfig,
    SyncDurableContext,
)
from durably.clients.in_memory import ARN
from durably.core.journal import Journal
from durably.drivers.futures import Returned, Suspended
from durably.drivers.nursery import Nursery
from durably.drivers.threads import ThreadRun
from durably.errors import ContextUsageError, TerminationReason
from durably.wire.api import CheckpointRequest
from durably.wire.operation import Operation
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Messages, Trial

EVERY_CLIENT = pytest.mark.parametrize("client", ["at once", "blocking"])
WAITING = Suspended(TerminationReason.WAIT_SCHEDULED)
FIRST = CompletionConfig(min_successful=1)


@pytest.fixture
def messages() -> Iterator[Messages]:
    with Messages.of("durably") as messages:
        yield messages


class Run:
    """The driver of the invocation that is under way."""

    driver: ThreadRun

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        trial.on_run = self.take

    def take(self, driver: ThreadRun) -> None:
        self.driver = driver

    def let_time_pass(self) -> None:
        """Let the earliest wait end, and have the driver told at once."""
        self.trial.backend.pass_time()
        self.driver.merge(self.trial.backend.memory.operations())


def noted(ran: list[str], name: str) -> str:
    ran.append(name)
    return "done"


def test_a_change_while_a_branch_unwinds_is_not_lost() -> None:
    def item(ctx: SyncDurableContext, number: int) -> int:
        try:
            ctx.wait("w", 100)
        except BaseException:
            run.let_time_pass()
            raise
        return number

    trial = Trial(lambda ctx: ctx.map("m", [7], item).results())
    run = Run(trial)

    assert trial.invoke() == Returned([7])


def test_a_change_while_the_branches_of_a_branch_are_given_up_is_not_lost_nor_runs_them_twice() -> (
    None
):
    ran: list[str] = []

    def inner(ctx: SyncDurableContext) -> str:
        ctx.wait("w", 100)
        return ctx.step("once", lambda: noted(ran, "once"))

    def outer(ctx: SyncDurableContext) -> Any:
        try:
            return ctx.parallel("inner", [inner]).results()
        except BaseException:
            run.let_time_pass()
            raise

    trial = Trial(lambda ctx: ctx.parallel("outer", [outer]).results())
    run = Run(trial)

    assert trial.invoke() == Returned([["done"]])
    assert ran == ["once"]


class Lingering:
    """The body of a step that stays until it is entered again, or for a moment."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.entered_again = threading.Event()
        self.entries = 0

    def __call__(self) -> str:
        self.entries += 1
        (self.entered_again if self.entered.is_set() else self.entered).set()
        self.entered_again.wait(0.2)
        return "done"


def test_the_branches_of_a_branch_are_given_up_before_anything_can_wake_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def inner(ctx: SyncDurableContext) -> str:
        ctx.wait("w", 100)
        return ctx.step("once", body)

    def outer(ctx: SyncDurableContext) -> Any:
        return ctx.parallel("inner", [inner]).results()

    def drop(nursery: Nursery) -> None:
        """Have a change come from elsewhere at the last moment; it waits if we hold the lock."""
        if not wakers and trial.backend.sent[-1:] == ["START w"]:
            wakers.append(threading.Thread(target=run.let_time_pass))
            wakers[0].start()
            wakers[0].join(0.1)
            body.entered.wait(0.1)
        original(nursery)

    body = Lingering()
    wakers: list[threading.Thread] = []
    original = Nursery.drop
    monkeypatch.setattr(Nursery, "drop", drop)
    trial = Trial(lambda ctx: ctx.parallel("outer", [outer]).results())
    trial.after_run = lambda _: wakers[0].join()
    run = Run(trial)

    ending = trial.invoke()
    if ending == WAITING:  # the change came when all had been unwound: time has passed already
        ending = trial.invoke()

    assert ending == Returned([["done"]])
    assert body.entries == 1


def test_a_sleeping_branch_that_was_given_up_is_not_woken() -> None:
    entered: list[int] = []

    def asleep(ctx: SyncDurableContext) -> None:
        entered.append(1)
        ctx.wait("w", 100)

    def quick(ctx: SyncDurableContext) -> None:
        while not run.driver.sleepers._by_record:  # until the other one sleeps
            threading.Event().wait(0.001)

    def handler(ctx: SyncDurableContext) -> None:
        ctx.parallel("p", [asleep, quick], ParallelConfig(completion_config=FIRST))
        ctx.step("later", lambda: run.let_time_pass())  # noqa: PLW0108 - it is set below
        ctx.map("m", [1, 2, 3], lambda child, item: item)

    trial = Trial(handler)
    run = Run(trial)

    assert trial.invoke() == Returned(None)
    assert entered == [1]


def test_a_change_between_the_look_and_the_sleep_is_not_lost() -> None:
    class Changing(Journal):
        def find(self, operation_id: str) -> Operation | None:
            seen = super().find(operation_id)
            if is_replay and not changed and seen is not None and seen.name == "w":
                changed.append(1)
                run.let_time_pass()
            return seen

    is_replay: list[int] = []
    changed: list[int] = []
    trial = Trial(lambda ctx: ctx.wait("w", 100))
    trial.journal = lambda: Changing(ARN, trial.backend.memory.operations())  # type: ignore[method-assign]
    run = Run(trial)
    assert trial.invoke() == WAITING
    is_replay.append(1)

    assert trial.invoke() == Returned(None)


def test_nothing_is_recorded_in_a_batch_that_misuse_has_ended() -> None:
    is_over, tried = threading.Event(), threading.Event()

    def wrong(_: SyncDurableContext) -> None:
        started.wait(5)
        contexts[0].step("s", must_not_run)

    def slow(ctx: SyncDurableContext) -> None:
        try:
            ctx.step("slow", wait)
        finally:
            tried.set()

    def wait() -> None:
        started.set()
        is_over.wait(5)

    def handler(ctx: SyncDurableContext) -> None:
        contexts.append(ctx)
        with suppress(ContextUsageError):
            ctx.parallel("p", [wrong, slow])
        is_over.set()
        ctx.step("next", lambda: tried.wait(5))

    started = threading.Event()
    contexts: list[SyncDurableContext] = []
    trial = Trial(handler)

    assert trial.invoke() == Returned(None)
    assert tried.is_set()
    assert "SUCCEED slow" not in trial.backend.sent


def test_a_woken_branch_of_a_sleeping_branch_runs_once_and_in_one_thread() -> None:
    release, slept = threading.Event(), threading.Event()
    ran: list[str] = []

    def inner(ctx: SyncDurableContext) -> str:
        ctx.wait("w", 100)
        return ctx.step("once", lambda: noted(ran, "once"))

    def outer(ctx: SyncDurableContext) -> Any:
        try:
            return ctx.parallel("inner", [inner, inner]).results()
        finally:
            slept.set()

    def busy(ctx: SyncDurableContext) -> str:
        def body() -> str:
            slept.wait(5)
            run.let_time_pass()
            return "busy"

        return ctx.step("busy", body)

    trial = Trial(lambda ctx: ctx.parallel("outer", [outer, busy]).results(), "blocking")
    run = Run(trial)
    ending = trial.to_end()

    assert ending == Returned([["done", "done"], "busy"])
    assert ran == ["once", "once"]
    assert not release.is_set()


@EVERY_CLIENT
def test_a_backend_that_does_not_push_is_asked_while_another_branch_runs(client: str) -> None:
    woken = threading.Event()

    def sleep(ctx: SyncDurableContext) -> str:
        ctx.wait("w", 1)
        woken.set()
        return "woken"

    def slow(ctx: SyncDurableContext) -> str:
        return ctx.step("slow", lambda: "slow" if woken.wait(5) else "in vain")

    trial = Trial(lambda ctx: ctx.parallel("p", [sleep, slow]).results(), client)

    def let_time_pass(request: CheckpointRequest) -> None:
        if not request.updates:
            trial.backend.clock.advance(1)

    trial.backend.before = let_time_pass
    # The clock of the driver has passed the end of the wait, so it looks at once.
    trial.changes["clock"] = Ahead(trial)

    assert trial.invoke() == Returned(["woken", "slow"])


@EVERY_CLIENT
def test_nobody_is_asked_for_what_would_come_after_the_end_of_the_invocation(client: str) -> None:
    considered = threading.Event()

    def left() -> float:
        if threading.current_thread().name == "durably handler":
            considered.set()
        return -1.0

    def slow(ctx: SyncDurableContext) -> bool:
        return ctx.step("slow", considered.wait, 5)

    def sleep(ctx: SyncDurableContext) -> None:
        ctx.wait("w", 1)

    first = ParallelConfig(completion_config=FIRST)
    trial = Trial(lambda ctx: ctx.parallel("p", [sleep, slow], first).results(), client)
    trial.changes |= {"clock": Ahead(trial), "time_left": left}

    assert trial.invoke() == Returned([True])
    assert all(request.updates for request in trial.backend.requests)


class Ahead:
    """A clock that is far ahead of the backend's."""

    def __init__(self, trial: Trial) -> None:
        self.clock = trial.backend.clock

    def now(self) -> Any:
        return self.clock.now().replace(year=2030)

    def monotonic(self) -> float:
        return self.clock.monotonic()


def test_two_branches_may_wait_for_one_callback() -> None:
    def handler(ctx: SyncDurableContext) -> Any:
        callback = ctx.create_callback("cb")

        def wait(_: SyncDurableContext) -> Any:
            return callback.result()

        def answer(child: SyncDurableContext) -> None:
            child.step("answer", lambda: complete(callback.callback_id))

        return ctx.parallel("p", [wait, wait, answer]).results()

    def complete(callback_id: str) -> None:
        trial.backend.memory.complete_callback(callback_id, "answer")

    trial = Trial(handler)

    assert trial.invoke() == Returned(["answer", "answer", None])
