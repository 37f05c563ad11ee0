"""What a test gets wrong is refused where it does, with what to do instead."""

from typing import Any

import pytest

from durably import DurableContext, ErrorObject, ValidationError, durable_execution
from durably.testing import TestEngine
from durably.testing.collected import is_wanted
from durably.testing.costs import COLLECT_VARIABLE
from durably.testing.produced import REPLAY_VARIABLE
from tests.kit.crashing import crashed, order
from tests.kit.functions import yearly

VALUE: Any = "value"


def test_a_function_that_stands_alone_is_no_list_of_them() -> None:
    alone: Any = yearly
    with pytest.raises(ValidationError, match="functions: must be a list of durable functions"):
        TestEngine(functions=alone)


async def test_a_value_is_no_function_and_text_no_error() -> None:
    async with TestEngine() as t:
        with pytest.raises(ValidationError, match=r"function: must be a function; returns=… gives"):
            t.fake_step("mail", VALUE)
        with pytest.raises(ValidationError, match=r"function: must be a function; returns=… gives"):
            t.fake_invoke("mail", VALUE)
        others: list[Any] = [VALUE, int, KeyboardInterrupt]
        for error in others:
            with pytest.raises(ValidationError, match="error: must be an exception or a class of"):
                t.fail_step("mail", error)
        with pytest.raises(ValidationError, match="raises: must be an exception or a class of"):
            t.fake_invoke("mail", raises=VALUE)


async def test_a_place_alone_is_no_path() -> None:
    place: Any = 0
    async with TestEngine(functions=[yearly]) as t:
        run = await t.run(yearly, "Ada")

        with pytest.raises(ValidationError, match=r'path: must be a path, such as "ship/0/label"'):
            run.operation(place)
        assert run.operation("0").name == "a year"


def test_a_value_of_the_wire_shows_only_what_is_set() -> None:
    assert repr(ErrorObject(error_type="OSError")) == "ErrorObject(error_type='OSError')"


# Crashes


async def test_a_point_that_there_is_not_is_told_of_with_those_that_there_are() -> None:
    with pytest.raises(ValidationError) as failure:
        await crashed(order, only="after pay StepSucceded")

    said = str(failure.value)
    assert said.startswith("only: 'after pay StepSucceded' is no point that the function comes to.")
    assert "Did you mean 'after pay StepSucceeded'?" in said
    assert "It comes to: 'before reserve StepSucceeded', 'after reserve StepSucceeded', " in said


async def test_the_world_may_be_put_back_by_an_async_def() -> None:
    ledger: dict[int, int] = {}
    resets = 0

    async def clear() -> None:
        nonlocal resets
        resets += 1
        ledger.clear()

    async def count(amount: int) -> int:
        ledger[len(ledger)] = amount
        return len(ledger)

    @durable_execution
    async def counts(amount: int, ctx: DurableContext) -> int:
        counted = await ctx.step("count", count, amount)
        await ctx.wait("a minute", 60)
        return counted

    await crashed(counts, reset=clear, only="after count StepSucceeded")

    assert resets == 2


# The environment


@pytest.mark.parametrize("said", ["0", "no", "off", "False", ""])
@pytest.mark.parametrize("variable", [REPLAY_VARIABLE, COLLECT_VARIABLE])
def test_a_variable_that_says_no_asks_for_nothing(variable: str, said: str) -> None:
    assert not is_wanted(variable, {variable: said})
    assert is_wanted(variable, {variable: "1"})
    assert not is_wanted(variable, {})


async def test_a_replay_that_the_environment_refuses_is_not_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = iter("abc")

    @durable_execution
    async def wanders(event: None, ctx: DurableContext) -> None:
        await ctx.step(next(names), str, 1)

    monkeypatch.setenv(REPLAY_VARIABLE, "off")
    async with TestEngine(functions=[wanders]) as t:
        await t.run(wanders, None)


async def test_a_mode_that_the_environment_gets_wrong_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DURABLY_CRASH", "some")
    with pytest.raises(ValidationError, match="DURABLY_CRASH: must be all, sample, off, not 'some"):
        await crashed(order)
    monkeypatch.setenv("DURABLY_CRASH", "")
    assert len((await crashed(order)).points) == 14
