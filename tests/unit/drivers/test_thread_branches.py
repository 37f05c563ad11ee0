"""Branches in threads: who runs, what user code may do, and what is recorded of whom."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from durably import (
    CompletionConfig,
    MapConfig,
    NestingType,
    ParallelConfig,
    SyncDurableContext,
)
from durably.core.scope import Scope
from durably.drivers.crew import MAX_BRANCH_THREADS
from durably.drivers.futures import Broken, Returned, Suspended
from durably.drivers.threads import ThreadRun
from durably.errors import TerminationReason
from durably.wire.api import CheckpointRequest
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


# Who runs


@EVERY_CLIENT
def test_starts_are_recorded_in_order_and_branches_run_beside_each_other(client: str) -> None:
    met = threading.Barrier(8)

    def item(ctx: SyncDurableContext, number: int) -> int:
        return ctx.step("s", lambda: met.wait(5) * 0 + number)

    def handler(ctx: SyncDurableContext) -> Any:
        return ctx.map("m", range(8), item).results()

    trial = Trial(handler, client)

    assert trial.invoke() == Returned(list(range(8)))
    starts = [sent for sent in trial.backend.sent if sent.startswith("START map-item")]
    assert starts == [f"START map-item-{number}" for number in range(8)]


def test_hundreds_of_sleeping_branches_need_few_threads() -> None:
    most: list[int] = []

    def item(ctx: SyncDurableContext, number: int) -> int:
        most.append(threading.active_count())
        ctx.wait("w", 100)
        return number

    def handler(ctx: SyncDurableContext) -> Any:
        return sum(ctx.map("m", range(300), item).results())

    before = threading.active_count()
    trial = Trial(handler)

    assert trial.invoke() == WAITING
    trial.backend.pass_time()
    assert trial.invoke() == Returned(sum(range(300)))
    assert max(most) - before <= MAX_BRANCH_THREADS + 2  # the handler, and who sends


@EVERY_CLIENT
def test_nested_maps_deeper_than_the_bound_on_threads_do_not_deadlock(client: str) -> None:
    depth = MAX_BRANCH_THREADS + 8

    def nest(ctx: SyncDurableContext, left: int) -> int:
        if not left:
            return ctx.step("s", lambda: 1)
        branches: list[Any] = [lambda child: nest(child, left - 1), lambda child: 0]
        return sum(ctx.parallel("p", branches).results())

    assert Trial(lambda ctx: nest(ctx, depth), client).invoke() == Returned(1)


def test_wide_nested_maps_share_the_threads() -> None:
    def inner(ctx: SyncDurableContext, number: int) -> int:
        return ctx.step("s", lambda: number)

    def outer(ctx: SyncDurableContext, number: int) -> int:
        return sum(ctx.map("inner", range(10), inner).results())

    def handler(ctx: SyncDurableContext) -> Any:
        return sum(ctx.map("outer", range(50), outer).results())

    assert Trial(handler, "blocking").invoke() == Returned(50 * 45)


@pytest.mark.parametrize("nesting", list(NestingType))
def test_a_parked_branch_is_run_again_from_its_records(nesting: NestingType) -> None:
    ran: Counter[str] = Counter()

    def item(ctx: SyncDurableContext, number: int) -> int:
        ran["item"] += 1
        ctx.step("before", lambda: ran.update(["before"]))
        ctx.wait("w", 100)
        ctx.step("after", lambda: ran.update(["after"]))
        return number

    def handler(ctx: SyncDurableContext) -> Any:
        return ctx.map("m", [1, 2], item, MapConfig(nesting_type=nesting)).results()

    trial = Trial(handler)

    assert trial.to_end() == Returned([1, 2])
    assert ran == {"item": 4, "before": 2, "after": 2}


# Whatever user code does


@pytest.mark.parametrize("nesting", list(NestingType))
def test_a_branch_that_catches_the_signal_and_goes_on_records_nothing(nesting: NestingType) -> None:
    def item(ctx: SyncDurableContext, number: int) -> int:
        with suppress(BaseException):
            ctx.wait("w", 100)
        with suppress(BaseException):
            ctx.step("after", must_not_run if is_asleep else lambda: 1)
        return number

    def handler(ctx: SyncDurableContext) -> Any:
        return ctx.map("m", [7], item, MapConfig(nesting_type=nesting)).results()

    is_asleep = [1]
    trial = Trial(handler)

    assert trial.invoke() == WAITING
    assert [sent for sent in trial.backend.sent if sent != "START map-item-0"] == [
        "START m",
        "START w",
    ]
    is_asleep.clear()
    trial.backend.pass_time()
    assert trial.invoke() == Returned([7])


def test_finally_in_a_branch_cannot_checkpoint() -> None:
    def item(ctx: SyncDurableContext, number: int) -> None:
        try:
            ctx.wait("w", 100)
        finally:
            ctx.step("clean up", must_not_run)

    trial = Trial(lambda ctx: ctx.map("m", [7], item))

    assert trial.invoke() == WAITING
    assert "START clean up" not in trial.backend.sent


def test_a_branch_that_swallows_a_hundred_signals_loses_the_token(messages: Messages) -> None:
    gone = threading.Event()

    def item(ctx: SyncDurableContext, number: int) -> None:
        while not gone.is_set():
            with suppress(BaseException):
                ctx.wait("w", 100)

    trial = Trial(lambda ctx: ctx.map("m", [7], item))
    before = set(threading.enumerate())
    with suppress(AssertionError):
        trial.invoke()
    left = set(threading.enumerate()) - before
    gone.set()
    for thread in left:
        thread.join()

    assert trial.ending == Suspended(TerminationReason.OPERATION_TERMINATED)
    assert "do not unwind" in messages.records[-1].message


# Who is given up


@EVERY_CLIENT
def test_a_branch_that_was_given_up_records_nothing_more(client: str) -> None:
    over, tried = threading.Event(), threading.Event()

    def slow(ctx: SyncDurableContext) -> None:
        ctx.step("started", lambda: over.wait(5))
        tried.set()
        ctx.step("late", must_not_run)

    def asleep(ctx: SyncDurableContext) -> None:
        ctx.wait("w", 100)

    def quick(ctx: SyncDurableContext) -> str:
        return "quick"

    def handler(ctx: SyncDurableContext) -> Any:
        config = ParallelConfig(completion_config=FIRST)
        result = ctx.parallel("p", [slow, asleep, quick], config)
        over.set()
        ctx.step("next", lambda: None)
        return [item.status.value for item in result.all]

    trial = Trial(handler, client)

    assert trial.invoke() == Returned(["STARTED", "STARTED", "SUCCEEDED"])
    sent = trial.backend.sent
    after = sent[sent.index("SUCCEED p") + 1 :]
    assert after == ["START next", "SUCCEED next"]
    assert not tried.is_set()


class SlowAdmission:
    """Stops who records something in one scope, after it was found to be open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scope: Scope | None = None
        self.asked = 0
        self.admitted, self.ended = threading.Event(), threading.Event()
        original = Scope.has_closed

        def has_closed(scope: Scope) -> bool:
            answer = original(scope)
            if scope is self.scope:
                self.wait()
            return answer

        monkeypatch.setattr(Scope, "has_closed", has_closed)

    def wait(self) -> None:
        self.asked += 1
        if self.asked == 2:  # the first time was at the call of the operation
            self.admitted.set()
            self.ended.wait(0.2)


