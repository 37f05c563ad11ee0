"""What a test is told of a run: operations by name and path, history, and a table."""

from datetime import timedelta
from typing import Any

import pytest

from durably import (
    DurableContext,
    ExecutionStatus,
    durable_execution,
)
from durably.engine.views import Standing
from durably.testing import (
    FailedRunError,
    OperationNotFoundError,
    TestEngine,
    TestRun,
    UnfinishedRunError,
)
from durably.testing.clock import EPOCH
from durably.testing.tables import length
from tests.kit.functions import ALL, approve, asks_ship, plain, ship, yearly


async def run_of(function: Any, given: Any, *more: Any) -> TestRun:
    async with TestEngine(functions=[*ALL, *more]) as t:
        return await t.run(function, given)


async def test_an_operation_is_found_by_its_path() -> None:
    run = await run_of(ship, ["a", "b"])

    first = run.operation("ship/0/label")
    same = run.operation("ship/map-item-0/label")

    assert first.record == same.record
    assert (first.name, first.kind, first.path) == ("label", "step", "ship/map-item-0/label")
    assert first.result == "label of a"
    assert run.operation("ship/1/pack").result == {"item": "b", "weight": 1}
    assert run.operation("ship/1/pack").payload == '{"item":"b","weight":1}'
    assert [one.name for one in run.operation("ship/1").children] == ["pack", "dry", "label"]
    assert run.operation("0/0/2").name == "label"
    assert [one.path for one in run.operations][:3] == [
        "ship",
        "ship/map-item-0",
        "ship/map-item-0/pack",
    ]


async def test_an_operation_says_how_often_and_how_long_it_ran() -> None:
    run = await run_of(yearly, "Ada")
    wait = run.operation("a year")

    assert (wait.attempts, wait.result, wait.error) == (0, None, None)
    assert wait.started_at == EPOCH
    assert wait.ended_at == EPOCH + timedelta(days=365)
    assert wait.duration == timedelta(days=365)
    assert repr(wait) == "<wait 'a year' SUCCEEDED>"
    assert repr(run) == f"<TestRun yearly/{run.name} SUCCEEDED>"


async def test_a_step_is_found_by_its_name_wherever_it_is() -> None:
    run = await run_of(ship, ["a"])

    assert run.step("label").path == "ship/map-item-0/label"


async def test_what_is_not_there_is_refused_with_what_is() -> None:
    run = await run_of(ship, ["a", "b"])

    with pytest.raises(OperationNotFoundError, match="no step 'lable': it has 'ship', 'ship/map"):
        run.step("lable")
    with pytest.raises(OperationNotFoundError, match="no operation 'ship/2'"):
        run.operation("ship/2")
    with pytest.raises(OperationNotFoundError, match=r"2 steps 'label'.*'ship/map-item-1/label'"):
        run.step("label")
    with pytest.raises(OperationNotFoundError, match="no callback 'ship'"):
        run.callback_id("ship")


async def test_an_operation_without_a_name_has_a_place() -> None:
    @durable_execution
    async def nameless(event: None, ctx: DurableContext) -> int:
        await ctx.wait(None, 1)
        return await ctx.step(None, lambda: 5)

    run = await run_of(nameless, None, nameless)

    assert run.operation("1").result == 5
    assert [one.path for one in run.operations] == ["0", "1"]
    assert [one.label for one in run.operations] == ["wait", "step"]


async def test_the_history_is_values_in_the_order_of_what_happened() -> None:
    run = await run_of(yearly, "Ada")

    assert [event.event_type for event in run.history] == [
        "ExecutionStarted",
        "WaitStarted",
        "InvocationCompleted",
        "WaitSucceeded",
        "InvocationCompleted",
        "ExecutionSucceeded",
    ]


async def test_the_table_is_the_same_in_every_run() -> None:
    tables = {(await run_of(ship, ["a"])).table() for _ in range(2)}

    assert tables == {
        """\
ship SUCCEEDED: ["label of a"]
  ship          map   SUCCEEDED
    map-item-0  item  SUCCEEDED
      pack      step  SUCCEEDED  {"item":"a","weight":1}
      dry       wait  SUCCEEDED  1 min
      label     step  SUCCEEDED  "label of a\""""
    }


async def test_a_run_that_waits_says_for_what_and_has_no_result() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.start(approve, "may I?", name="asked")
        await t.run_until_suspended()

        assert run.status is ExecutionStatus.RUNNING
        assert not run.is_closed
        assert run.why.standing is Standing.WAITING
        assert run.error is None
        with pytest.raises(UnfinishedRunError, match="asked has not ended"):
            _ = run.result
        await t.callback_succeed(run.callback_id("approval"), "yes")
        await t.finish(run)
        assert run.result == "yes"


async def test_a_run_that_was_invoked_is_waited_for_and_said_to_be() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.start(asks_ship, ["a"])
        await t.run_until_suspended()

        said = run.report()
        assert "It is waiting" in said
        assert "invoke 'shipping' waits for the end of the invoked execution" in said


async def test_a_run_that_loops_says_what_its_invocations_fail_with() -> None:
    @durable_execution
    async def leaves(event: None, ctx: DurableContext) -> None:
        raise SystemExit(3)

    async with TestEngine(functions=[leaves]) as t:
        run = await t.start(leaves, None)
        await t.run_until_suspended()
        retrying = run.report()
        await t.finish(run)

        assert "1 of its invocations failed in a row" in retrying
        assert "It is retrying, and goes on in 1 s." in retrying
        with pytest.raises(FailedRunError) as failure:
            _ = run.result
        assert "was parked because of this" in str(failure.value)


async def test_whoever_forgets_an_await_is_told_so_where_the_test_fails() -> None:
    @durable_execution
    async def forgets(error: str, ctx: DurableContext) -> None:
        ctx.step("tell", str)  # durably: allow[not-awaited] this is what the test is about
        if error:
            raise ValueError(error)

    async with TestEngine(functions=[*ALL, forgets]) as t:
        run = await t.run(forgets, "")
        failed = await t.run(forgets, "oh")
        awaits = await t.run(ship, ["cup"])

        said = "nobody awaited them before the body of their context ended: tell; write `await`"
        with pytest.raises(OperationNotFoundError, match=said):
            run.step("toll")
        assert said in run.report()
        with pytest.raises(FailedRunError) as failure:
            _ = failed.result
        assert str(failure.value).count("tell; write `await`") == 1
        assert "nobody awaited" not in awaits.report()


async def test_a_function_that_is_no_coroutine_is_told_of_in_the_same_way() -> None:
    run = await run_of(plain, "cup")

    assert run.operation("labels/1/label").result == "label of cup"


@pytest.mark.parametrize(
    ("duration", "said"),
    [
        (timedelta(0), "0 s"),
        (timedelta(days=1, minutes=3), "1 d 3 min"),
        (timedelta(hours=2, seconds=4.6), "2 h 5 s"),
    ],
)
def test_a_length_of_time_is_said_to_the_second(duration: timedelta, said: str) -> None:
    assert length(duration) == said
