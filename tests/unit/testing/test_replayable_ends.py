"""How executions may end by today's code, and what is reported of many histories."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import pytest

from durably import (
    DurableContext,
    DurableFunction,
    Engine,
    SerdesContext,
    StepError,
    ValidationError,
    durable_execution,
)
from durably.app.histories import History
from durably.engine.facts import (
    ExecutionFailed,
    ExecutionSucceeded,
    InvocationCompleted,
    StepFailed,
    StepSucceeded,
)
from durably.testing.replays import assert_replayable, replay_all
from durably.wire.operation import ErrorObject
from tests.unit.testing.orders import (
    failing,
    longer,
    mended,
    old,
    raising,
    renamed,
    richer,
    shorter,
)
from tests.unit.testing.support import line_in, prefix, recorded, refusal

# Failures


def test_code_that_mends_a_failure_replays() -> None:
    assert_replayable(recorded(failing), failing, same_end=True)
    assert_replayable(recorded(failing), mended)


def test_a_failure_that_nobody_was_told_of_yet_is_no_difference() -> None:
    history = prefix(recorded(failing), lambda fact: isinstance(fact, StepFailed))

    assert_replayable(history, failing)


def test_code_that_raises_what_it_did_not_raise_then_is_a_difference() -> None:
    @durable_execution
    async def caught(event: Any, ctx: DurableContext) -> None:
        try:
            await failing.handler(event, ctx)
        except StepError:
            await ctx.wait("later", 60)

    @durable_execution
    async def uncaught(event: Any, ctx: DurableContext) -> None:
        await failing.handler(event, ctx)

    text = refusal(recorded(caught, invocations=1), uncaught)

    assert "recorded  wait 'later', STARTED" in text
    assert "now       the function raises StepError: no route" in text


def test_an_execution_under_way_that_would_fail_is_a_difference() -> None:
    history = prefix(recorded(old), lambda fact: isinstance(fact, StepSucceeded))
    at = history.facts[-1].at
    done = InvocationCompleted(at, at, "request", None, is_counted=False, seen=1)

    for one in (history, History((*history.facts, done))):
        text = refusal(one, raising)
        assert "recorded  it is under way" in text
        assert "now       the function raises KeyError: 'price'" in text


# The same end


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (longer, ["now       goes on with step 'notify'", line_in("orders.py", "longer")]),
        (richer, ['recorded  returns {"paid":3}', 'now       returns {"charge":{"paid":3}}']),
    ],
)
def test_the_end_must_be_the_recorded_one_where_that_is_asked_for(
    new: DurableFunction, said: list[str]
) -> None:
    text = refusal(recorded(old), new, same_end=True)

    assert [line for line in said if line not in text] == []


def test_the_end_of_a_failure_is_its_error() -> None:
    @durable_execution
    async def refusing(event: Any, ctx: DurableContext) -> None:
        raise ValueError("no")

    @durable_execution
    async def otherwise(event: Any, ctx: DurableContext) -> None:
        raise ValueError("never")

    @durable_execution
    async def waiting(event: Any, ctx: DurableContext) -> None:
        await ctx.wait(None, 60)

    history = recorded(refusing)

    assert_replayable(history, refusing, same_end=True)
    assert_replayable(history.masked(), otherwise, same_end=True)
    text = refusal(history, otherwise, same_end=True)
    assert "recorded  fails with ValueError: no\n" in text
    assert "now       fails with ValueError: never\n" in text
    assert "now       goes on with wait without a name" in refusal(history, waiting, same_end=True)
    assert_replayable(history, waiting)


def test_a_function_that_waits_for_what_is_recorded_as_open_has_not_ended() -> None:
    history = recorded(old, invocations=1)
    ended = History((*history.facts, ExecutionSucceeded(history.facts[-1].at, "3")))

    assert "now       waits" in refusal(ended, old, same_end=True)


def test_an_execution_that_goes_on_has_no_end_to_compare() -> None:
    assert_replayable(recorded(old, invocations=1), old, same_end=True)


def test_a_masked_result_is_not_compared() -> None:
    assert_replayable(recorded(old).masked(), richer, same_end=True)


def test_an_execution_that_failed_of_a_divergence_ends_the_same_way_again() -> None:
    facts = recorded(old, invocations=1).facts
    error = ErrorObject(error_type="NonDeterministicExecutionError", error_message="…")
    diverged = History((*facts, ExecutionFailed(facts[-1].at, error)))

    assert_replayable(diverged, renamed, same_end=True)
    assert "now       step 'refund'" in refusal(diverged, renamed)


@durable_execution
async def opaque(event: Any, ctx: DurableContext) -> Any:
    await old.handler(event, ctx)
    return object()


@durable_execution
async def counts(event: Any, ctx: DurableContext) -> int:
    await old.handler(event, ctx)
    return cast("int", "four")


@pytest.mark.parametrize("function", [opaque, counts])
@pytest.mark.parametrize("is_closed", [True, False])
def test_a_result_that_cannot_be_written_is_a_difference(
    function: DurableFunction,
    is_closed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    history = recorded(old)
    if not is_closed:
        history = History([one for one in history.facts if not isinstance(one, ExecutionSucceeded)])
    text = refusal(history, function)

    assert f"recorded  {'it succeeded' if is_closed else 'it is under way'}" in text
    assert "now       the result cannot be written: " in text
    assert f", in {function.name}: async def {function.name}(" in text


def test_so_it_is_not_where_the_execution_has_failed_anyway() -> None:
    @durable_execution
    async def returns(event: Any, ctx: DurableContext) -> Any:
        with suppress(StepError):
            await failing.handler(event, ctx)
        return object()

    assert_replayable(recorded(failing), returns)


# Reports


def test_a_report_lets_executions_end_as_they_like_unless_it_is_asked_not_to() -> None:
    histories = [(recorded(old), longer), (recorded(old), richer)]

    assert not replay_all(histories).findings
    assert len(replay_all(histories, same_end=True).findings) == 2


def test_what_is_no_history_or_no_durable_function_is_refused() -> None:
    file: Any = "order-7.jsonl"
    handler: Any = old.handler

    with pytest.raises(ValidationError, match=r"history: must be .* such as History.read\(file\)"):
        assert_replayable(file, old)
    with pytest.raises(ValidationError, match="function: must be a durable function"):
        assert_replayable(recorded(old), handler)


def test_a_report_has_every_history_that_does_not_replay() -> None:
    report = replay_all([(recorded(old), renamed), (recorded(old), old), (recorded(old), shorter)])

    assert report.histories == 3
    assert [finding.facts for finding in report.findings] == [3, 5]
    assert str(report).count("does not replay") == 2


def test_a_report_without_findings_says_how_much_was_replayed() -> None:
    assert str(replay_all([(recorded(old), old)])) == "1 history replays, from 6 states"


class _Marked:
    """Text that no other serdes reads."""

    def serialize(self, value: int, context: SerdesContext, /) -> str:
        return f"#{value}"

    def deserialize(self, text: str, context: SerdesContext, /) -> int:
        return int(text.removeprefix("#"))


async def test_values_are_read_by_the_serdes_that_the_function_has_chosen() -> None:
    @durable_execution(default_serdes=lambda annotation: _Marked())
    async def marking(event: int, ctx: DurableContext) -> int:
        four = await ctx.step("four", lambda: 4)
        return await ctx.step("four more", lambda: four + 4)

    async with Engine("memory:", [marking]) as engine:
        run = await engine.start(marking, 1)
        assert await run.result(5) == 8

        assert_replayable(await engine.export(run), marking, same_end=True)
