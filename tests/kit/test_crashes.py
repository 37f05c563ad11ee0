"""A function that a crash changes is found, and one that only repeats what it may is not."""

import asyncio
import random
from typing import Any

import pytest

from durably import (
    DurableContext,
    DurableFunction,
    StepError,
    SyncDurableContext,
    current_step,
    durable_execution,
)
from durably.testing import (
    CrashDifferenceError,
    SyncTestEngine,
    TestEngine,
)
from tests.kit.crashing import AT_MOST_ONCE, difference, mailed, order, paid, pay
from tests.kit.functions import ALL, RETRIED, approve, asks_ship, plain, ship, yearly

# What may be so


async def test_nobody_is_charged_twice() -> None:
    async with TestEngine(functions=[order]) as t:
        t.fake_step("pay", lambda _: paid(t, current_step().idempotency_key))
        t.fake_step("mail", lambda _: mailed(t))
        report = await t.crash_everywhere(order, 5)

        assert t.effects == {"charged": 1, "mailed": 1}
    assert report.points[:6] == (
        "before reserve StepSucceeded",
        "after reserve StepSucceeded",
        "in pay, before charged",
        "in pay, after charged",
        "before pay StepSucceeded",
        "after pay StepSucceeded",
    )
    assert report.points[-2:] == ("before ExecutionSucceeded", "after ExecutionSucceeded")
    assert len(report.points) == report.all_points == 18
    assert str(report) == (
        "order comes to the same after a crash at 18 of its 18 points, and with its steps in one "
        "order.\n"
        "  effect 'mailed' happened 2 times instead of once, as mail may: it runs at least once"
    )


@pytest.mark.parametrize("function", [yearly, ship, asks_ship, plain])
async def test_functions_of_every_kind_come_to_the_same(function: DurableFunction) -> None:
    given = {"yearly": "Ada", "plain": "cup"}.get(function.name, ["a", "b"])

    async with TestEngine(functions=ALL) as t:
        report = await t.crash_everywhere(function, given)

    assert len(report.points) > 5
    assert report.repeats == ()


@pytest.mark.usefixtures("nothing_is_left")
def test_a_plain_function_is_crashed_in_its_threads_too() -> None:
    @durable_execution
    def sells(amount: int, ctx: SyncDurableContext) -> list[str]:
        def one(child: SyncDurableContext, item: int) -> str:
            return child.step("sell", sell, item)

        return ctx.map("all", [1, 2], one).results()

    def sell(item: int) -> str:
        t.effect("sold", item)
        t.effect("noted")
        return f"sold {item}"

    with SyncTestEngine(functions=[sells]) as t:
        report = t.crash_everywhere(sells, 5)

        assert t.effects == {"sold": 2, "noted": 2}
    assert "in all/map-item-1/sell, before noted" in report.points
    assert report.orders in {1, 2}  # as many as threads come to at once
    again = "effect 'noted' happened 2 times instead of once, as {} may: it runs at least once"
    # In the order in which the threads came to them.
    assert sorted(report.repeats) == [again.format(f"all/map-item-{n}/sell") for n in (0, 1)]


async def test_answers_come_from_outside_and_outlive_the_crash() -> None:
    async with TestEngine(functions=ALL) as t:
        t.answer_callbacks("approval", "yes", after=3600)
        report = await t.crash_everywhere(approve, "may I?")

    assert "before approval/approval create callback id CallbackStarted" in report.points


async def test_a_test_acts_on_the_process_that_runs() -> None:
    times: set[Any] = set()

    def mail(_: int) -> str:
        times.add(t.clock.now())
        return "mailed"

    async with TestEngine(functions=[order]) as t:
        t.fake_step("mail", mail)
        before = t.clock.now()
        await t.crash_everywhere(order, 5)

        assert len(times) == 1
        assert times.pop() > before
        assert t.clock.now() == before


async def test_bodies_in_threads_are_crashed_too() -> None:
    def blocking(amount: int) -> str:
        t.effect("charged", amount)
        return "paid"

    @durable_execution
    async def buys(amount: int, ctx: DurableContext) -> str:
        return await ctx.step("pay", blocking, amount)

    async with TestEngine(functions=[buys]) as t:
        report = await t.crash_everywhere(buys, 5)

        assert t.effects == {"charged": 1}
    assert "in pay, after charged" in report.points


async def test_a_retried_step_is_crashed_in_each_of_its_attempts() -> None:
    @durable_execution
    async def buys(amount: int, ctx: DurableContext) -> str:
        return await ctx.step("pay", pay, amount, config=RETRIED)

    async with TestEngine(functions=[buys]) as t:
        t.fail_step("pay", ConnectionError, attempts=2)
        report = await t.crash_everywhere(buys, 5)

    assert "before pay StepRetried #2" in report.points


async def test_an_at_most_once_step_may_lose_its_effect_where_the_function_bears_it() -> None:
    @durable_execution
    async def buys(amount: int, ctx: DurableContext) -> str:
        try:
            await ctx.step("pay", pay, amount, config=AT_MOST_ONCE)
        except StepError:
            await ctx.step("ask the bank", pay, amount)
        return "bought"

    async with TestEngine(functions=[buys]) as t:
        t.fake_step("pay", lambda _: paid(t, once=True))
        report = await t.crash_everywhere(buys, 5)

    assert "after pay StepStarted" in report.points
    assert report.repeats == ()


