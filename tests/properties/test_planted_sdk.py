"""What defects seen in other systems would break in the SDK half, each rule shown at the door.

`make mutants` plants those defects; these tests, or others, must notice. They call handlers as the
backend does and look at what was sent, so they hold for whatever is inside.
"""

import asyncio
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any, NoReturn

import pytest
from msgspec.structs import replace

from durably import (
    CompletionConfig,
    DurableContext,
    MapConfig,
    StepConfig,
    StepSemantics,
    SyncDurableContext,
    durable_execution,
)
from durably.clients.in_memory import InMemoryClient
from durably.errors import DurableExecutionClientError, StepError
from durably.handler import validate_durable_execution_event
from durably.retries import RetryPresets
from durably.serdes import SerdesContext
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.invocation import InvocationOutput
from durably.wire.update import OperationAction, OperationUpdate

ONCE = StepConfig[Any](
    semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=RetryPresets.none()
)


class Recorder(InMemoryClient):
    """Notes every update, and fails when it is told to."""

    def __init__(self, payload: object = None) -> None:
        super().__init__(payload)
        self.updates: list[OperationUpdate] = []
        self.fails: Callable[[OperationUpdate], bool] = lambda _: False

    def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        if any(map(self.fails, request.updates)):
            raise DurableExecutionClientError("the backend is down", scope="invocation")
        self.updates += request.updates
        return super().checkpoint(request)

    def sent(self, *, named: str | None = None) -> list[tuple[str, str | None]]:
        return [
            (update.action.value, update.name)
            for update in self.updates
            if named is None or update.name == named
        ]


class Awaited:
    """The same backend, for callers that await: every reply takes a few turns of the loop."""

    def __init__(self, backend: InMemoryClient, log: list[str]) -> None:
        self.backend = backend
        self.log = log

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        for _ in range(5):
            await asyncio.sleep(0)
        response = self.backend.checkpoint(request)
        self.log += [f"{update.action.value} {update.name}" for update in request.updates]
        return response

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        return self.backend.get_execution_state(request)


def run(handler: Callable[..., Any], client: InMemoryClient) -> dict[str, Any]:
    return durable_execution(handler, client=client)(client.event())


def run_awaited(
    handler: Callable[..., Any], client: InMemoryClient, log: list[str] | None = None
) -> InvocationOutput:
    function = durable_execution(handler)
    log = [] if log is None else log
    return asyncio.run(
        function.invoke(validate_durable_execution_event(client.event()), Awaited(client, log))
    )


def must_not_run(*_: object) -> NoReturn:
    pytest.fail("this body must not run")


# Steps


def test_the_start_of_an_at_most_once_attempt_is_accepted_before_its_body_runs() -> None:
    log: list[str] = []

    async def body() -> None:
        log.append("body")

    async def handler(_: Any, ctx: DurableContext) -> None:
        await ctx.step("once", body, config=ONCE)

    run_awaited(handler, Recorder(), log)

    assert log == ["START once", "body", "SUCCEED once"]


def test_the_same_holds_in_threads() -> None:
    log: list[str] = []
    has_run = Event()

    class Slow(InMemoryClient):
        answers_at_once = False

        def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
            has_run.wait(0.05)
            log.extend(update.action.value for update in request.updates)
            return super().checkpoint(request)

    def body() -> None:
        log.append("body")
        has_run.set()

    def handler(_: Any, ctx: SyncDurableContext) -> None:
        ctx.step("once", body, config=ONCE)

    run(handler, Slow())

    assert log == ["START", "body", "SUCCEED"]


def test_an_at_most_once_attempt_whose_start_is_not_accepted_does_not_run() -> None:
    client = Recorder()
    client.fails = lambda update: update.action is OperationAction.START

    async def handler(_: Any, ctx: DurableContext) -> None:
        await ctx.step("once", must_not_run, config=ONCE)

    with pytest.raises(Exception, match="the backend is down"):
        run_awaited(handler, client)


