"""What a test engine gives is the same in each run, and before and after a crash."""

from datetime import timedelta

import pytest

from durably import (
    DurableContext,
    JitterStrategy,
    LinearRetryStrategyConfig,
    StepConfig,
    SyncDurableContext,
    WaitForConditionConfig,
    WaitStrategyConfig,
    create_linear_retry_strategy,
    create_wait_strategy,
    current_step,
    durable_execution,
)
from durably.testing import SyncTestEngine, TestEngine
from tests.kit.functions import look


async def tell(callback_id: str) -> str:
    return f"asked with {callback_id}"


@durable_execution
async def asks_two(question: str, ctx: DurableContext) -> list[str]:
    first = await ctx.create_callback("first")
    second = await ctx.create_callback("second")
    told = [
        await ctx.step(f"tell {number}", tell, one.callback_id)
        for number, one in enumerate((first, second))
    ]
    assert first.callback_id != second.callback_id
    return [*told, await first.result(), await second.result()]


async def test_a_callback_has_the_same_id_in_each_run_so_a_table_is_a_snapshot() -> None:
    tables: set[str] = set()
    for _ in range(2):
        async with TestEngine(functions=[asks_two]) as t:
            for name in ("first", "second"):
                t.answer_callbacks(name, "yes")
            tables.add((await t.run(asks_two, "?")).table())

    assert len(tables) == 1
    assert "asked with" in tables.pop()


async def test_an_effect_may_be_known_by_the_id_of_a_callback() -> None:
    @durable_execution
    async def approval(question: str, ctx: DurableContext) -> str:
        answer: str = await ctx.wait_for_callback("approval", tell)
        return answer

    async with TestEngine(functions=[approval]) as t:
        t.fake_step("approval", lambda callback_id: t.effect("asked", key=callback_id))
        t.answer_callbacks("approval", "yes")
        report = await t.crash_everywhere(approval, "?")

    assert report.all_points > 5


async def test_an_invoked_function_has_the_same_keys_after_a_crash() -> None:
    @durable_execution
    async def pays(amount: int, ctx: DurableContext) -> str:
        return await ctx.step("pay", pay, amount)

    @durable_execution
    async def has_paid(amount: int, ctx: DurableContext) -> str:
        await ctx.step("note", str, amount)
        paid: str = await ctx.invoke("payment", "pays", amount)
        return paid

    async def pay(amount: int) -> str:
        t.effect("paid", key=current_step().idempotency_key)
        return current_step().execution_arn

    async with TestEngine(functions=[pays, has_paid]) as t:
        report = await t.crash_everywhere(has_paid, 5)

        assert t.effects == {"paid": 1}
    assert report.all_points > 10


@durable_execution
async def comes_late(number: int, ctx: DurableContext) -> str:
    async def rounds(child: DurableContext, attempt: int) -> str:
        await child.step("look", str, attempt)
        if attempt < 3:
            raise ValueError("again")
        return "done"

    done: str = await ctx.with_retry("rounds", rounds)
    assert done == "done"
    await ctx.step("send", str, number)
    until = create_wait_strategy(
        WaitStrategyConfig[int](
            should_continue_polling=lambda seen: seen < 3, jitter_strategy=JitterStrategy.FULL
        )
    )
    polled = WaitForConditionConfig(wait_strategy=until, initial_state=0)
    await ctx.wait_for_condition("ready", look, polled)
    return ctx.now().isoformat()


async def test_delays_have_no_chance_in_them_and_are_the_longest() -> None:
    async with TestEngine(functions=[comes_late]) as t:
        t.fail_step("send", OSError("no"), attempts=2)
        run = await t.run(comes_late, 1)

        # rounds after 5 s and 10 s, attempts after 5 s and 10 s, checks after 5 s and 7.5 s
        assert run.result == "2026-01-01T00:00:43+00:00"
        assert run.operation("rounds/rounds-backoff-2").duration == timedelta(seconds=10)


async def test_what_a_function_does_by_the_time_is_the_same_after_a_crash() -> None:
    async with TestEngine(functions=[comes_late]) as t:
        t.fail_step("send", OSError("no"), attempts=2)
        report = await t.crash_everywhere(comes_late, 1)

    assert report.all_points > 10


@pytest.mark.usefixtures("nothing_is_left")
def test_nor_is_there_any_in_those_of_a_plain_function() -> None:
    linear = LinearRetryStrategyConfig(initial_delay=60, max_delay=600)
    again = StepConfig[str](retry_strategy=create_linear_retry_strategy(linear))

    @durable_execution
    def late(number: int, ctx: SyncDurableContext) -> None:
        def one(child: SyncDurableContext, item: int) -> str:
            return child.step("send", str, item, config=again)

        ctx.map("all", [1, 2], one)

    with SyncTestEngine(functions=[late]) as t:
        t.fail_step("send", OSError("no"), attempts=2)
        began_at = t.clock.now()
        t.run(late, 1)

        assert (t.clock.now() - began_at).total_seconds() == 60 + 61
