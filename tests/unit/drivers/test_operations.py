"""Every operation under every driver: what it gives and records, and what a change of it does."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import accumulate
from typing import Any

import pytest

from durably import (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    CompletionStatus,
    MapConfig,
    NestingType,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
    WaitForConditionConfig,
    complete_batch,
    continue_batch,
)
from durably.config import CompletionDecision
from durably.drivers.futures import Broken, Raised, Returned, Suspended
from durably.errors import (
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    NonDeterministicExecutionError,
    StepError,
    TerminationReason,
)
from durably.retries import RetryDecision, RetryPresets, WaitForConditionDecision
from durably.wire.operation import ErrorObject
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Trial

Call = Callable[[Any], Any]
EACH = pytest.mark.parametrize("flavour", ["async", "sync", "simulated"])
NO_RETRY = RetryPresets.none()


def handler_of(flavour: str, body: Callable[..., Any]) -> Callable[..., Any]:
    """Make a handler of a generator: what it yields is awaited where operations are futures."""
    if flavour != "async":

        def handler(ctx: Any) -> Any:
            return run(body, ctx)

        return handler

    async def async_handler(ctx: Any) -> Any:
        return await run_async(body, ctx)

    return async_handler


def run(body: Callable[..., Any], *args: Any) -> Any:
    steps = body(*args)
    answer, error = None, None
    while True:
        try:
            answer, error = (steps.throw(error) if error else steps.send(answer))(), None
        except StopIteration as end:
            return end.value
        except Exception as raised:
            if not steps.gi_frame:
                raise
            answer, error = None, raised


async def run_async(body: Callable[..., Any], *args: Any) -> Any:
    steps = body(*args)
    answer, error = None, None
    while True:
        try:
            call = steps.throw(error) if error else steps.send(answer)
            answer, error = await call(), None
        except StopIteration as end:
            return end.value
        except Exception as raised:
            if not steps.gi_frame:
                raise
            answer, error = None, raised


def trial(flavour: str, body: Callable[..., Any]) -> Trial:
    seed = 1 if flavour == "simulated" else None
    return Trial(handler_of(flavour, body), seed=seed)


def inner(flavour: str, body: Callable[..., Any]) -> Callable[..., Any]:
    """Make the body of a context of a generator."""
    if flavour != "async":
        return lambda *args: run(body, *args)

    async def async_body(*args: Any) -> Any:
        return await run_async(body, *args)

    return async_body


def values(flavour: str, result: Any) -> Any:
    """Run *result*, and again by replay; give what both gave."""
    first = result.to_end()
    again = result.invoke()
    if isinstance(first, Raised):
        assert isinstance(again, Raised)
        assert first.error == again.error
        return first.error
    assert isinstance(first, Returned)
    assert first == again
    return first.value


# What they give


@EACH
def test_a_step_gives_its_round_trip_on_the_first_run_too(flavour: str) -> None:
    def body(ctx: Any) -> Any:
        return (
            yield lambda: ctx.step("s", lambda: {"a": (1, 2)}, config=StepConfig(serdes=Json()))
        )

    assert values(flavour, trial(flavour, body)) == {"a": [1, 2]}


class Json:
    """Plain JSON, which knows no tuples."""

    @staticmethod
    def serialize(value: Any, _context: object, /) -> str:
        return '{"a":[1,2]}'

    @staticmethod
    def deserialize(_text: str, _context: object, /) -> Any:
        return {"a": [1, 2]}


@EACH
def test_a_step_is_tried_again_as_its_strategy_says(flavour: str) -> None:
    attempts: list[int] = []

    def flaky() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("no")
        return len(attempts)

    def body(ctx: Any) -> Any:
        return (yield lambda: ctx.step("s", flaky, config=StepConfig(retry_strategy=again)))

    execution = trial(flavour, body)

    assert values(flavour, execution) == 3
    assert execution.backend.sent == [
        "START s",
        "RETRY s",
        "START s",
        "RETRY s",
        "START s",
        "SUCCEED s",
    ]


def again(error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision(should_retry=True, delay=3)


@EACH
def test_an_at_most_once_attempt_that_was_cut_off_is_interrupted(flavour: str) -> None:
    config: StepConfig[Any] = StepConfig(
        semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=NO_RETRY
    )

    def body(ctx: Any) -> Any:
        yield lambda: ctx.step("s", crash, config=config)

    def crash() -> None:
        ran.append(1)
        raise KeyboardInterrupt

    ran: list[int] = []
    execution = trial(flavour, body)
    with pytest.raises(KeyboardInterrupt):
        execution.invoke()

    error = values(flavour, execution)

    assert isinstance(error, StepError)
    assert (error.error_type, ran) == ("StepInterruptedError", [1])


@EACH
def test_an_invoke_gives_the_targets_result(flavour: str) -> None:
    def body(ctx: Any) -> Any:
        return (yield lambda: ctx.invoke("i", "score", {"a": 1}))

    assert values(flavour, trial(flavour, body)) == {"a": 1}


@EACH
def test_a_callback_that_is_answered_before_anybody_waits_is_not_lost(flavour: str) -> None:
    def body(ctx: Any) -> Any:
        callback = yield lambda: ctx.create_callback("cb", CallbackConfig(timeout=60))
        answer = partial(execution.backend.memory.complete_callback, callback.callback_id, "answer")
        yield lambda: ctx.step("answer", answer)
        yield lambda: ctx.wait("w", 1)
        return (yield callback.result)

    execution = trial(flavour, body)
    assert isinstance(execution.invoke(), Suspended)
    execution.backend.pass_time()

    def without_answer(ctx: Any) -> Any:
        callback = yield lambda: ctx.create_callback("cb", CallbackConfig(timeout=60))
        yield lambda: ctx.step("answer", must_not_run)
        yield lambda: ctx.wait("w", 1)
        return (yield callback.result)

    execution.handler = handler_of(flavour, without_answer)
    assert execution.invoke() == Returned("answer")


@EACH
@pytest.mark.parametrize(
    ("end", "kind", "message"),
    [
        ("fail", CallbackExternalError, "not approved"),
        ("time out", CallbackTimeoutError, "Callback timed out"),
        ("submitter", CallbackSubmitterError, "smtp"),
    ],
)
def test_wait_for_callback_fails_by_what_went_wrong(
    flavour: str, end: str, kind: type[Exception], message: str
) -> None:
    def tell(callback_id: str) -> None:
        told.append(callback_id)
        if end == "submitter":
            raise OSError("smtp")

    def body(ctx: Any) -> Any:
        config: WaitForCallbackConfig[Any] = WaitForCallbackConfig(retry_strategy=NO_RETRY)
        return (yield lambda: ctx.wait_for_callback("ask", tell, config=config))

    told: list[str] = []
    execution = trial(flavour, body)
    if end != "submitter":
        assert execution.invoke() == Suspended(TerminationReason.CALLBACK_PENDING)
        error = ErrorObject(error_type="Refused", error_message="not approved")
        timed_out = end == "time out"
        execution.backend.memory.fail_callback(
            told[0], None if timed_out else error, timed_out=timed_out
        )

    failure = values(flavour, execution)

    assert type(failure) is kind
    assert str(failure) == message
    assert len(told) == 1


@EACH
def test_a_condition_is_checked_until_its_strategy_is_content(flavour: str) -> None:
    def body(ctx: Any) -> Any:
        config = WaitForConditionConfig(
            initial_state=0,
            wait_strategy=lambda state, attempt: WaitForConditionDecision(
                state < 3, timedelta(seconds=5)
            ),
        )
        return (yield lambda: ctx.wait_for_condition("ready", lambda state: state + 1, config))

    execution = trial(flavour, body)

    assert values(flavour, execution) == 3
    assert execution.invocations == 4


@EACH
@pytest.mark.parametrize("is_virtual", [False, True])
def test_a_large_child_is_run_again_over_its_recorded_steps(
    flavour: str, *, is_virtual: bool
) -> None:
    entered: list[str] = []

    def note(name: str) -> str:
        entered.append(name)
        return "x"

    def child(ctx: Any) -> Any:
        note("child")
        text = yield lambda: ctx.step("s", lambda: note("step"))
        return text * 300_000

    def body(ctx: Any) -> Any:
        config: ChildConfig[Any] = ChildConfig(is_virtual=is_virtual)
        run_child = inner(flavour, child)
        text = yield lambda: ctx.run_in_child_context("c", run_child, config=config)
        return len(text)

    assert values(flavour, trial(flavour, body)) == 300_000
    assert entered.count("step") == 1
    assert entered[-1] == "child"


@EACH
@pytest.mark.parametrize("nesting", list(NestingType))
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_map_gives_the_same_on_every_run_at_any_size_and_nesting(
    flavour: str, nesting: NestingType, size: int
) -> None:
    entered: list[int] = []

    def item(ctx: Any, number: int) -> Any:
        def step() -> str:
            entered.append(number)
            if number == 2:
                raise ValueError("no")
            return str(number) * size

        return (yield lambda: ctx.step("s", step, config=StepConfig(retry_strategy=NO_RETRY)))

    def body(ctx: Any) -> Any:
        config = MapConfig(nesting_type=nesting, completion_config=CompletionConfig.all_completed())
        result = yield lambda: ctx.map("m", range(5), inner(flavour, item), config)
        return [result.completion_reason, [(one.status, one.result) for one in result.all]]

    execution = trial(flavour, body)
    reason, items = values(flavour, execution)

    assert reason == "ALL_COMPLETED"
    assert [status for status, _ in items] == [
        "SUCCEEDED",
        "SUCCEEDED",
        "FAILED",
        "SUCCEEDED",
        "SUCCEEDED",
    ]
    assert [result and result[0] for _, result in items] == ["0", "1", None, "3", "4"]
    assert sorted(entered) == [0, 1, 2, 3, 4]
    has_items = any(sent == "START map-item-0" for sent in execution.backend.sent)
    assert has_items is (nesting is NestingType.NESTED)


@EACH
def test_a_batch_of_nothing_is_empty_at_once_and_recorded(flavour: str) -> None:
    def body(ctx: Any) -> Any:
        nothing = yield lambda: ctx.map("m", [], must_not_run)
        neither = yield lambda: ctx.parallel("p", [])
        return [nothing.all, neither.completion_reason]

    execution = trial(flavour, body)

    assert values(flavour, execution) == [(), "ALL_COMPLETED"]
    assert execution.backend.sent == ["START m", "SUCCEED m", "START p", "SUCCEED p"]


@EACH
def test_a_predicate_of_the_users_decides_when_a_batch_is_over(flavour: str) -> None:
    def at_two(status: CompletionStatus) -> CompletionDecision:
        return complete_batch() if status.success_count == 2 else continue_batch()

    def body(ctx: Any) -> Any:
        config = MapConfig(
            completion_config=CompletionConfig(should_complete=at_two), max_concurrency=1
        )
        result = yield lambda: ctx.map("m", range(5), inner(flavour, item), config)
        return [result.completion_reason, result.results()]

    def item(ctx: Any, number: int) -> Any:
        return (yield lambda: ctx.step("s", lambda: number))

    assert values(flavour, trial(flavour, body)) == ["CUSTOM_COMPLETION_SUCCEEDED", [0, 1]]


@EACH
def test_no_more_branches_are_under_way_than_may_be(flavour: str) -> None:
    def item(ctx: Any, number: int) -> Any:
        yield lambda: ctx.step("s", lambda: None)

    def body(ctx: Any) -> Any:
        yield lambda: ctx.map("m", range(9), inner(flavour, item), MapConfig(max_concurrency=3))

    execution = trial(flavour, body)
    values(flavour, execution)

    steps = {"START": 1, "SUCCEED": -1}
    sent = [one.split()[0] for one in execution.backend.sent if "map-item" in one]
    assert max(accumulate(steps[action] for action in sent)) <= 3


@EACH
def test_time_and_chance_are_the_same_in_every_run(flavour: str) -> None:
    seen: list[Any] = []

    def child(ctx: Any) -> Any:
        yield lambda: ctx.wait("w", 10)
        return [str(ctx.now()), str(ctx.uuid4()), ctx.random()]

    def body(ctx: Any) -> Any:
        found = [str(ctx.now()), str(ctx.uuid4()), ctx.random()]
        yield lambda: ctx.wait("w", 10)
        found += [str(ctx.now()), str(ctx.uuid4()), ctx.random()]
        found += yield lambda: ctx.run_in_child_context("c", inner(flavour, child))
        found += [str(ctx.now()), ctx.random()]
        seen.append(found)
        return found

    found = values(flavour, trial(flavour, body))

    assert seen == [found, found]
    assert len(set(found)) == len(found) - 1  # the child ends when its wait does


# What a change of the program does


def submit(callback_id: str) -> None:
    """Nothing."""


CALLS: dict[str, Call] = {
    "step": lambda ctx: ctx.step("a", lambda: 1),
    "wait": lambda ctx: ctx.wait("a", 60),
    "invoke": lambda ctx: ctx.invoke("a", "f"),
    "callback": lambda ctx: ctx.create_callback("a"),
    "wait for callback": lambda ctx: ctx.wait_for_callback("a", submit),
    "condition": lambda ctx: ctx.wait_for_condition(
        "a",
        lambda state: state,
        WaitForConditionConfig(
            wait_strategy=lambda state, attempt: WaitForConditionDecision(False),  # noqa: FBT003 - the decision is its first field
            initial_state=0,
        ),
    ),
    "child": lambda ctx: ctx.run_in_child_context("a", lambda _: 1),
    "map": lambda ctx: ctx.map("a", [1], lambda _, item: item),
    "parallel": lambda ctx: ctx.parallel("a", [lambda _: 1]),
}
OTHERS: dict[str, Call] = CALLS | {
    "renamed": lambda ctx: ctx.step("b", lambda: 1),
    "unnamed": lambda ctx: ctx.step(None, lambda: 1),
    "another sub type": lambda ctx: ctx.step("a", lambda: 1, config=StepConfig(sub_type="Mine")),
}


@EACH
@pytest.mark.parametrize("after", OTHERS)
@pytest.mark.parametrize("before", CALLS)
def test_an_operation_in_the_place_of_another_fails_the_execution(
    flavour: str, before: str, after: str
) -> None:
    if before == after:
        return

    def body(ctx: Any) -> Any:
        yield lambda: (OTHERS[after] if is_changed else CALLS[before])(ctx)
        yield lambda: ctx.wait("then", 60)

    is_changed: list[int] = []
    execution = trial(flavour, body)
    execution.invoke()
    sent = len(execution.backend.sent)
    is_changed.append(1)

    ending = execution.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, NonDeterministicExecutionError)
    assert len(execution.backend.sent) == sent


@EACH
@pytest.mark.parametrize("was_flat", [False, True])
def test_another_nesting_is_another_parent_and_fails_the_execution(
    flavour: str, *, was_flat: bool
) -> None:
    def item(ctx: Any, number: int) -> Any:
        yield lambda: ctx.step("s", lambda: number)
        yield lambda: ctx.wait("w", 60)

    def body(ctx: Any) -> Any:
        flat = was_flat is not bool(is_changed)
        config = MapConfig(nesting_type=NestingType.FLAT if flat else NestingType.NESTED)
        yield lambda: ctx.map("m", [1], inner(flavour, item), config)

    is_changed: list[int] = []
    execution = trial(flavour, body)
    assert isinstance(execution.invoke(), Suspended)
    is_changed.append(1)

    ending = execution.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, NonDeterministicExecutionError)
