"""What an engine does with executions, on every store."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from durably import (
    CallbackTimeoutException,
    DurableContext,
    DurableExecutionAlreadyStartedException,
    Engine,
    ExecutionFailedError,
    ExecutionStoppedError,
    ExecutionTimedOutError,
    FunctionNotFoundError,
    InvalidStateError,
    ResourceConflictException,
    ResourceNotFoundException,
    ValidationError,
    durable_execution,
)
from durably.engine.store import Query
from durably.engine.views import Standing
from durably.wire.execution import ExecutionStatus
from durably.wire.history import EventType
from tests.app.functions import ALL, ASKED, CALLS, GATES, Gate, Order, Receipt, echo, fulfil, reach


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:{tmp_path}/durably.db"


@pytest.fixture
async def engine(url: str) -> AsyncIterator[Engine]:
    async with Engine(url, ALL, grace=0) as engine:
        yield engine


# Starting


@pytest.mark.parametrize("function", ["fulfil", "fulfil_sync"])
async def test_a_result_comes_back_as_the_type_that_the_function_says(
    engine: Engine, function: str
) -> None:
    run = await engine.start(function, Order("o-1", 2.5))

    assert await run.result() == Receipt(Order("o-1", 2.5), 5.0)
    assert await run.status() is ExecutionStatus.SUCCEEDED


async def test_a_name_and_its_input_stand_for_one_execution(engine: Engine) -> None:
    first = await engine.start(fulfil, Order("same"), name="order-7")
    second = await engine.start(fulfil, Order("same"), name="order-7")
    await first.result()
    third = await engine.start(fulfil, Order("same"), name="order-7")

    assert {first.arn, second.arn, third.arn} == {first.arn}
    assert await third.result() == Receipt(Order("same"), 2.0)
    assert CALLS["charge same"] == 1
    assert (first.name, first.function_name) == ("order-7", "fulfil")


async def test_a_name_with_another_input_is_refused_and_the_first_goes_on(engine: Engine) -> None:
    run = await engine.start(echo, 1, name="order-7")

    with pytest.raises(DurableExecutionAlreadyStartedException):
        await engine.start(echo, 2, name="order-7")

    assert await run.result() == 1
    assert len((await engine.list()).executions) == 1


async def test_without_an_input_the_function_gets_an_empty_object(engine: Engine) -> None:
    run = await engine.start(echo)
    explicit = await engine.start(echo, None)

    assert await run.result() == {}
    assert await explicit.result() is None


async def test_an_unknown_function_is_refused_with_those_that_there_are(engine: Engine) -> None:
    with pytest.raises(FunctionNotFoundError, match=r"'refund'; registered are: ask, crash"):
        await engine.start("refund", {})

    assert (await engine.list()).executions == ()


async def test_a_function_of_the_same_name_that_is_another_one_is_unknown(engine: Engine) -> None:
    stranger = durable_execution(fulfil.handler)

    with pytest.raises(FunctionNotFoundError):
        await engine.start(stranger, Order("o-1"))


async def test_an_input_that_does_not_fit_is_refused_and_nothing_starts(engine: Engine) -> None:
    with pytest.raises(ValidationError, match="amount"):
        await engine.start(fulfil, {"id": "o-1", "amount": "much"})

    assert (await engine.list()).executions == ()


async def test_a_hundred_executions_run_at_once(engine: Engine) -> None:
    runs = [await engine.start("sleepy", f"many {number}") for number in range(100)]

    async with asyncio.timeout(8):
        results = await asyncio.gather(*(run.result() for run in runs))

    assert results == ["awake"] * 100
    assert {CALLS[f"before many {number}"] for number in range(100)} == {1}
    assert {CALLS[f"after many {number}"] for number in range(100)} == {1}


async def test_no_more_invocations_run_at_once_than_allowed() -> None:
    for number in range(3):
        GATES[f"cap {number}"] = Gate()
    async with Engine("memory:", ALL, max_concurrency=2) as engine:
        runs = [await engine.start("gated", f"cap {number}") for number in range(3)]
        await GATES["cap 0"].reached.wait()
        await GATES["cap 1"].reached.wait()
        assert not GATES["cap 2"].reached.is_set()

        for number in range(3):
            GATES[f"cap {number}"].opened.set()
        assert await asyncio.gather(*(run.result() for run in runs)) == ["through"] * 3


async def test_functions_invoke_one_another_across_both_flavours(engine: Engine) -> None:
    run = await engine.start("parent", [1, 2, 3])

    assert await run.result() == [2, 4, 6]
    children = await engine.list(Query(parent_arn=run.arn))
    assert len(children.executions) == 3


# Ending badly


async def test_what_a_function_raises_is_told_where_its_result_is_awaited(engine: Engine) -> None:
    run = await engine.start("fail", "no money")

    with pytest.raises(
        ExecutionFailedError, match="StepError in step 'refuse': ValueError: no money"
    ) as failed:
        await run.result()

    assert failed.value.arn == run.arn
    assert failed.value.error is not None
    assert failed.value.error.error_type == "StepError"
    assert failed.value.origin == "step 'refuse': ValueError"


async def test_a_stopped_execution_has_no_result(engine: Engine) -> None:
    run = await engine.start("long_sleep", "x", name="bear")

    at = await engine.stop("bear")

    assert await run.stop() == at
    with pytest.raises(ExecutionStoppedError):
        await run.result()


async def test_waiting_for_a_result_may_end_before_the_execution(engine: Engine) -> None:
    run = await engine.start("long_sleep", "x")

    with pytest.raises(TimeoutError, match=r"^long_sleep/[\w-]+ has not ended in 0\.05 s"):
        await run.result(timeout=0.05)

    assert await run.status() is ExecutionStatus.RUNNING


# Callbacks


async def test_a_callback_is_answered_once(engine: Engine) -> None:
    asked = ASKED["once"] = asyncio.get_running_loop().create_future()
    run = await engine.start("ask", "once")
    callback_id = await asked

    await engine.callback_heartbeat(callback_id)
    await engine.callback_succeed(callback_id, {"approved": True})

    with pytest.raises(CallbackTimeoutException):
        await engine.callback_succeed(callback_id, {"approved": False})
    assert await run.result() == {"approved": True}


@pytest.mark.parametrize("error", [ValueError("not today"), "not today"], ids=["error", "text"])
async def test_a_callback_can_be_told_of_a_failure(engine: Engine, error: Exception | str) -> None:
    asked = ASKED["refused"] = asyncio.get_running_loop().create_future()
    run = await engine.start("ask", "refused")

    await engine.callback_fail(await asked, error)

    told = "CallbackExternalError in callback 'approval': (ValueError: )?not today"
    with pytest.raises(ExecutionFailedError, match=told):
        await run.result()


async def test_a_callback_that_nobody_asked_for_is_unknown(engine: Engine) -> None:
    with pytest.raises(ResourceNotFoundException):
        await engine.callback_succeed("0" * 64, "yes")


# Looking


async def test_an_execution_is_found_by_arn_and_by_name(engine: Engine) -> None:
    run = await engine.start(fulfil, Order("o-1"), name="order-7")
    await run.result()

    for text in (run.arn, "order-7", "fulfil/order-7"):
        found = await engine.get(text)
        assert found.arn == run.arn
        assert await found.result() == Receipt(Order("o-1"), 2.0)


@pytest.mark.parametrize("text", ["order-8", "echo/order-7", "", "fulfil/", "/order-7"])
async def test_an_execution_that_there_is_not_is_refused(engine: Engine, text: str) -> None:
    await engine.start(fulfil, Order("o-1"), name="order-7")

    with pytest.raises(ResourceNotFoundException):
        await engine.get(text)


async def test_a_name_that_two_functions_have_is_refused_with_what_to_say(engine: Engine) -> None:
    await engine.start(fulfil, Order("o-1"), name="order-7")
    await engine.start(echo, 1, name="order-7")

    with pytest.raises(ValidationError, match="say echo/order-7 or fulfil/order-7"):
        await engine.get("order-7")


async def test_the_history_tells_everything_in_order_and_in_pages(engine: Engine) -> None:
    run = await engine.start(fulfil, Order("o-1"))
    await run.result()

    events = await run.history()
    page = await engine.history(run, max_items=2)
    newest = await engine.history(run.arn, max_items=1, oldest_first=False)

    assert [event.event_id for event in events] == list(range(1, len(events) + 1))
    assert events[0].event_type is EventType.EXECUTION_STARTED
    assert page.events == events[:2]
    assert newest.events == events[-1:]


async def test_an_execution_says_what_it_waits_for(engine: Engine) -> None:
    run = await engine.start("long_sleep", "x")

    found = await reach(engine, run, Standing.WAITING)

    [awaited] = found.waits_for

    assert awaited.operation.name == "winter"
    assert found.wakes_at == awaited.due_at


async def test_executions_are_listed_newest_first_and_filtered(engine: Engine) -> None:
    for number in range(3):
        await (await engine.start(echo, number, name=f"n{number}")).result()
    await engine.start("long_sleep", "x", name="bear")

    closed = await engine.list(Query(statuses=("SUCCEEDED",)))

    assert [one.summary.execution_name for one in closed.executions] == ["n2", "n1", "n0"]


# Pausing, removing


async def test_a_paused_execution_goes_on_when_it_is_resumed(engine: Engine) -> None:
    asked = ASKED["paused"] = asyncio.get_running_loop().create_future()
    run = await engine.start("ask", "paused")
    callback_id = await asked
    await reach(engine, run, Standing.WAITING)

    await engine.pause(run, "holidays")
    await engine.callback_succeed(callback_id, "1")
    with pytest.raises(ResourceConflictException):
        await engine.pause(run)
    assert (await engine.describe(run)).status is ExecutionStatus.PAUSED
    await engine.resume(run)

    assert await run.result() == 1


async def test_only_a_closed_execution_can_be_deleted_and_its_name_is_free(engine: Engine) -> None:
    run = await engine.start("long_sleep", "x", name="bear")
    with pytest.raises(ResourceConflictException):
        await engine.delete("bear")
    await engine.stop("bear")

    await engine.delete("bear")

    with pytest.raises(ResourceNotFoundException):
        await engine.get(run.arn)
    assert (await engine.start("long_sleep", "y", name="bear")).arn != run.arn


# Being open


async def test_an_engine_that_is_not_open_says_so(url: str) -> None:
    engine = Engine(url, ALL)

    with pytest.raises(InvalidStateError, match="async with engine"):
        await engine.start(echo, 1)

    async with engine:
        with pytest.raises(InvalidStateError, match="open already"):
            await engine.__aenter__()


async def test_an_engine_of_another_event_loop_says_so(engine: Engine) -> None:
    def elsewhere() -> Any:
        return asyncio.run(engine.start(echo, 1))

    with pytest.raises(InvalidStateError, match="another event loop"):
        await asyncio.to_thread(elsewhere)


async def test_a_result_still_awaited_when_the_engine_closes_is_refused(url: str) -> None:
    async with Engine(url, ALL) as engine:
        run = await engine.start("long_sleep", "x")
        waiting = asyncio.create_task(run.result())
        await asyncio.sleep(0.01)

    with pytest.raises(InvalidStateError, match="closed before"):
        await waiting


async def test_an_execution_ends_with_its_time_out_even_while_it_waits() -> None:
    @durable_execution
    async def sleeper(event: Any, ctx: DurableContext) -> None:
        await ctx.wait("for long", 3600)

    async with Engine("memory:", [sleeper]) as engine:
        run = await engine.start(sleeper, execution_timeout=1)

        with pytest.raises(ExecutionTimedOutError):
            await run.result(timeout=5)


async def test_a_time_out_under_a_second_is_refused() -> None:
    @durable_execution
    async def sleeper(event: Any, ctx: DurableContext) -> None: ...

    async with Engine("memory:", [sleeper]) as engine:
        with pytest.raises(ValidationError, match="execution_timeout"):
            await engine.start(sleeper, execution_timeout=0.5)


async def test_a_result_of_five_mebibytes_is_kept() -> None:
    @durable_execution
    async def big(event: Any, ctx: DurableContext) -> str:
        return "x" * (5 * 1024 * 1024)

    async with Engine("memory:", [big]) as engine:
        run = await engine.start(big)

        assert len(await run.result(timeout=10)) == 5 * 1024 * 1024
