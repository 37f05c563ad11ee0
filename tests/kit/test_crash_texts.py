"""What is said of a function that a crash changes names what is different, and no more."""

from typing import Any

import pytest

from durably import DurableContext, StepError, durable_execution
from durably.testing import FailedRunError, TestEngine
from tests.kit.crashing import AT_MOST_ONCE, crashed, difference, order, paid, pay


@durable_execution
async def bears(amount: int, ctx: DurableContext) -> str:
    """Bear that the one step is cut off."""
    try:
        await ctx.step("pay", pay, amount, config=AT_MOST_ONCE)
    except StepError:
        await ctx.step("ask", pay, amount)
    return "done"


@pytest.mark.parametrize("key", [None, "order-7"])
async def test_an_at_most_once_step_that_is_cut_off_may_lose_its_effect(key: str | None) -> None:
    report = await crashed(bears, lambda t: t.fake_step("pay", lambda _: paid(t, key)))

    assert "in pay, before charged" in report.points


async def test_a_keyed_effect_that_another_step_loses_is_found_all_the_same() -> None:
    sent: set[int] = set()

    def mail(_: int) -> str:
        if 1 in sent:
            return "mailed"
        sent.add(1)
        return paid(t, "order-7")

    async with TestEngine(functions=[order]) as t:
        t.fake_step("mail", mail)
        with pytest.raises(AssertionError, match="with the key 'order-7' did not happen"):
            await t.crash_everywhere(order, 5)


async def test_an_effect_that_only_a_crash_brings_about_is_not_taken_for_another_key() -> None:
    said = await difference(bears, lambda t: t.fake_step("ask", lambda _: paid(t, "order-7")))

    assert (
        "  - effect 'charged' with the key 'order-7' happened in ask: without a crash it does not\n"
        in said
    )
    assert "another" not in said


async def test_long_results_are_shown_where_they_differ() -> None:
    numbers = iter(range(100))

    @durable_execution
    async def books(amount: int, ctx: DurableContext) -> dict[str, Any]:
        await ctx.step("pay", pay, amount)
        address = "12 St James's Square, " * 5
        return {"address": address, "number": next(numbers), "note": "ring twice, " * 9}

    said = await difference(books)
    line = next(line for line in said.splitlines() if "instead of" in line)

    assert line.startswith("  - it ended …")
    assert '"number":1,"note"' in line
    assert '"number":0,"note"' in line
    assert len(line) < 200


async def test_results_that_differ_early_are_shown_from_their_beginning() -> None:
    numbers = iter(range(100))

    @durable_execution
    async def counts(amount: int, ctx: DurableContext) -> list[Any]:
        await ctx.step("pay", pay, amount)
        return [next(numbers), "ring twice, " * 9]

    said = await difference(counts)

    assert 'it ended SUCCEEDED: [1,"ring' in said
    assert 'instead of SUCCEEDED: [0,"ring' in said


LONG = "the address could not be found in any of the registers that were asked, and so nothing came"


async def test_a_function_that_fails_by_itself_is_told_of_in_full_and_with_its_line() -> None:
    def refuse(_: int) -> str:
        raise ValueError(LONG)

    @durable_execution
    async def reads(amount: int, ctx: DurableContext) -> str:
        return await ctx.step("pay", refuse, amount, config=AT_MOST_ONCE)

    with pytest.raises(FailedRunError) as failure:
        await crashed(reads)

    said = str(failure.value)
    assert said.startswith("reads fails without any crash.\nreads FAILED: StepError: ")
    assert f"StepError in step 'pay': ValueError: {LONG}\n" in said
    assert f"{__file__}, line " in said
    assert "<locals>.refuse" in said
