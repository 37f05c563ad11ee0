"""What is asked for that cannot be: a typed error that names the field, and the next step."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from durably import (
    DurableContext,
    Engine,
    ExecutionFailedError,
    FunctionNotFoundError,
    Query,
    RetryDecision,
    StepConfig,
    StoreUnavailableError,
    ValidationError,
    WithRetryConfig,
    durable_execution,
)
from tests.app.functions import ALL

SURROGATE = "\ud800"


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'durably.db'}"


@durable_execution
async def ask_strategy(event: Any, ctx: DurableContext) -> None:
    def strange(error: Exception, attempt: int) -> Any:
        if event == "negative":
            return RetryDecision.retry(-1)
        return event

    def fail() -> None:
        raise KeyError("mine")

    await ctx.step("s", fail, config=StepConfig(retry_strategy=strange))


async def test_whatever_is_asked_for_that_cannot_be_is_refused_by_name(url: str) -> None:
    async with Engine(url, ALL) as engine:
        for asked, field in (
            (engine.get(SURROGATE), "execution"),
            (engine.get(None), "execution"),  # type: ignore[arg-type]  # that is the point
            (engine.stop(7), "execution"),  # type: ignore[arg-type]  # likewise
            (engine.describe(f"echo/{SURROGATE}"), "execution"),
            (engine.callback_succeed(None), "callback_id"),  # type: ignore[arg-type]  # likewise
            (engine.callback_fail(7, "no"), "callback_id"),  # type: ignore[arg-type]  # likewise
            (engine.callback_heartbeat(SURROGATE), "callback_id"),
            (engine.start("echo", SURROGATE), "input"),
            (engine.start("echo", 1, name=3), "name"),  # type: ignore[arg-type]  # likewise
            (engine.start("echo", 1, name="a b"), "name"),
        ):
            with pytest.raises(ValidationError) as refused:
                await asked
            assert refused.value.field == field

        assert (await engine.list()).executions == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", 10**30),
        ("limit", 0),
        ("limit", 1.5),
        ("function_name", SURROGATE),
        ("execution_name", 7),
        ("statuses", (SURROGATE,)),
        ("started_after", datetime(2026, 1, 1)),  # noqa: DTZ001 - that is the point
        ("started_before", "yesterday"),
    ],
)
def test_a_query_names_the_field_that_is_wrong(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        Query(**{field: value})  # type: ignore[arg-type]  # that is the point

    assert refused.value.field == field


@pytest.mark.parametrize("event", [None, "soon", "negative"])
async def test_a_strategy_that_decides_nothing_is_named(url: str, event: Any) -> None:
    async with Engine(url, [ask_strategy]) as engine:
        run = await engine.start(ask_strategy, event)

        with pytest.raises(ExecutionFailedError) as failed:
            await run.result(5)

    said = str(failed.value)
    assert "retry_strategy: ask_strategy.<locals>.strange must return RetryDecision.retry(" in said
    assert "StepError in step 's': KeyError: 'mine'. Besides, retry_strategy" in said


@pytest.mark.parametrize("wait", [0, timedelta(0), 0.0])
async def test_the_result_of_what_has_ended_is_there_at_once(url: str, wait: Any) -> None:
    async with Engine(url, ALL) as engine:
        run = await engine.start("echo", 1)
        assert await run.result(5) == 1

        assert await run.result(wait) == 1


async def test_what_has_not_ended_times_out_at_once(url: str) -> None:
    async with Engine(url, ALL) as engine:
        run = await engine.start("long_sleep", "x")

        with pytest.raises(TimeoutError, match="has not ended in 0 s"):
            await run.result(0)


async def test_a_function_that_is_not_registered_is_told_which_are() -> None:
    async with Engine("memory:", [ask_strategy]) as engine:
        with pytest.raises(FunctionNotFoundError, match=r"'nofn'; registered are: ask_strategy$"):
            await engine.start("nofn", 1)


def test_a_function_that_is_called_directly_says_how_to_start_it() -> None:
    with pytest.raises(ValidationError, match=r"`Engine\.start`, or use the command `durably run`"):
        ask_strategy("soon")


def test_a_wrong_url_is_told_the_right_one() -> None:
    with pytest.raises(ValidationError, match="write sqlite:orders"):
        Engine("orders.db")


async def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"no directory '.*/none'. Make it"):
        async with Engine(f"sqlite:{tmp_path / 'none' / 'durably.db'}", ALL):
            pass


@durable_execution
async def ask_for_rounds(event: Any, ctx: DurableContext) -> None:
    def strange(error: Exception, attempt: int) -> Any:
        raise KeyError("of the strategy")

    def fail(inner: DurableContext, attempt: int) -> None:
        raise ValueError("mine")

    await ctx.with_retry("r", fail, WithRetryConfig(retry_strategy=strange))


async def test_a_strategy_of_rounds_that_raises_hides_no_error() -> None:
    async with Engine("memory:", [ask_for_rounds]) as engine:
        run = await engine.start(ask_for_rounds, None)

        with pytest.raises(ExecutionFailedError, match="and raised KeyError: ") as failed:
            await run.result(5)

    assert str(failed.value).endswith("The round had failed with ValueError: mine")