@pytest.mark.parametrize("is_async", [True, False])
def test_an_at_most_once_attempt_that_was_cut_off_is_not_made_again(*, is_async: bool) -> None:
    client = Recorder()
    entered = []

    async def crashing(_: Any, ctx: DurableContext) -> str:
        try:
            await ctx.step("once", enter, config=ONCE)
        except StepError as error:
            return str(error.error_type)
        return "done"

    def crashing_in_thread(_: Any, ctx: SyncDurableContext) -> str:
        try:
            ctx.step("once", enter, config=ONCE)
        except StepError as error:
            return str(error.error_type)
        return "done"

    def enter() -> None:
        entered.append(1)
        client.fails = lambda update: update.action is OperationAction.SUCCEED

    handler = crashing if is_async else crashing_in_thread

    with pytest.raises(Exception, match="the backend is down"):
        run(handler, client)
    client.fails = lambda _: False
    output = run(handler, client)

    assert entered == [1]
    assert output["Result"] == '"StepInterruptedError"'


def test_an_at_least_once_attempt_that_was_cut_off_is_made_again() -> None:
    client = Recorder()
    entered = []

    def enter() -> None:
        entered.append(1)
        client.fails = lambda update: len(entered) == 1 and update.action is OperationAction.SUCCEED

    async def handler(_: Any, ctx: DurableContext) -> None:
        await ctx.step("again", enter)

    with pytest.raises(Exception, match="the backend is down"):
        run(handler, client)
    output = run(handler, client)

    assert (output["Status"], entered) == ("SUCCEEDED", [1, 1])


class Shouting:
    """A serdes whose round trip changes the value."""

    def serialize(self, value: str, context: SerdesContext) -> str:
        return value.lower()

    def deserialize(self, text: str, context: SerdesContext) -> str:
        return text.upper()


@pytest.mark.parametrize("is_async", [True, False])
def test_a_first_run_gives_what_a_replay_gives(*, is_async: bool) -> None:
    client = Recorder()
    config = StepConfig(serdes=Shouting())

    async def handler(_: Any, ctx: DurableContext) -> str:
        value: str = await ctx.step("say", lambda: "Hello", config=config)
        return value

    def handler_in_thread(_: Any, ctx: SyncDurableContext) -> str:
        value: str = ctx.step("say", lambda: "Hello", config=config)
        return value

    first = run(handler if is_async else handler_in_thread, client)
    replay = run(handler if is_async else handler_in_thread, client)

    assert first["Result"] == replay["Result"] == '"HELLO"'


def test_what_is_recorded_for_another_operation_is_never_handed_out() -> None:
    client = Recorder()

    async def recorded(_: Any, ctx: DurableContext) -> None:
        await ctx.step("old", lambda: "secret")
        await ctx.wait("sleep", 60)

    async def changed(_: Any, ctx: DurableContext) -> str:
        value: str = await ctx.step("new", must_not_run)
        return value

    run(recorded, client)
    output = run(changed, client)

    assert output["Status"] == "FAILED"
    assert output["Error"]["ErrorType"] == "NonDeterministicExecutionError"


# Fan-outs


async def _in_turn(turns: Sequence[int], index: int) -> None:
    """Let the branch of *index* end at its turn."""
    for _ in range(20 * turns.index(index)):
        await asyncio.sleep(0)


def test_items_are_reported_by_their_place_whatever_ended_first() -> None:
    client = Recorder()
    turns = [3, 1, 0, 2]

    async def item(ctx: DurableContext, number: int) -> int:
        await _in_turn(turns, number)
        return number

    async def handler(_: Any, ctx: DurableContext) -> Any:
        batch = await ctx.map("items", range(4), item)
        return [batch.results(), [one.index for one in batch.all]]

    output = run(handler, client)
    replay = run(handler, client)

    assert output["Result"] == replay["Result"] == "[[0,1,2,3],[0,1,2,3]]"


