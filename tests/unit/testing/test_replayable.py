"""What today's code may ask for of a history, and what is said when it asks for something else.

I20, P13. The functions called `old` are what was recorded, those called `new` are today's code.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import pytest

from durably import (
    ChildConfig,
    CompletionConfig,
    DurableContext,
    DurableFunction,
    MapConfig,
    RetryDecision,
    StepConfig,
    WaitForConditionConfig,
    WaitForConditionDecision,
    WithRetryConfig,
    durable_execution,
)
from durably.engine.facts import (
    ExecutionStarted,
    ExecutionSucceeded,
)
from durably.testing.replays import MAX_STATES, SAMPLE, assert_replayable, replay_all
from tests.unit.testing.everything import ENTERED, everything, everything_blocking
from tests.unit.testing.orders import (
    blocking,
    give,
    leaving,
    longer,
    old,
    raising,
    raising_late,
    renamed,
    richer,
    shorter,
    typed,
    typed_input,
)
from tests.unit.testing.support import line_in, prefix, recorded, refusal

FLAVOURS = pytest.mark.parametrize("function", [everything, everything_blocking])


# What fits


@FLAVOURS
@pytest.mark.parametrize("masked", [False, True])
def test_the_same_code_replays_from_every_state_and_runs_no_body(
    function: DurableFunction, *, masked: bool
) -> None:
    history = recorded(function)
    before = Counter(ENTERED)

    report = replay_all([(history.masked() if masked else history, function)])

    assert report.findings == ()
    assert report.states > 90
    assert before == ENTERED


@FLAVOURS
async def test_it_can_be_asked_in_an_event_loop(function: DurableFunction) -> None:
    history = await asyncio.to_thread(recorded, function)

    assert_replayable(history, function, same_end=True)


def test_a_history_that_has_just_begun_replays() -> None:
    history = prefix(recorded(old), lambda fact: isinstance(fact, ExecutionStarted))

    assert_replayable(history, old)
    assert_replayable(history, renamed)


def test_what_comes_after_the_last_operation_is_free() -> None:
    assert_replayable(recorded(old), longer)
    assert_replayable(recorded(old), richer)


def test_a_batch_that_had_enough_replays_though_it_may_have_less_now() -> None:
    @durable_execution
    async def enough(event: Any, ctx: DurableContext) -> int:
        async def item(inner: DurableContext, number: int) -> int:
            if number == 1:
                raise ValueError(number)
            await inner.wait("slow", 5 if number == 0 else 50_000)
            return number

        # The failure lets the third begin. Once the first has succeeded, nobody would begin it.
        rule = CompletionConfig(min_successful=1, tolerated_failure_count=5)
        config = MapConfig(max_concurrency=2, completion_config=rule)
        return (await ctx.map("enough", range(5), item, config)).total_count

    history = recorded(enough)

    assert isinstance(history.facts[-1], ExecutionSucceeded)
    assert history.facts[-1].result == "3"
    assert_replayable(history, enough, same_end=True)


@pytest.mark.parametrize(("polls", "states"), [(99, MAX_STATES), (100, SAMPLE)])
def test_a_long_history_is_replayed_from_a_sample_of_its_states(polls: int, states: int) -> None:
    async def check(state: int) -> int:
        return state + 1

    def poll(state: int, attempts: int) -> WaitForConditionDecision:
        if state == polls:
            return WaitForConditionDecision.stop_polling()
        return WaitForConditionDecision.continue_waiting(1)

    config = WaitForConditionConfig[int](initial_state=0, wait_strategy=poll)

    @durable_execution
    async def patient(event: Any, ctx: DurableContext) -> None:
        await ctx.wait_for_condition("condition", check, config)
        await ctx.step("last", give)

    @durable_execution
    async def other(event: Any, ctx: DurableContext) -> None:
        await ctx.wait_for_condition("condition", check, config)
        await ctx.step("other", give)

    history = recorded(patient, invocations=polls + 1)

    assert replay_all([(history, patient)]).states == states
    assert "now       step 'other'" in refusal(history, other)


# What does not


DIFFERENT: dict[str, tuple[DurableFunction, list[str]]] = {
    "another name": (
        renamed,
        [
            "in-memory/test does not replay: after 3 of its 7 facts",
            "  charge",
            "    recorded  step 'charge'",
            "    now       step 'refund'",
            f"    {line_in('orders.py', 'renamed')}renamed: first = await ctx.step",
        ],
    ),
    "in a thread": (
        blocking,
        [
            "recorded  step 'charge'",
            "now       step 'refund'",
            line_in("orders.py", "blocking") + "blocking",
        ],
    ),
    "an operation less": (
        shorter,
        ["recorded  wait 'pause', STARTED", "now       the function returns without it", "shorter"],
    ),
    "an error": (
        raising,
        [
            "recorded  wait 'pause', STARTED",
            "now       the function raises KeyError: 'price'",
            line_in("orders.py", "raises") + "raising",
        ],
    ),
    "an error at the end": (
        raising_late,
        ["recorded  it succeeded", "now       the function raises KeyError: 'price'"],
    ),
    "another type": (
        typed,
        [
            "recorded  step 'charge', SUCCEEDED",
            "cannot be read",
            line_in("orders.py", "typed") + "typed",
        ],
    ),
    "another type of input": (typed_input, ["the input is not what the handler asks for"]),
    "an exit": (leaving, ["InvocationExitError: user code called sys.exit(3)", "leaving"]),
}


@pytest.mark.parametrize(("new", "said"), DIFFERENT.values(), ids=DIFFERENT)
def test_a_difference_shows_what_was_recorded_what_is_asked_for_and_where(
    new: DurableFunction, said: list[str]
) -> None:
    text = refusal(recorded(old, {}), new)

    assert [line for line in said if line not in text] == []


def test_a_masked_history_says_that_it_is() -> None:
    assert "The history is masked" in refusal(recorded(old).masked(), typed)


def test_another_kind_of_operation_of_the_same_name_is_a_difference() -> None:
    @durable_execution
    async def new(event: Any, ctx: DurableContext) -> None:
        await ctx.wait("charge", 60)

    text = refusal(recorded(old), new)

    assert "recorded  step 'charge'" in text
    assert "now       wait 'charge'" in text


def test_an_operation_without_a_name_is_told_as_such() -> None:
    @durable_execution
    async def new(event: Any, ctx: DurableContext) -> None:
        await ctx.step(None, give)

    assert "now       step without a name" in refusal(recorded(old), new)


@durable_execution
async def nested(event: Any, ctx: DurableContext) -> None:
    async def group(inner: DurableContext) -> None:
        await inner.step("inside", give)

    await ctx.run_in_child_context("group", group)
    await ctx.map("items", [1, 2, 3], lambda inner, _: inner.step("item", give))


def test_an_operation_in_a_context_is_named_with_it_and_its_line_is_that_of_the_body() -> None:
    @durable_execution
    async def new(event: Any, ctx: DurableContext) -> None:
        async def group(inner: DurableContext) -> None:
            await inner.step("other", give)  # in a body

        await ctx.run_in_child_context("group", group)

    text = refusal(recorded(nested), new)

    assert "  group > inside\n    recorded  step 'inside'\n    now       step 'other'" in text
    assert re.search(
        re.escape(line_in("test_replayable.py", "in a body")) + r"\S+group: await inner.step", text
    )


@durable_execution
async def in_rounds(event: Any, ctx: DurableContext) -> None:
    async def attempt(inner: DurableContext, number: int) -> int:
        await inner.step("try", give)
        if number == 1:
            raise ValueError(number)
        return number

    rounds: int = await ctx.with_retry("rounds", attempt, ROUNDS)
    assert rounds > 1


ROUNDS = WithRetryConfig(retry_strategy=lambda error, attempts: RetryDecision.retry(1))


@pytest.mark.parametrize("turns", [0, 3])
def test_what_the_library_asks_for_has_the_line_of_the_call_that_it_is_for(turns: int) -> None:
    async def attempt(inner: DurableContext, number: int) -> int:
        raise ValueError(number)

    @durable_execution
    async def new(event: Any, ctx: DurableContext) -> None:
        rounds: Awaitable[int] = ctx.with_retry("rounds", attempt, ROUNDS)  # rounds
        for _ in range(turns):  # then a task of the library's drives them
            await asyncio.sleep(0)
        await rounds  # at last

    text = refusal(recorded(in_rounds), new)

    assert "recorded  step 'try'" in text
    assert "now       wait 'rounds-backoff-1'" in text
    assert line_in("test_replayable.py", "rounds" if turns else "at last") in text


@pytest.mark.parametrize("items", [[], [1, 2]])
def test_an_item_that_is_missing_is_a_difference_when_the_others_have_ended(
    items: list[int],
) -> None:
    @durable_execution
    async def new(event: Any, ctx: DurableContext) -> None:
        await ctx.run_in_child_context("group", lambda inner: inner.step("inside", give))
        await ctx.map("items", items, lambda inner, _: inner.step("item", give))  # fewer

    text = refusal(recorded(nested), new)

    assert f"  items > map-item-{len(items)}\n    recorded  item 'map-item-{len(items)}'" in text
    assert "now       its context ends without it" in text
    assert line_in("test_replayable.py", "fewer") in text


def test_settings_that_let_fewer_items_begin_at_once_are_no_difference() -> None:
    async def item(inner: DurableContext, number: int) -> None:
        await inner.wait("rest", 60)

    @durable_execution
    async def wide(event: Any, ctx: DurableContext) -> None:
        await ctx.map("items", range(4), item)

    @durable_execution
    async def narrow(event: Any, ctx: DurableContext) -> None:
        rule = CompletionConfig(min_successful=1)
        await ctx.map("items", range(4), item, MapConfig(max_concurrency=1, completion_config=rule))

    assert_replayable(recorded(wide), narrow)


def test_a_context_that_ends_without_an_operation_is_a_difference() -> None:
    @durable_execution
    async def new(event: Any, ctx: DurableContext) -> None:
        await ctx.run_in_child_context("group", give)  # the group

    text = refusal(recorded(nested), new)

    assert "group > inside" in text
    assert "its context ends without it" in text
    assert line_in("test_replayable.py", "the group") in text


def test_a_context_that_is_recorded_and_must_not_be_is_a_difference() -> None:
    @durable_execution
    async def new(event: Any, ctx: DurableContext) -> None:
        config = ChildConfig[Any](is_virtual=True)
        await ctx.run_in_child_context("group", give, config=config)

    assert "the code now asks for one without: is_virtual" in refusal(recorded(nested), new)


def test_an_operation_that_moves_into_another_context_is_a_difference() -> None:
    @durable_execution
    async def flat(event: Any, ctx: DurableContext) -> None:
        config = ChildConfig[Any](is_virtual=True)
        await ctx.run_in_child_context("group", lambda c: c.step("inside", give), config=config)

    @durable_execution
    async def new(event: Any, ctx: DurableContext) -> None:
        await ctx.run_in_child_context("group", lambda c: c.step("inside", give))

    @durable_execution
    async def new_sub_type(event: Any, ctx: DurableContext) -> None:
        config = StepConfig[Any](sub_type="STEP")
        await ctx.step("charge", give, config=config)

    assert_replayable(recorded(flat), flat)
    # The context itself has no record in the flat form, so what was inside is asked for anew.
    assert_replayable(recorded(flat), new)
    assert "now       STEP 'charge'" in refusal(recorded(old), new_sub_type)