# What is found


async def test_an_effect_outside_of_a_step_is_found_and_the_place_is_named() -> None:
    @durable_execution
    async def mails(amount: int, ctx: DurableContext) -> str:
        paid = await ctx.step("pay", pay, amount)
        t.effect("mailed")
        await ctx.step("note", pay, amount)
        return paid

    async with TestEngine(functions=[mails]) as t:
        with pytest.raises(CrashDifferenceError) as failure:
            await t.crash_everywhere(mails, 5)

    said = str(failure.value)
    assert said.startswith("mails does not come to the same in 4 of 8 runs.")
    assert "With a crash in the handler, after mailed:" in said
    assert (
        "effect 'mailed' happened 2 times instead of once: it is in the handler and not in a step, "
        "so every replay does it again" in said
    )
    assert "crash_everywhere(mails, …, only='in the handler, after mailed')" in said
    assert 'pay   step  SUCCEEDED  "paid 5"' in said
    assert "So it is, too:\n  With a crash before note StepSucceeded" in said


async def test_an_effect_that_must_not_happen_again_is_found_where_a_step_runs_at_least_once() -> (
    None
):
    said = await difference(order, lambda t: t.fake_step("pay", lambda _: paid(t, once=True)))

    assert "With a crash in pay, after charged:" in said
    assert "2 times instead of once: pay runs at least once, and the crash came before its" in said


async def test_a_key_that_is_another_one_each_time_is_found() -> None:
    keys = iter(range(100))

    said = await difference(order, lambda t: t.fake_step("pay", lambda _: paid(t, next(keys))))

    assert "effect 'charged' happened with another key" in said
    assert "did not happen" in said


async def test_state_that_is_kept_in_memory_alone_is_found() -> None:
    @durable_execution
    async def collects(amount: int, ctx: DurableContext) -> list[int]:
        collected: list[int] = []
        for number in range(2):
            await ctx.step(f"collect {number}", collect, collected, number)
        return collected

    async def collect(collected: list[int], number: int) -> None:
        collected.append(number)

    said = await difference(collects)

    assert "With a crash after collect 0 StepSucceeded:" in said
    assert "it ended SUCCEEDED: [1], instead of SUCCEEDED: [0,1]" in said


async def test_a_function_that_goes_another_way_is_found() -> None:
    chance = random.Random(1)  # noqa: S311 - a test is to be repeated

    @durable_execution
    async def wanders(amount: int, ctx: DurableContext) -> str:
        for _ in range(3):
            await ctx.step(f"to {chance.randrange(1000)}", pay, amount)
        return "there"

    said = await difference(wanders)

    assert "NonDeterministicExecutionError" in said or "never came to this point again" in said


async def test_an_at_most_once_step_that_is_cut_off_is_told_of() -> None:
    @durable_execution
    async def buys(amount: int, ctx: DurableContext) -> str:
        return await ctx.step("pay", pay, amount, config=AT_MOST_ONCE)

    said = await difference(buys)

    assert "With a crash after pay StepStarted:" in said
    assert "it ended FAILED: StepError: attempt of pay was cut off, and at-most-once" in said


async def test_what_depends_on_the_order_of_its_branches_is_found() -> None:
    @durable_execution
    async def races(amount: int, ctx: DurableContext) -> list[str]:
        arrived: list[str] = []

        async def run(name: str) -> None:
            await asyncio.sleep(0)
            arrived.append(name)

        await asyncio.gather(*(ctx.step(name, run, name) for name in "ab"))
        return await ctx.step("note", noted, arrived)

    async def noted(arrived: list[str]) -> list[str]:
        return arrived

    said = await difference(races, only="order 1")

    assert "With its steps in order 1:" in said
    assert 'it ended SUCCEEDED: ["b","a"], instead of SUCCEEDED: ["a","b"]' in said
    assert "crash_everywhere(races, …, only='order 1')" in said


async def test_a_function_that_does_not_end_after_a_crash_is_found() -> None:
    starts = iter(range(100))

    @durable_execution
    async def hangs(amount: int, ctx: DurableContext) -> str:
        number = next(starts)
        await ctx.step("pay", pay, amount)
        if number % 2:
            await ctx.wait_for_callback("nobody", pay)
        return "done"

    said = await difference(hangs)

    assert 'it ended never, instead of SUCCEEDED: "done"' in said
    assert "callback 'nobody' waits for an answer" in said


async def test_an_effect_that_gets_lost_is_found() -> None:
    sent: set[int] = set()

    def mail(amount: int) -> str:
        if amount not in sent:
            sent.add(amount)
            t.effect("mailed")
        return "mailed"

    async with TestEngine(functions=[order]) as t:
        t.fake_step("mail", mail)
        with pytest.raises(
            CrashDifferenceError, match="not at all instead of once: it was lost in"
        ):
            await t.crash_everywhere(order, 5)
        report = await t.crash_everywhere(order, 5, mode="off", reset=sent.clear)

    assert report.points == ()