@pytest.mark.parametrize("size", [1, 300_000])
def test_a_batch_that_ended_early_is_the_same_on_replay_at_any_size(size: int) -> None:
    client = Recorder()
    config = MapConfig(completion_config=CompletionConfig(min_successful=2))

    async def item(ctx: DurableContext, number: int) -> str:
        if number in (0, 2):
            await ctx.wait("for ever", 3600)
        return str(number) * size

    async def handler(_: Any, ctx: DurableContext) -> Any:
        batch = await ctx.map("items", range(5), item, config)
        results = [None if one.result is None else one.result[:1] for one in batch.all]
        statuses = [one.status.value for one in batch.all]
        return [statuses, results, batch.completion_reason.value]

    output = run(handler, client)
    replay = run(handler, client)

    assert output["Status"] == "SUCCEEDED"
    assert replay["Result"] == output["Result"]
    assert '"STARTED"' in output["Result"]


def test_nothing_is_recorded_under_a_batch_that_is_over() -> None:
    client = Recorder()
    config = MapConfig(completion_config=CompletionConfig(min_successful=1))

    async def item(ctx: DurableContext, number: int) -> int:
        if number:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                await ctx.step("late", must_not_run)
        return number

    async def handler(_: Any, ctx: DurableContext) -> None:
        await ctx.map("items", range(2), item, config)
        await ctx.step("after", lambda: None)

    output = run(handler, client)

    assert output["Status"] == "SUCCEEDED"
    assert client.sent(named="late") == []


# The end of an invocation


def test_a_result_is_not_answered_when_something_sent_before_it_was_lost() -> None:
    client = Recorder()
    client.fails = lambda update: update.action is OperationAction.START

    async def handler(_: Any, ctx: DurableContext) -> str:
        ctx.step("nobody waits for it", asyncio.get_running_loop().create_future)
        await asyncio.sleep(0)
        return "done"

    with pytest.raises(Exception, match="the backend is down"):
        run_awaited(handler, client)


@pytest.mark.parametrize("is_async", [True, False])
def test_code_that_catches_every_exception_does_not_catch_a_suspension(*, is_async: bool) -> None:
    client = Recorder()
    caught: list[Exception] = []

    async def handler(_: Any, ctx: DurableContext) -> None:
        try:
            await ctx.wait("sleep", 60)
        except Exception as error:  # noqa: BLE001 - what a careless handler does
            caught.append(error)

    def handler_in_thread(_: Any, ctx: SyncDurableContext) -> None:
        try:
            ctx.wait("sleep", 60)
        except Exception as error:  # noqa: BLE001 - as above
            caught.append(error)

    output = run(handler if is_async else handler_in_thread, client)

    assert (output["Status"], caught) == ("PENDING", [])


@pytest.mark.parametrize("is_async", [True, False])
def test_nothing_is_recorded_while_a_suspended_handler_unwinds(*, is_async: bool) -> None:
    client = Recorder()

    async def handler(_: Any, ctx: DurableContext) -> None:
        try:
            await ctx.wait("sleep", 60)
        finally:
            await ctx.step("finally", must_not_run)

    def handler_in_thread(_: Any, ctx: SyncDurableContext) -> None:
        try:
            ctx.wait("sleep", 60)
        finally:
            ctx.step("finally", must_not_run)

    output = run(handler if is_async else handler_in_thread, client)

    assert output["Status"] == "PENDING"
    assert client.sent(named="finally") == []


def test_a_handler_that_waits_for_nothing_durable_is_never_pending() -> None:
    async def handler(_: Any, ctx: DurableContext) -> str:
        await ctx.step("one", lambda: None)
        raise KeyError("no")

    output = run(handler, Recorder())

    assert output["Status"] == "FAILED"


def test_a_late_answer_does_not_open_again_what_is_over() -> None:
    """The backend's replies may come late; what was terminal once stays so."""
    client = Recorder()
    replies: list[CheckpointResponse] = []

    class Late(Awaited):
        async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
            response = await super().checkpoint(request)
            replies.append(response)
            state = response.new_execution_state
            earliest = replies[0].new_execution_state.operations
            mixed = replace(state, operations=(*state.operations, *earliest))
            return replace(response, new_execution_state=mixed)

    async def handler(_: Any, ctx: DurableContext) -> list[str]:
        return [await ctx.step(name, lambda name=name: name, config=ONCE) for name in "abc"]

    function = durable_execution(handler)
    output = asyncio.run(
        function.invoke(validate_durable_execution_event(client.event()), Late(client, []))
    )

    assert output.result == '["a","b","c"]'