def test_admission_and_queueing_are_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """An orphan that was let in is queued before its batch ends; it cannot slip in behind."""
    slowly = SlowAdmission(monkeypatch)

    def slow(ctx: SyncDurableContext) -> None:
        slowly.scope = ctx._calls.scope
        ctx.step("last", lambda: None)

    def quick(ctx: SyncDurableContext) -> None:
        ctx.step("wait for it", lambda: slowly.admitted.wait(5))

    def handler(ctx: SyncDurableContext) -> None:
        ctx.parallel("p", [slow, quick], ParallelConfig(completion_config=FIRST))

    def note_end(request: CheckpointRequest) -> None:
        if "SUCCEED p" in [f"{update.action} {update.name}" for update in request.updates]:
            slowly.ended.set()

    trial = Trial(handler, "blocking")
    trial.backend.before = note_end

    assert trial.invoke() == Returned(None)
    assert trial.backend.sent[-1] == "SUCCEED p"


def test_a_branch_that_does_not_unwind_in_time_is_left_behind(messages: Messages) -> None:
    gone = threading.Event()
    started = threading.Event()

    def hang() -> None:
        started.set()
        gone.wait()

    def slow(ctx: SyncDurableContext) -> None:
        ctx.step("slow", hang)

    def quick(ctx: SyncDurableContext) -> None:
        ctx.step("quick", lambda: started.wait(5))

    def handler(ctx: SyncDurableContext) -> None:
        ctx.parallel("p", [slow, quick], ParallelConfig(completion_config=FIRST))

    trial = Trial(handler, unwind_seconds=0.01)
    before = set(threading.enumerate())
    with suppress(AssertionError):
        trial.invoke()
    left = set(threading.enumerate()) - before
    gone.set()
    for thread in left:
        thread.join()

    assert trial.ending == Returned(None)
    assert [record.message for record in messages.records] == [
        (
            "branches of in-memory/test do not unwind, and are left behind: "
            "durably branch parallel-branch-0"
        )
    ]


def test_an_invocation_that_breaks_ends_its_branches() -> None:
    def item(ctx: SyncDurableContext, number: int) -> None:
        ctx.step("s", lambda: None)
        ctx.wait("w", 100)

    trial = Trial(lambda ctx: ctx.map("m", range(50), item), "blocking")

    def refuse(request: CheckpointRequest) -> None:
        if any(update.action == "SUCCEED" for update in request.updates):
            raise OSError("unplugged")

    trial.backend.before = refuse

    assert isinstance(trial.invoke(), Broken)


def test_a_change_of_the_program_in_a_branch_fails_the_execution() -> None:
    def item(ctx: SyncDurableContext, number: int) -> None:
        if is_changed:
            ctx.step("other", must_not_run)
        ctx.wait("w", 100)

    is_changed: list[int] = []
    trial = Trial(lambda ctx: ctx.map("m", [1, 2], item))
    trial.invoke()
    is_changed.append(1)

    assert isinstance(trial.invoke(), Broken)


@EVERY_CLIENT
def test_a_failed_branch_is_an_item_that_failed(client: str) -> None:
    def item(ctx: SyncDurableContext, number: int) -> int:
        if number == 1:
            raise ValueError("no")
        return number

    def handler(ctx: SyncDurableContext) -> Any:
        config = MapConfig(completion_config=CompletionConfig.all_completed())
        result = ctx.map("m", range(3), item, config)
        return [[item.status.value for item in result.all], [e.message for e in result.errors()]]

    trial = Trial(handler, client)
    expected = Returned([["SUCCEEDED", "FAILED", "SUCCEEDED"], ["no"]])

    assert trial.invoke() == expected
    assert trial.invoke() == expected
