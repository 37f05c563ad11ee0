"""The front door: what a durable function takes, answers, and tells its plugins."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from durably import (
    AttemptInfo,
    DurableContext,
    DurablePlugin,
    InvocationInfo,
    OperationChangeInfo,
    OperationInfo,
    StepConfig,
    SyncDurableContext,
    WithRetryConfig,
    current_step,
    durable_execution,
)
from durably.clients.in_memory import InMemoryClient
from durably.core.observer import PluginFactoryInfo
from durably.errors import (
    PluginLoadError,
    PromiseCombinatorError,
    UnrecoverableInvocationError,
    ValidationError,
)
from durably.handler import DurableFunction, validate_durable_execution_event
from durably.retries import RetryDecision
from durably.testing.clock import ManualClock
from durably.wire.api import CheckpointRequest, CheckpointResponse
from durably.wire.operation import OperationType


def give_up(error: Exception, attempts_made: int) -> RetryDecision:
    return RetryDecision(should_retry=False)


def again(error: Exception, attempts_made: int) -> RetryDecision:
    return RetryDecision(should_retry=attempts_made < 3, delay=1)


ONCE = StepConfig[Any](retry_strategy=give_up)


@dataclass
class Order:
    number: int


def drive(handler: Callable[..., Any], payload: Any = None, **settings: Any) -> dict[str, Any]:
    """Invoke *handler* until it is over; an hour passes between."""
    clock = ManualClock()
    client = InMemoryClient(payload, clock=clock)
    function = durable_execution(handler, client=client, **settings)
    for _ in range(30):
        output = function(client.event())
        if output["Status"] != "PENDING":
            return output
        clock.advance(3600)
    raise AssertionError("it never ends")


def result_of(handler: Any, payload: Any = None) -> Any:
    output = drive(handler, payload)
    assert output["Status"] == "SUCCEEDED", output
    return json.loads(output["Result"])


@pytest.mark.parametrize(
    "event",
    [
        None,
        "text",
        {},
        {"DurableExecutionArn": "arn"},
        {"DurableExecutionArn": "", "CheckpointToken": "t"},
    ],
)
def test_an_event_of_no_durable_execution_is_refused_before_any_user_code(event: Any) -> None:
    async def never(event: Any, ctx: DurableContext) -> None:
        pytest.fail("user code ran")

    with pytest.raises(ValidationError, match="configured as durable"):
        durable_execution(never, client=InMemoryClient())(event)


def test_an_event_with_a_member_of_the_wrong_type_names_it() -> None:
    event = {"DurableExecutionArn": "arn", "CheckpointToken": "t", "InitialExecutionState": 3}

    with pytest.raises(ValidationError, match="InitialExecutionState"):
        validate_durable_execution_event(event)


def test_a_handler_takes_two_parameters() -> None:
    async def one(ctx: DurableContext) -> None: ...

    with pytest.raises(ValidationError, match="event and the context"):
        durable_execution(one)


def test_input_and_result_are_typed_by_the_annotations() -> None:
    async def handler(order: Order, ctx: DurableContext) -> Order:
        return Order(order.number + 1)

    assert result_of(handler, {"number": 1}) == {"number": 2}


def test_input_of_the_wrong_type_fails_the_execution_and_names_the_field() -> None:
    def handler(order: Order, ctx: SyncDurableContext) -> None: ...

    output = drive(handler, {"number": "one"})

    assert output["Status"] == "FAILED"
    assert "number" in output["Error"]["ErrorMessage"]


def test_a_result_that_is_no_json_fails_the_execution() -> None:
    async def handler(event: Any, ctx: DurableContext) -> Any:
        return float("nan")

    assert drive(handler)["Error"]["ErrorType"] == "SerdesError"


ROOM = 6 * 1024 * 1024 - len('""')


async def long_text(length: int, ctx: DurableContext) -> str:
    return "x" * length


def long_text_sync(length: int, ctx: SyncDurableContext) -> str:
    return "x" * length


@pytest.mark.parametrize("handler", [long_text, long_text_sync])
def test_a_result_too_large_for_the_answer_goes_ahead_in_a_checkpoint(handler: Any) -> None:
    assert drive(handler, ROOM) == {"Status": "SUCCEEDED", "Result": ""}


@pytest.mark.parametrize("handler", [long_text, long_text_sync])
def test_a_result_over_the_limit_fails_the_execution_and_is_not_tried_again(handler: Any) -> None:
    output = drive(handler, ROOM + 1)

    assert output["Status"] == "FAILED"
    assert "6291456 are allowed" in output["Error"]["ErrorMessage"]


def test_what_the_handler_raises_fails_the_execution() -> None:
    def handler(event: Any, ctx: SyncDurableContext) -> None:
        raise KeyError("gone")

    error = drive(handler)["Error"]

    assert (error["ErrorType"], error["ErrorMessage"]) == ("KeyError", "'gone'")


class Recorder(DurablePlugin):
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_invocation_start(self, info: InvocationInfo) -> None:
        self.heard.append(("invocation starts", info.is_first_invocation))

    def on_invocation_end(self, info: InvocationInfo) -> None:
        self.heard.append(("invocation ends", str(info.status)))

    def on_operation_start(self, info: OperationInfo) -> None:
        self.heard.append(("starts", info.name, info.is_replay))

    def on_operation_end(self, info: OperationInfo) -> None:
        self.heard.append(("ends", info.name, info.status))

    def on_operation_attempt_start(self, info: AttemptInfo) -> None:
        self.heard.append(("attempt starts", info.name, info.attempt))

    def on_operation_attempt_end(self, info: AttemptInfo) -> None:
        self.heard.append(("attempt ends", info.name, str(info.outcome)))

    def on_operation_change(self, info: OperationChangeInfo) -> None:
        assert set(info.updated_operations) <= set(info.operations)


class Faulty(DurablePlugin):
    def on_operation_start(self, info: OperationInfo) -> None:
        raise RuntimeError("a plugin broke")


def flaky() -> str:
    if current_step().attempt == 1:
        raise ValueError("first")
    return "ok"


async def with_a_flaky_step(event: Any, ctx: DurableContext) -> str:
    return await ctx.step("flaky", flaky, config=StepConfig(retry_strategy=again))


def with_a_flaky_step_sync(event: Any, ctx: SyncDurableContext) -> str:
    return ctx.step("flaky", flaky, config=StepConfig(retry_strategy=again))


HEARD = [
    ("invocation starts", True),
    ("starts", "flaky", False),
    ("attempt starts", "flaky", 1),
    ("attempt ends", "flaky", "FAILED"),
    ("invocation ends", "PENDING"),
    ("invocation starts", False),
    ("starts", "flaky", True),
    ("attempt starts", "flaky", 2),
    ("attempt ends", "flaky", "SUCCEEDED"),
    ("ends", "flaky", "SUCCEEDED"),
    ("invocation ends", "SUCCEEDED"),
]


class Posting(InMemoryClient):
    """Speaks HTTP, and has a method named after what it does."""

    def post(self, path: str, body: bytes) -> bytes:
        raise AssertionError(path)


@pytest.mark.parametrize("handler", [with_a_flaky_step, with_a_flaky_step_sync])
def test_a_client_with_a_post_of_its_own_is_not_posted_to(handler: Any) -> None:
    client = Posting()

    output = durable_execution(handler, client=client)(client.event())

    assert output["Status"] == "PENDING"


@pytest.mark.parametrize("handler", [with_a_flaky_step, with_a_flaky_step_sync])
def test_plugins_hear_of_everything_once_and_in_order(handler: Any) -> None:
    recorder = Recorder()

    drive(handler, plugins=[recorder])

    assert recorder.heard == HEARD


@pytest.mark.parametrize("handler", [long_text, long_text_sync])
def test_plugins_hear_of_a_result_that_goes_ahead_of_the_answer(handler: Any) -> None:
    recorder = Recorder()

    drive(handler, ROOM, plugins=[recorder])

    assert recorder.heard == [
        ("invocation starts", True),
        ("ends", "test", "SUCCEEDED"),
        ("invocation ends", "SUCCEEDED"),
    ]


class Unplugged(InMemoryClient):
    """Does not take the end of the execution."""

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        if any(update.type is OperationType.EXECUTION for update in request.updates):
            raise ConnectionError("unplugged")
        return super().checkpoint(request)


@pytest.mark.parametrize("handler", [long_text, long_text_sync])
def test_plugins_hear_of_an_invocation_whose_result_could_not_be_sent_that_it_is_made_again(
    handler: Any,
) -> None:
    recorder, client = Recorder(), Unplugged(ROOM)
    function = durable_execution(handler, client=client, plugins=[recorder])

    with pytest.raises(UnrecoverableInvocationError, match="unplugged"):
        function(client.event())

    assert recorder.heard == [("invocation starts", True), ("invocation ends", "RETRYING")]


def test_a_plugin_that_raises_hurts_neither_the_execution_nor_another_plugin(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder()

    with caplog.at_level(logging.ERROR, "durably"):
        output = drive(with_a_flaky_step, plugins=[Faulty(), recorder])

    assert output["Status"] == "SUCCEEDED"
    assert recorder.heard == HEARD
    assert "a plugin failed" in caplog.text


def test_a_plugin_factory_is_called_once_for_each_invocation() -> None:
    made: list[str] = []

    def factory(info: PluginFactoryInfo) -> DurablePlugin:
        made.append(info.execution_arn)
        return DurablePlugin()

    drive(with_a_flaky_step, plugins=[factory])

    assert len(made) == 2


def test_the_environment_is_read_once_for_each_function(monkeypatch: pytest.MonkeyPatch) -> None:
    function = durable_execution(with_a_flaky_step, client=(client := InMemoryClient()))
    function(client.event())

    monkeypatch.setenv("DURABLE_EXECUTION_PLUGINS", "no-such-plugin")

    assert function(client.event())["Status"] == "PENDING"


@pytest.mark.parametrize("names", ["", "a,,b", "a,a", "no-such-plugin"])
def test_a_plugin_that_the_environment_names_must_be_there(
    names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_EXECUTION_PLUGINS", names)

    with pytest.raises(PluginLoadError):
        drive(with_a_flaky_step)


def one() -> int:
    return 1


def two() -> int:
    return 2


def fail() -> int:
    raise ValueError("no")


async def combined(event: str, ctx: DurableContext) -> Any:
    works = [ctx.step("one", one), ctx.step("two", two)]
    breaks = [ctx.step("fail", fail, config=ONCE), ctx.step("three", two)]
    fails = [ctx.step("fail again", fail, config=ONCE)]
    settled = await ctx.all_settled("settled", breaks)
    with pytest.raises(PromiseCombinatorError, match="no"):
        await ctx.all("bad all", fails)
    with pytest.raises(PromiseCombinatorError, match="none of 1"):
        await ctx.any("bad any", fails)
    with pytest.raises(PromiseCombinatorError, match="no"):
        await ctx.race("bad race", fails)
    return [
        await ctx.all("all", works),
        await ctx.any("any", breaks),
        await ctx.race("race", [ctx.wait("late", 7200), ctx.step("soon", two)]),
        [one.status for one in settled],
    ]


def combined_sync(event: str, ctx: SyncDurableContext) -> Any:
    def failing(child: SyncDurableContext) -> int:
        return child.step("fail", fail, config=ONCE)

    works = [lambda child: child.step("one", one), lambda child: child.step("two", two)]
    breaks = [failing, works[1]]
    settled = ctx.all_settled("settled", breaks)
    with pytest.raises(PromiseCombinatorError, match="no"):
        ctx.all("bad all", [failing])
    with pytest.raises(PromiseCombinatorError, match="none of 1"):
        ctx.any("bad any", [failing])
    with pytest.raises(PromiseCombinatorError, match="no"):
        ctx.race("bad race", [failing])
    return [
        ctx.all("all", works),
        ctx.any("any", breaks),
        ctx.race("race", [lambda child: child.wait("late", 7200), works[1]]),
        [one.status for one in settled],
    ]


@pytest.mark.parametrize("handler", [combined, combined_sync])
def test_combinators_give_the_same_over_futures_and_over_branches(handler: Any) -> None:
    assert result_of(handler, "") == [[1, 2], 2, 2, ["rejected", "fulfilled"]]


async def rounds(event: Any, ctx: DurableContext) -> Any:
    async def body(child: DurableContext, attempt: int) -> int:
        if attempt < 3:
            raise ValueError(attempt)
        return await child.step("done", one)

    how = WithRetryConfig(retry_strategy=again)
    bare = WithRetryConfig(retry_strategy=again, wrap_with_run_in_child_context=False)
    return [await ctx.with_retry("wrapped", body, how), await ctx.with_retry(None, body, bare)]


def rounds_sync(event: Any, ctx: SyncDurableContext) -> Any:
    def body(child: SyncDurableContext, attempt: int) -> int:
        if attempt < 3:
            raise ValueError(attempt)
        return child.step("done", one)

    how = WithRetryConfig(retry_strategy=again)
    bare = WithRetryConfig(retry_strategy=again, wrap_with_run_in_child_context=False)
    return [ctx.with_retry("wrapped", body, how), ctx.with_retry(None, body, bare)]


@pytest.mark.parametrize("handler", [rounds, rounds_sync])
def test_rounds_are_repeated_with_durable_waits_between(handler: Any) -> None:
    assert result_of(handler) == [1, 1]


async def values(event: Any, ctx: DurableContext) -> Any:
    first = [str(ctx.uuid4()), ctx.random(), ctx.now().isoformat()]
    await ctx.wait("a while", timedelta(hours=1))
    return [*first, str(ctx.uuid4()), ctx.random(), ctx.now().isoformat()]


def values_sync(event: Any, ctx: SyncDurableContext) -> Any:
    first = [str(ctx.uuid4()), ctx.random(), ctx.now().isoformat()]
    ctx.wait("a while", timedelta(hours=1))
    return [*first, str(ctx.uuid4()), ctx.random(), ctx.now().isoformat()]


def test_chance_and_time_are_the_same_on_every_replay_and_in_both_flavours() -> None:
    one_run, other_run, sync = (result_of(each) for each in (values, values, values_sync))

    assert one_run == other_run == sync
    assert len(set(one_run)) == 6


def test_a_context_says_where_it_runs() -> None:
    def handler(event: Any, ctx: SyncDurableContext) -> Any:
        return [ctx.durable_execution_arn.startswith("arn:"), ctx.lambda_context]

    assert result_of(handler) == [True, None]


def test_a_plugin_hears_the_request_id_of_aws_lambda() -> None:
    class Hearing(DurablePlugin):
        def on_invocation_start(self, info: InvocationInfo) -> None:
            heard.append(info.request_id)

    class LambdaContext:
        aws_request_id = "request"

    heard: list[str | None] = []
    client = InMemoryClient()
    function = durable_execution(values, client=client, plugins=[Hearing()])
    function(client.event(), LambdaContext())

    assert heard == ["request"]


def test_a_durable_function_keeps_the_name_of_its_handler() -> None:
    function = durable_execution(values)

    assert isinstance(function, DurableFunction)
    assert function.name == "values"


async def leave() -> None:
    raise SystemExit(3)


async def leaves(event: Any, ctx: DurableContext) -> None:
    raise SystemExit(3)


async def leaves_in_a_step(event: Any, ctx: DurableContext) -> None:
    await ctx.step("leave", leave)


def leaves_sync(event: Any, ctx: SyncDurableContext) -> None:
    raise SystemExit(3)


def leaves_in_a_step_sync(event: Any, ctx: SyncDurableContext) -> None:
    def leave_now() -> None:
        raise SystemExit(3)

    ctx.step("leave", leave_now)


@pytest.mark.parametrize("handler", [leaves, leaves_in_a_step, leaves_sync, leaves_in_a_step_sync])
def test_sys_exit_ends_the_invocation_and_not_the_process(handler: Any) -> None:
    with pytest.raises(UnrecoverableInvocationError, match=r"sys\.exit\(3\)"):
        drive(handler)
