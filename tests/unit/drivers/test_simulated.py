"""The driver of one thread: its orders come from the seed, and what it promises is as ever."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from random import Random
from typing import Any

import pytest

from durably import MapConfig, StepConfig, SyncDurableContext, durable_execution
from durably.clients.in_memory import InMemoryClient
from durably.core.observer import DurablePlugin, Observers
from durably.drivers.futures import Broken, Ending, Raised, Returned, Suspended
from durably.drivers.outputs import LAMBDA_RESPONSE_SIZE_LIMIT
from durably.errors import (
    ContextUsageError,
    DurableExecutionClientError,
    DurableSignal,
    InvalidParameterValueException,
    InvocationExitError,
    NonDeterministicExecutionError,
    StepError,
    TerminationReason,
    UnrecoverableExecutionError,
    UnrecoverableInvocationError,
    ValidationError,
)
from durably.retries import RetryPresets
from durably.testing.simulated import simulate
from durably.wire.api import CheckpointRequest
from durably.wire.invocation import InvocationStatus
from durably.wire.operation import OperationStatus, OperationType
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Trial, only, without_token

SEEDS = range(40)
ONCE: StepConfig[Any] = StepConfig(retry_strategy=RetryPresets.none())


def three(ctx: SyncDurableContext) -> Any:
    """Three branches of two steps each."""

    def item(inner: SyncDurableContext, number: int) -> int:
        return inner.step("a", lambda: number) + inner.step("b", lambda: number)

    return ctx.map("m", range(3), item).results()


def requests_of(handler: Callable[..., Any], seed: int) -> list[list[str]]:
    trial = Trial(handler, seed=seed)
    trial.to_end()
    return [
        [f"{update.action} {update.name}" for update in request.updates]
        for request in trial.backend.requests
    ]


# Orders


def test_the_same_seed_sends_the_same_requests() -> None:
    assert requests_of(three, 7) == requests_of(three, 7)


def test_other_seeds_send_the_same_updates_in_other_orders() -> None:
    stories = [requests_of(three, seed) for seed in SEEDS]

    assert len({str(story) for story in stories}) > len(SEEDS) / 2
    assert len({str(sorted(chain(*story))) for story in stories}) == 1


def test_some_seeds_have_branches_share_a_request_and_some_do_not() -> None:
    sizes = [max(map(len, requests_of(three, seed))) for seed in SEEDS]

    assert min(sizes) < max(sizes)


def test_starts_are_recorded_in_order_whatever_runs_first() -> None:
    for seed in SEEDS:
        sent = chain(*requests_of(three, seed))
        starts = [one for one in sent if one.startswith("START map-item")]
        assert starts == [f"START map-item-{number}" for number in range(3)]


def test_a_body_runs_once_though_the_code_around_it_runs_again() -> None:
    around, inside = list[str](), list[str]()

    def handler(ctx: SyncDurableContext) -> None:
        for name in "abc":
            around.append(name)
            ctx.step(name, inside.append, name)

    assert Trial(handler, seed=1).to_end() == Returned(None)
    assert inside == ["a", "b", "c"]
    assert len(around) > len(inside)


def test_what_has_changed_meanwhile_is_heard_of_by_some_seeds() -> None:
    def handler(ctx: SyncDurableContext) -> str:
        result: str = ctx.create_callback("cb").result()
        return result

    def ending_of(seed: int) -> Ending:
        trial = Trial(handler, seed=seed)

        def answer(request: CheckpointRequest) -> None:
            for one in trial.backend.memory.operations():
                is_open = one.status is OperationStatus.STARTED
                if one.type is OperationType.CALLBACK and is_open:
                    trial.backend.memory.complete_callback(one.id, "answer")

        trial.backend.before = answer
        return trial.invoke()

    pending = Suspended(TerminationReason.CALLBACK_PENDING)
    endings = [ending_of(seed) for seed in SEEDS]
    assert Returned("answer") in endings
    assert pending in endings
    assert all(one in (Returned("answer"), pending) for one in endings)


# Unwinding


@pytest.mark.parametrize("seed", SEEDS)
def test_code_that_swallows_the_signal_still_ends_pending_and_records_nothing(seed: int) -> None:
    def item(ctx: SyncDurableContext, number: int) -> int:
        with suppress(BaseException):
            ctx.wait("w", 1)
        with suppress(BaseException):
            ctx.step("s", must_not_run)
        return number

    def handler(ctx: SyncDurableContext) -> str:
        with suppress(BaseException):
            ctx.map("m", range(2), item, MapConfig(max_concurrency=2))
        return "swallowed"

    trial = Trial(handler, seed=seed)

    assert trial.invoke() == Suspended(TerminationReason.WAIT_SCHEDULED)
    assert Counter(trial.backend.sent)["START w"] == 2
    assert "SUCCEED map-item-0" not in trial.backend.sent


def test_finally_cannot_record_anything() -> None:
    signals: list[BaseException] = []

    def handler(ctx: SyncDurableContext) -> None:
        try:
            ctx.wait("w", 1)
        finally:
            try:
                ctx.step("s", must_not_run)
            except DurableSignal as signal:
                signals.append(signal)

    trial = Trial(handler, seed=1)

    assert isinstance(trial.invoke(), Suspended)
    assert signals
    assert trial.backend.sent == ["START w"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_batch_that_has_enough_leaves_the_others_alone(seed: int) -> None:
    def item(ctx: SyncDurableContext, number: int) -> int:
        if number:
            ctx.wait("w", 60)
        return ctx.step("s", lambda: number)

    def handler(ctx: SyncDurableContext) -> Any:
        return ctx.any("any", [lambda c, n=n: item(c, n) for n in range(3)])

    trial = Trial(handler, seed=seed)

    assert trial.invoke() == Returned(0)
    assert Counter(trial.backend.sent)["SUCCEED s"] == 1


# Endings


def test_what_the_handler_raises_is_told() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        raise ValueError("no")

    ending = Trial(handler, seed=1).invoke()

    assert isinstance(ending, Raised)
    assert isinstance(ending.error, ValueError)


def test_user_code_may_break_off_from_anywhere() -> None:
    error = UnrecoverableExecutionError(TerminationReason.CUSTOM, "over")

    def give_up(*_: object) -> None:
        raise error

    def in_a_step(ctx: SyncDurableContext) -> None:
        ctx.map("m", range(2), lambda c, n: c.step("s", give_up))

    for handler in (give_up, in_a_step):
        trial = Trial(handler, seed=1)
        assert trial.invoke() == Broken(error)
        assert "FAIL s" not in trial.backend.sent


def test_code_that_ends_the_process_breaks_its_invocation_and_no_other() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.step("s", end_process)

    def end_process() -> None:
        raise SystemExit(3)

    ending = Trial(handler, seed=1).invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, InvocationExitError)


@pytest.mark.parametrize("at", [1, 2])
def test_a_refused_checkpoint_breaks_the_invocation_and_not_the_handlers_code(at: int) -> None:
    seen: list[BaseException] = []

    def handler(ctx: SyncDurableContext) -> None:
        try:
            ctx.step("s", lambda: 1)
        except Exception as error:
            seen.append(error)
            raise

    trial = Trial(handler, seed=1)

    def refuse(request: CheckpointRequest) -> None:
        if len(trial.backend.requests) + 1 == at:
            raise DurableExecutionClientError("gone", scope="invocation")

    trial.backend.before = refuse
    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, UnrecoverableInvocationError)
    assert seen == []


def test_a_result_is_not_given_when_the_last_updates_are_refused() -> None:
    def handler(ctx: SyncDurableContext) -> str:
        with suppress(DurableSignal):
            ctx.any("any", [lambda c: 1, lambda c: c.step("s", lambda: 2)])
        return "result"

    endings = set[str]()
    for seed in SEEDS:
        trial = Trial(handler, seed=seed)
        trial.backend.before = refuse_any
        endings.add(type(trial.invoke()).__name__)

    assert endings == {"Broken"}


def refuse_any(request: CheckpointRequest) -> None:
    raise InvalidParameterValueException("Invalid checkpoint token: it is stale")


def test_a_reply_without_a_token_ends_the_invocation_as_pending() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.step("s", lambda: 1)
        ctx.step("t", must_not_run)

    trial = Trial(handler, seed=1)
    trial.backend.after = without_token

    assert trial.invoke() == Suspended(TerminationReason.OPERATION_TERMINATED)


def test_a_reply_that_does_not_mention_an_accepted_update_is_believed() -> None:
    def handler(ctx: SyncDurableContext) -> int:
        return ctx.step("s", lambda: 1)

    trial = Trial(handler, seed=1)
    trial.backend.after = only()

    assert trial.invoke() == Returned(1)


def test_an_operation_that_is_not_the_recorded_one_fails_the_execution() -> None:
    trial = Trial(lambda ctx: ctx.wait("w", 1), seed=1)
    trial.invoke()
    trial.handler = lambda ctx: ctx.step("s", must_not_run)

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, NonDeterministicExecutionError)


# Misuse, and steps


def test_the_context_around_a_child_is_refused_inside_it() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.run_in_child_context("c", lambda inner: ctx.wait("w", 1))

    trial = Trial(handler, seed=1)
    ending = trial.invoke()

    assert isinstance(ending, Raised)
    assert isinstance(ending.error, ContextUsageError)
    assert "START w" not in trial.backend.sent


def test_misuse_in_a_branch_ends_the_batch_and_is_no_failed_item() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.parallel("p", [lambda inner: ctx.wait("w", 1), lambda inner: 1])

    ending = Trial(handler, seed=1).invoke()

    assert isinstance(ending, Raised)
    assert isinstance(ending.error, ContextUsageError)


def test_waiting_for_a_callback_inside_a_step_is_refused() -> None:
    def handler(ctx: SyncDurableContext) -> None:
        callback = ctx.create_callback("cb")
        ctx.step("s", callback.result, config=ONCE)

    ending = Trial(handler, seed=1).invoke()

    assert isinstance(ending, Raised)
    assert isinstance(ending.error, ContextUsageError)


def test_a_coroutine_function_is_no_step_here() -> None:
    async def body() -> None: ...

    ending = Trial(lambda ctx: ctx.step("s", body), seed=1).invoke()

    assert isinstance(ending, Raised)
    assert "plain function" in str(ending.error)


@pytest.mark.parametrize(("seconds", "failed_with"), [(4, None), (6, "StepTimeoutError")])
def test_a_step_that_runs_longer_than_it_may_has_failed(
    seconds: int, failed_with: str | None
) -> None:
    config: StepConfig[Any] = StepConfig(timeout=5, retry_strategy=RetryPresets.none())

    def handler(ctx: SyncDurableContext) -> str | None:
        try:
            ctx.step("s", lambda: trial.backend.clock.advance(seconds), config=config)
        except StepError as error:
            return error.error_type
        return None

    trial = Trial(handler, seed=1)

    assert trial.invoke() == Returned(failed_with)


def test_plugins_are_told_of_operations_and_of_bodies() -> None:
    class Noting(DurablePlugin):
        def on_user_function_start(self, info: Any) -> None:
            told.append(f"start {info.name}")

        def on_user_function_end(self, info: Any) -> None:
            told.append(f"end {info.name}")

        def on_operation_end(self, info: Any) -> None:
            told.append(f"over {info.name}")

    told: list[str] = []
    trial = Trial(
        lambda ctx: ctx.step("s", lambda: 1),
        seed=1,
        observers=lambda journal: Observers([Noting()], journal, trial.backend.clock.now, print),
    )
    trial.invoke()

    assert told == ["start s", "end s", "over s"]


# Durable functions


@durable_execution
def large(event: Any, ctx: SyncDurableContext) -> str:
    ctx.step("s", lambda: 1)
    return "x" * LAMBDA_RESPONSE_SIZE_LIMIT


@durable_execution
async def coroutine(event: Any, ctx: Any) -> None: ...


def test_a_result_that_is_too_large_to_be_answered_goes_ahead() -> None:
    client = InMemoryClient()

    output = simulate(large, client.event(), client, seed=1)

    assert (output.status, output.result) == (InvocationStatus.SUCCEEDED, "")
    assert client.operations()[0].status is OperationStatus.SUCCEEDED


class Failing(InMemoryClient):
    """Fails at a checkpoint of this number, and from then on."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def checkpoint(self, request: CheckpointRequest) -> Any:
        self.left -= 1
        if self.left <= 0:
            raise ConnectionError("it broke")
        return super().checkpoint(request)

    def get_execution_state(self, request: Any) -> Any:
        raise ConnectionError("it broke")


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_backend_that_fails_has_the_invocation_tried_again(at: int) -> None:
    client = Failing(at)

    with pytest.raises(UnrecoverableInvocationError, match="it broke"):
        simulate(large, client.event(), client, seed=1)


def test_a_state_that_cannot_be_read_has_the_invocation_tried_again() -> None:
    client = Failing(9)
    event = client.event()
    event["InitialExecutionState"]["NextMarker"] = "1"

    with pytest.raises(UnrecoverableInvocationError, match="it broke"):
        simulate(large, event, client, seed=1)


def test_a_coroutine_cannot_be_simulated() -> None:
    client = InMemoryClient()

    with pytest.raises(ValidationError, match="plain function"):
        simulate(coroutine, client.event(), client, seed=1)


def test_all_chance_comes_from_the_generator_that_is_passed_in() -> None:
    random = Random(3)  # noqa: S311 - a test is to be repeated
    before = random.getstate()
    client = InMemoryClient()
    simulate(large, client.event(), client, seed=3)

    assert random.getstate() == before
